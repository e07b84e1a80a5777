"""Somebody at a terminal: a program on a pseudo-terminal of its own, asked and answered as a person would."""

import os
import pty
import time

from cardwire_lab import PATIENCE, readable


class Typist:
    """Runs a program with the terminal as its controlling one; answers: (prompt, what is typed) in turn, each
    followed by Enter, once the prompt is there. After it: .shown (all that appeared), .code."""

    def __init__(self, command, answers, env=None):
        answers = list(answers)
        self.shown = ""
        seen = 0
        child, master = pty.fork()
        if child == 0:
            try:
                os.execvpe(str(command[0]), [str(c) for c in command], env or os.environ)
            finally:
                os._exit(127)
        deadline = time.monotonic() + PATIENCE
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"waited for {answers[:1]} in: {self.shown}"
            if not readable(master, left):
                continue
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux: EIO when the program has ended
                part = b""
            if not part:
                break
            self.shown += part.decode(errors="replace")
            at = self.shown.find(answers[0][0], seen) if answers else -1
            if at >= 0:
                seen = at + len(answers[0][0])
                os.write(master, answers.pop(0)[1].encode() + b"\r")
        os.close(master)
        self.code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.unasked = answers
