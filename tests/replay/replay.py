#!/usr/bin/python3
"""replay.py - runs the corpus of APDU pairs against a card: what it must answer, byte for byte, and which
clause says so. README.md beside this file has the format.

    tests/replay/replay.py [--reader READER] [FILE...]

READER is one of
    inproc:DIR          the card in a process of ours, its memory in new folders under DIR (a temporary one
                        is the default)
    vpcd:DIR            the program cardwire-card, on a socket, its memory under DIR
    pcsc[:NAME]         the card in a reader of the PC/SC daemon
    pipe:COMMAND        any program that speaks the protocol of apdu_pipe.c

Without FILE it runs every file of the corpus. A file wants a blank card. With pcsc and pipe the runner cannot
have another one by itself: give it one file, or --card COMMAND, which is called with blank, contact or
contactless and must have made it so when it ends (pcsc; its last line is the name of the reader).

Ends with 0 when every answer was right; 1 when one was not; 2 when reader or corpus are broken; 3 when a file
had to be left out."""

import argparse
import hashlib
import pathlib
import shlex
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import corpus  # noqa: E402
import readers  # noqa: E402
import scp03  # noqa: E402
import world as worlds  # noqa: E402

SELECT_LINK = bytes.fromhex("00A4040C05" + corpus.LINK)
OUT, AGAIN, PARTIAL, OVER = 0x02, 0x80, 0x40, 0x30  # state byte, docs/card.md
LIFE_BLANK = b"\x82\x01\x01"  # in the answer to INFO


class Mismatch(Exception):
    """The card answered something else, or the file and the card do not fit each other. The text says where
    and what."""


def spaced(data):
    return data.hex(" ").upper() if data else "nothing"


class Replay:
    """One card in one reader, and the files that are run against it."""

    def __init__(self, reader, world, keys=None, tell=None):
        """keys: the sets of the issuer's channel by name. tell(where, remark, command, answer)."""
        self.reader, self.world = reader, world
        self.keys = keys or worlds.KEYS
        self.tell = tell or (lambda *_: None)
        self.pairs = 0

    def run(self, path):
        """Runs one file; returns how many pairs it had. Mismatch, readers.Unsupported, readers.Broken."""
        statements = corpus.load(path)
        self.values = dict(self.world.values)
        self.host = self.server = self.repeating = None
        self.key_set = "maker"
        before = self.pairs
        self.play(statements)
        return self.pairs - before

    def play(self, statements):
        for s in statements:
            try:
                if isinstance(s, corpus.Pair):
                    self.pair(s)
                else:
                    self.directive(s)
            except corpus.Stuck as e:
                raise Mismatch(f"{s.where}: {e}") from None
            except scp03.Refused as e:
                raise Mismatch(f"{s.where}: the answer cannot be the card's: {e}") from None
            except AssertionError as e:
                raise Mismatch(f"{s.where}: {s.name if isinstance(s, corpus.Directive) else s.text}: {e}") \
                    from None

    # --- pairs ---

    def pair(self, s):
        command = corpus.value_of(s.command, self.values)
        again, self.repeating = self.repeating, None
        while True:
            answer = self.secured(command) if s.secured else self.reader.transceive(command)
            self.tell(s.where, s.remark, command, answer)
            if again is None or corpus.fit(again, answer, self.values) is None:
                break
        kept = corpus.fit(s.expected, answer, self.values)
        if kept is None:
            raise Mismatch(self.complaint(s, command, answer))
        self.values.update(kept)
        self.pairs += 1

    def complaint(self, s, command, answer):
        at = corpus.first_difference(s.expected, answer, self.values)
        expected = " ".join(s.expected_text.split())
        return "\n".join([
            f"{s.where}: {s.remark or 'not what was expected'}",
            f"    clause    {'; '.join(s.clauses)}",
            f"    command   {'(secured) ' if s.secured else ''}{spaced(command)}",
            f"    expected  {expected}",
            f"    got       {spaced(answer)}",
            *([f"    differs   at byte {at}"] if at is not None else [])])

    def exchange(self, head, data=b"", le=None):
        """One command, chained if it is long, and all of its answer: (data, status word)."""
        while len(data) > 255:
            answer = self.reader.transceive(bytes([head[0] | 0x10]) + head[1:] + b"\xFF" + data[:255])
            if answer != b"\x90\x00":
                return answer[:-2], int.from_bytes(answer[-2:], "big")
            data = data[255:]
        command = head + (bytes([len(data)]) + data if data else b"")
        answer = self.reader.transceive(command + (bytes([le & 0xFF]) if le else b""))
        whole = answer[:-2]
        while answer[-2] == 0x61:
            answer = self.reader.transceive(b"\x00\xC0\x00\x00" + answer[-1:])
            whole += answer[:-2]
        return whole, int.from_bytes(answer[-2:], "big")

    def secured(self, command):
        """The answer to a command that goes through the issuer's channel, as the card meant it."""
        head, data, _ = corpus.case_of(command)
        cla, data = self.issuer.wrap(*head, data)
        data, sw = self.exchange(bytes([cla]) + head[1:], data, 256)
        # What ends the channel is answered in clear, and so is every error (Amendment D §6.2.5).
        return self.issuer.unwrap(sw, data) + sw.to_bytes(2, "big")

    @property
    def issuer(self):
        """The other end of the channel."""
        if self.host is None:
            raise corpus.Stuck("no channel is open")
        return self.host

    def must(self, head, data=b"", le=None):
        answer, sw = self.exchange(bytes(head), data, le)
        assert sw == 0x9000, f"{spaced(bytes(head))} was answered {sw:04X}"
        return answer

    # --- directives ---

    def directive(self, s):
        act = getattr(self, "do_" + s.name.replace("-", "_"), None)
        if act is None:
            raise Mismatch(f"{s.where}: there is no directive {s.name}")
        try:
            act(s)
        except (IndexError, ValueError, KeyError) as e:
            raise Mismatch(f"{s.where}: {s.name}: {e or 'wrong words'}") from None

    def bytes_of(self, text):
        return corpus.value_of(corpus.parse_bytes(text), self.values)

    def arguments(self, text):
        return [self.bytes_of(part) for part in text.split(",")]

    @staticmethod
    def named(s):
        """NAME REST"""
        name, _, rest = s.text.partition(" ")
        if not name.isupper():
            raise ValueError(f"{name} is no name")
        return name, rest

    def forget(self):
        self.host = self.server = None

    def do_card(self, s):
        """card blank"""
        if s.words != ["blank"]:
            raise ValueError("only blank cards can be asked for")
        self.forget()
        self.key_set = "maker"
        if self.reader.used:
            try:
                self.reader.blank()
            except readers.Unsupported as e:
                self.reader.reset()
                if LIFE_BLANK not in self.card_info():
                    raise readers.Unsupported(f"{s.where}: the card is not blank; {e}") from None
        self.reader.used = True
        if LIFE_BLANK not in self.card_info():
            raise readers.Unsupported(f"{s.where}: the card in this reader is not blank")
        self.reader.reset()

    def card_info(self):
        self.must(SELECT_LINK[:4], SELECT_LINK[5:])
        return self.must(b"\x80\x1A\0\0", le=256)

    def do_personalise(self, s):
        """personalise NAME: what cards/NAME.apdu does to a blank card"""
        (name,) = s.words
        self.play(corpus.load(corpus.card_file(name)))

    def do_power(self, s):
        """power [contact|contactless]"""
        fields = {(): None, ("contact",): False, ("contactless",): True}
        self.forget()
        self.reader.power(fields[tuple(s.words)])

    def do_reset(self, s):
        self.forget()
        self.reader.reset()

    def do_atr(self, s):
        """atr PATTERN"""
        assert corpus.fit(corpus.parse_bytes(s.text), self.reader.atr, self.values) is not None, \
            f"the card's is {spaced(self.reader.atr)}"

    def do_channel(self, s):
        """channel open [KEYS] | begin CHALLENGE, ANSWER [, KEYS] | close"""
        what, _, rest = s.text.partition(" ")
        if what == "open":
            self.key_set = rest or self.key_set
            self.must(SELECT_LINK[:4], SELECT_LINK[5:])
            self.host = scp03.Host(self.keys[self.key_set], bytes(range(8)))
            self.host.begin(self.must(b"\x80\x50\0\0", self.host.challenge, 256))
            cla, level, data = self.host.authenticate(0x33)
            self.must(bytes([cla, 0x82, level, 0]), data)
        elif what == "begin":
            challenge, answer, *keys = rest.split(",")
            self.host = scp03.Host(self.keys[keys[0].strip() if keys else self.key_set],
                                   self.bytes_of(challenge))
            self.host.begin(self.bytes_of(answer))
            _, _, self.values["AUTHENTICATE"] = self.host.authenticate(0x33)
        elif what == "close":
            self.host = None
            self.must(SELECT_LINK[:4], SELECT_LINK[5:])
        else:
            raise ValueError(what)

    def do_put_key(self, s):
        """put-key NEW VERSION: $PUT_KEY is the data field of PUT KEY, $CONFIRM the card's answer; from now on
        the set NEW is the one that channels are opened with"""
        name, version = s.words
        new, version = self.keys[name], int(version, 16)
        self.values["PUT_KEY"] = self.keys[self.key_set].put(new, version)
        self.values["CONFIRM"] = new.confirm(version)
        self.key_set = name

    def do_wrap(self, s):
        """wrap NAME APDU: the data field of that command, protected"""
        name, text = self.named(s)
        head, data, _ = corpus.case_of(self.bytes_of(text))
        _, self.values[name] = self.issuer.wrap(*head, data)

    def do_unwrap(self, s):
        """unwrap NAME SW, DATA: what the card meant by a protected answer"""
        name, text = self.named(s)
        sw, data = self.arguments(text)
        self.values[name] = self.issuer.unwrap(int.from_bytes(sw, "big"), data)

    def do_let(self, s):
        """let NAME BYTES"""
        name, text = self.named(s)
        self.values[name] = self.bytes_of(text)

    def do_certify(self, s):
        """certify NAME tls|order REQUEST"""
        name, text = self.named(s)
        use, _, request = text.partition(" ")
        self.values[name] = self.world.certify(self.bytes_of(request), {"tls": False, "order": True}[use])

    def do_sign(self, s):
        """sign NAME BYTES: a message of the issuer, with its signature"""
        name, text = self.named(s)
        self.values[name] = self.world.sign(self.bytes_of(text))

    def do_hex(self, s):
        """hex NAME BYTES: their digits in lower case, as text"""
        name, text = self.named(s)
        self.values[name] = self.bytes_of(text).hex().encode()

    def do_hash(self, s):
        """hash NAME BYTES: SHA-256"""
        name, text = self.named(s)
        self.values[name] = hashlib.sha256(self.bytes_of(text)).digest()

    def do_encipher(self, s):
        """encipher NAME aes|3des KEY, BLOCK"""
        name, text = self.named(s)
        kind, _, rest = text.partition(" ")
        self.values[name] = worlds.encipher(kind, *self.arguments(rest))

    def do_decipher(self, s):
        """decipher NAME aes|3des KEY, BLOCK"""
        name, text = self.named(s)
        kind, _, rest = text.partition(" ")
        self.values[name] = worlds.decipher(kind, *self.arguments(rest))

    def do_check(self, s):
        """check ecdsa KEY, SIGNATURE, DIGEST | rsa MODULUS, EXPONENT, BLOCK, RESULT | ecdh KEY, SCALAR,
        SECRET | same A, B | other A, B"""
        kind, _, rest = s.text.partition(" ")
        good = {"ecdsa": worlds.ecdsa_is_good, "rsa": worlds.rsa_is_good, "ecdh": worlds.ecdh_is_good,
                "same": lambda a, b: a == b, "other": lambda a, b: a != b}
        assert good[kind](*self.arguments(rest)), "does not hold"

    def do_repeat(self, s):
        """repeat PATTERN: the pair below is sent again as long as its answer fits"""
        self.repeating = corpus.parse_bytes(s.text)

    # --- a line ---

    @property
    def peer(self):
        if self.server is None:
            raise corpus.Stuck("no server is running")
        return self.server

    def do_server(self, s):
        """server tls13|ecdhe|rsa [stranger|unbound]; $SERVER is its certificate"""
        profile, *kind = s.words
        if kind not in ([], ["stranger"], ["unbound"]) or profile not in ("tls13", "ecdhe", "rsa"):
            raise ValueError(s.text)
        context, self.values["SERVER"] = self.world.context(profile, kind[0] if kind else "")
        self.server = worlds.Server(context)

    def do_feed(self, s):
        """feed BYTES: to the server"""
        self.peer.feed(self.bytes_of(s.text))

    def do_take(self, s):
        """take NAME: what the server has for the card"""
        name, _ = self.named(s)
        self.values[name] = self.peer.take()

    def do_say(self, s):
        """say BYTES: the server does, to the card"""
        self.peer.say(self.bytes_of(s.text))

    def do_hear(self, s):
        """hear PATTERN: of what the card has said to the server"""
        heard = self.peer.hear()
        assert corpus.fit(corpus.parse_bytes(s.text), heard, self.values) is not None, \
            f"the server heard {spaced(heard)}"

    def do_over(self, s):
        """over WORD: why the server's end is over"""
        assert self.peer.over == s.text, f"at the server's end: {self.peer.over}"

    def do_pump(self, s):
        """pump: carries bytes by STEP until nothing moves any more"""
        waiting = self.peer.take()
        while True:
            part, waiting = waiting[:255], waiting[255:]
            answer = self.must(b"\x80\x12\0\0", part, 256)
            state, out = answer[0], answer[1:]
            if state & PARTIAL:
                waiting = part[int.from_bytes(out[:2], "big"):] + waiting
                out = out[2:]
            self.peer.feed(out)
            waiting += self.peer.take()
            if not state & OUT and (state & OVER or not waiting and not state & AGAIN):
                return


# --- the command line ------------------------------------------------------------------------------

def open_reader(uri, card, lab):
    kind, _, rest = uri.partition(":")
    if kind in ("inproc", "vpcd"):
        folder = pathlib.Path(rest) if rest else lab.subfolder("replay")
        folder.mkdir(parents=True, exist_ok=True)
        return readers.Inproc(folder, lab.programs.parent) if kind == "inproc" else readers.Vpcd(lab, folder)
    if kind == "pcsc":
        return readers.Pcsc(rest, readers.asking(card) if card else None)
    if kind == "pipe" and rest:
        return readers.Pipe(shlex.split(rest))
    raise readers.Broken(f"unknown reader {uri}; write inproc:DIR, vpcd:DIR, pcsc, pcsc:NAME or pipe:COMMAND")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--reader", default="inproc:", metavar="READER")
    p.add_argument("--card", metavar="COMMAND")
    p.add_argument("--initial-key", metavar="HEX", help="of a blank card, if it is not the well-known one")
    p.add_argument("-v", "--verbose", action="store_true", help="every pair")
    p.add_argument("files", nargs="*", metavar="FILE", type=pathlib.Path)
    args = p.parse_args()
    keys = dict(worlds.KEYS)
    if args.initial_key:
        keys["maker"] = scp03.Keys(*[bytes.fromhex(args.initial_key)] * 3)

    def tell(where, remark, command, answer):
        print(f"{where}: {remark}\n    > {spaced(command)}\n    < {spaced(answer)}", flush=True)
    from cardwire_lab import Lab, LabError
    failed = left_out = 0
    with Lab() as lab:
        reader = None
        try:
            reader = open_reader(args.reader, args.card, lab)
            replay = Replay(reader, worlds.World(), keys, tell if args.verbose else None)
            for path in args.files or corpus.files():
                try:
                    print(f"{corpus.shown(path)}: {replay.run(path)} pairs", flush=True)
                except readers.Unsupported as e:
                    left_out += 1
                    print(f"{corpus.shown(path)}: left out: {e}", flush=True)
                except Mismatch as e:
                    failed += 1
                    print(e, flush=True)
        except (readers.Unsupported, readers.Broken, corpus.Bad, LabError, OSError) as e:
            print(f"replay: {e}", file=sys.stderr)
            return 2
        finally:
            if reader:
                reader.close()
    return 1 if failed else 3 if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
