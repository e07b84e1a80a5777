"""Readers that the corpus can be run against. What the runner needs of one is small:

    transceive(command) -> answer     bytes, status word included
    reset()                           the card forgets everything volatile
    power(contactless)                off and on, in that field; None: as it was
    blank()                           another card, on which nothing was ever written
    atr                               bytes
    used                              False at first; the runner sets it when it has had the card for a file

A reader that cannot do power or blank raises Unsupported, and says what a person would have to do."""

import itertools
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


class Unsupported(Exception):
    """Not with this reader; the text is a sentence."""


class Broken(Exception):
    """The reader, or what is behind it, has failed; the text is a sentence."""


def new_folders(folder):
    """Names of folders in `folder` that are not there yet."""
    for n in itertools.count(1):
        path = pathlib.Path(folder) / f"card{n}"
        if not path.exists():
            yield path


class Pipe:
    """A program that carries APDUs between its standard input and output as lines of hexadecimal digits
    (apdu_pipe.c has the protocol). command: its words."""

    used = False

    def __init__(self, command, env=None):
        self.command = [str(c) for c in command]
        self.env = env
        self.process = None
        self.open()

    def open(self):
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, encoding="ascii", env=self.env)
        self.atr = self._line()

    def _line(self):
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            self.process.wait()
            self.errors.seek(0)
            raise Broken(self.errors.read().strip() or f"{self.command[0]} ended without a word")
        return bytes.fromhex(line)

    def _ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # _line says why
        return self._line()

    def transceive(self, command):
        return self._ask(command.hex().upper())

    def reset(self):
        self._ask("reset")

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.errors.close()
            self.process = None

    def power(self, contactless=None):
        if contactless is not None:
            raise Unsupported("this reader cannot change the card's field")
        self.close()
        self.open()

    def blank(self):
        raise Unsupported("put a blank card into this reader by hand; it takes one file at a time")


class Inproc(Pipe):
    """The card in a process of our own; its memory, and that of every card after it, in `folder`."""

    def __init__(self, folder, build):
        self.program = pathlib.Path(build) / "tests" / "replay" / "apdu_pipe"
        self.next = new_folders(folder)
        self.process = None
        self.env = dict(os.environ, CARDWIRE_CARD_NOSYNC="1")
        self.blank()

    def _reopen(self):
        self.close()
        kind = "inproc-contactless" if self.contactless else "inproc"
        self.command = [str(self.program), f"{kind}:{self.card}"]
        self.open()

    def power(self, contactless=None):
        if contactless is not None:
            self.contactless = contactless
        self._reopen()

    def blank(self):
        self.contactless = False
        self.card = next(self.next)
        self._reopen()


class Pcsc(Pipe):
    """The card in a reader of the PC/SC daemon, through pyscard. change(what), if it is given, makes
    "blank", "contact" or "contactless" true of that reader's card and returns the reader's name: a robot,
    a person, or the lab."""

    def __init__(self, name="", change=None, env=None):
        self.change, self.process = change, None
        self.env = env
        if change:
            self._change("blank")
        else:
            self._name(name)
            self.open()

    def _name(self, name):
        self.command = [sys.executable, str(HERE / "pcsc_pipe.py"), name]

    def _change(self, what):
        self.close()
        self._name(self.change(what))
        self.open()

    def power(self, contactless=None):
        if contactless is None:
            self._ask("power")
        elif self.change:
            self._change("contactless" if contactless else "contact")
        else:
            raise Unsupported("this reader cannot change the card's field")

    def blank(self):
        if not self.change:
            super().blank()
        self._change("blank")


class Vpcd:
    """The program cardwire-card, at the other end of whose socket we play vpcd; its memory in `folder`."""

    used = False

    def __init__(self, lab, folder):
        self.lab, self.card = lab, None
        self.next = new_folders(folder)
        self.blank()

    def _open(self, *options):
        from rawcard import RawCard  # tests/lib
        self.close()
        self.card = RawCard(self.lab, self.folder, *options)

    def close(self):
        if self.card:
            self.card.close()
            self.card = None

    @property
    def atr(self):
        return self.card.atr

    def transceive(self, command):
        data, sw = self.card.raw(command)
        return data + sw.to_bytes(2, "big")

    def reset(self):
        self.card.reset()

    def power(self, contactless=None):
        if contactless is None:
            self.card.power_cycle()
        else:
            self._open(*["--contactless"] if contactless else [])

    def blank(self):
        self.folder = next(self.next)
        self._open()


class Line(Pipe):
    """A card at the end of a serial line, through reader/ (t1:DEVICE). start(folder, device) makes a card with its
    memory in `folder` available at `device`, and returns what stop() ends."""

    def __init__(self, start, folder, build, kind="t1"):
        self.start, self.kind = start, kind
        self.program = pathlib.Path(build) / "tests" / "replay" / "apdu_pipe"
        self.next = new_folders(folder)
        self.device = pathlib.Path(folder) / "line"
        self.process = self.card = self.env = None
        self.blank()

    def close(self):
        super().close()
        if self.card:
            self.card.stop()
            self.card = None

    def power(self, contactless=None):
        if contactless not in (None, self.kind == "tcl"):
            raise Unsupported("this reader cannot change the card's field")
        super().close()
        self.open()

    def blank(self):
        self.close()
        self.insert(next(self.next))

    def insert(self, folder):
        self.folder = folder
        self.card = self.start(folder, self.device)
        self.command = [str(self.program), f"{self.kind}:{self.device}"]
        self.open()


class Carried(Line):
    """A card that is carried out of a field and into one as the corpus asks; start() looks at .contactless. A blank
    one is `at_home`."""

    def __init__(self, start, folder, build, kind="t1", at_home=False):
        self.at_home = at_home
        super().__init__(start, folder, build, kind)

    def power(self, contactless=None):
        if contactless is None:
            super().power()
            return
        folder = self.folder
        self.close()
        self.contactless = contactless
        self.insert(folder)

    def blank(self):
        self.contactless = self.at_home
        super().blank()


class Fields(Carried):
    """A card in a field (tcl:DEVICE), carried to a contact line (t1:DEVICE) and back.
    start(folder, device, kind=KIND) as for Line."""

    def __init__(self, start, folder, build):
        super().__init__(lambda folder, device: start(folder, device, kind=self.kind), folder, build, "tcl", True)

    def insert(self, folder):
        self.kind = "tcl" if self.contactless else "t1"
        super().insert(folder)


def asking(command):
    """change() for Pcsc: runs `command WHAT` by the shell; its last line is the reader's name."""
    def change(what):
        done = subprocess.run(f"{command} {shlex.quote(what)}", shell=True, stdout=subprocess.PIPE,
                              encoding="utf-8", check=False)
        if done.returncode:
            raise Broken(f"{command} {what} ended with {done.returncode}")
        return (done.stdout.strip().splitlines() or [""])[-1]
    return change
