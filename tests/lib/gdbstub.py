"""QEMU's debug stub, for tests that put a chip where no command brings it: the remote serial protocol of GDB, as
much of it as they need."""

import socket

SP, LR, PC = 13, 14, 15


class Gdb:
    """The processor stands still from here on, until `go`."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("rb")
        self.say("?")
        self.say("qXfer:features:read:target.xml:0,800")  # or there are no single registers
        self.say("qAttached")
        while self.hear() != "1":  # that it stands still may be said more than once
            pass

    def close(self):
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def say(self, text):
        data = text.encode()
        self.socket.sendall(b"$" + data + b"#%02x" % (sum(data) & 0xFF))

    def hear(self):
        while True:
            start = self.stream.read(1)
            if not start:
                raise ConnectionError("the debug stub is gone")
            if start == b"$":
                break
        text = b""
        while not text.endswith(b"#"):
            text += self.stream.read(1)
        self.stream.read(2)
        self.socket.sendall(b"+")
        return text[:-1].decode()

    def ask(self, text):
        self.say(text)
        return self.hear()

    def order(self, text):
        answer = self.ask(text)
        assert answer == "OK", (text, answer)

    def set(self, register, value):
        self.order(f"P{register:x}={value.to_bytes(4, 'little').hex()}")

    def get(self, register):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{register:x}")), "little")

    def read(self, address, length):
        return bytes.fromhex(self.ask(f"m{address:x},{length:x}"))

    def write(self, address, data):
        self.order(f"M{address:x},{len(data):x}:{data.hex()}")

    def stop_at(self, address):
        self.order(f"Z0,{address & ~1:x},2")

    def stop_no_more(self, address):
        self.order(f"z0,{address & ~1:x},2")

    def step(self, count=1):
        for _ in range(count):
            self.ask("s")

    def go(self):
        self.say("c")

    def wait(self):
        """Until a stop_at is reached."""
        return self.hear()
