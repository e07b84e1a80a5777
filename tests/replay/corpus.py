"""The corpus as text: reads an .apdu file into pairs and directives, and works out what they say about
bytes. Nothing here talks to a card; README.md beside this file has the format."""

import dataclasses
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LINK = "F043574C01"  # AID


class Bad(Exception):
    """A file does not follow the format; the text names file and line."""


class Stuck(Exception):
    """Bytes that cannot be worked out: a value that nothing has set, a length that does not fit."""


# --- bytes -----------------------------------------------------------------------------------------

TOKEN = re.compile(r"""\s*(?:
    (?P<text>"[^"]*")
  | (?P<open>\[\+|\[|\()
  | (?P<close>\]|\))
  | \$(?P<name>[A-Z][A-Z0-9_]*)(?:=(?P<take>\*|\d+)|:(?P<from>\d*):(?P<to>\d*))?
  | (?P<any>\.\.)\*(?P<count>\d*)
  | (?P<byte>[0-9A-Fa-f]{2})\*(?P<times>\d+)
  | (?P<hex>(?:[0-9A-Fa-f]{2}|\.\.)+)
)(?=[\s\])]|$)""", re.X)
CLOSES = {"[": "]", "[+": "]", "(": ")"}


@dataclasses.dataclass
class Hex:
    """Given bytes; None is any byte."""
    bytes: list

    def match(self, values):
        return b"".join(b"." if b is None else re.escape(bytes([b])) for b in self.bytes), len(self.bytes)

    def value(self, values):
        if None in self.bytes:
            raise Stuck("a wildcard where bytes are wanted")
        return bytes(self.bytes)


@dataclasses.dataclass
class Any:
    """`count` bytes whatever they are (None: as few as fit), kept under `name` if there is one."""
    count: int
    name: str = None

    def match(self, values):
        part = b".*?" if self.count is None else b".{%d}" % self.count
        return (b"(?P<%s>%s)" % (self.name.encode(), part) if self.name else part), self.count

    def value(self, values):
        raise Stuck("a wildcard where bytes are wanted")


@dataclasses.dataclass
class Value:
    """What was kept, or a slice of it."""
    name: str
    start: int = None
    end: int = None

    def value(self, values):
        if self.name not in values:
            raise Stuck(f"${self.name} has no value here")
        return values[self.name][self.start:self.end]

    def match(self, values):
        value = self.value(values)
        return re.escape(value), len(value)


def lc(count, extended):
    """ISO/IEC 7816-4:2020 §5.2"""
    if not 0 < count < (65536 if extended else 256):
        raise Stuck(f"a data field of {count} bytes, which {'[+' if extended else '['} cannot say")
    return b"\0" + count.to_bytes(2, "big") if extended else bytes([count])


def ber(count):
    """ISO/IEC 7816-4:2020 §6.3"""
    if count < 0x80:
        return bytes([count])
    return bytes([0x81, count]) if count < 0x100 else b"\x82" + count.to_bytes(2, "big")


@dataclasses.dataclass
class Counted:
    """A length, and what it is the length of."""
    kind: str
    parts: list

    def header(self, count):
        return ber(count) if self.kind == "(" else lc(count, self.kind == "[+")

    def match(self, values):
        inner = [p.match(values) for p in self.parts]
        if None in [count for _, count in inner]:
            raise Stuck("a length that is not known, because of a wildcard of any length in it")
        count = sum(n for _, n in inner)
        header = self.header(count)
        return re.escape(header) + b"".join(e for e, _ in inner), len(header) + count

    def value(self, values):
        inner = b"".join(p.value(values) for p in self.parts)
        return self.header(len(inner)) + inner


def part_of(m):
    if m["text"]:
        return Hex(list(m["text"][1:-1].encode()))
    if m["take"]:
        return Any(None if m["take"] == "*" else int(m["take"]), m["name"])
    if m["name"]:
        return Value(m["name"], int(m["from"]) if m["from"] else None, int(m["to"]) if m["to"] else None)
    if m["any"]:
        return Any(int(m["count"]) if m["count"] else None)
    if m["byte"]:
        return Hex([int(m["byte"], 16)] * int(m["times"]))
    return Hex([None if b == ".." else int(b, 16) for b in re.findall("..", m["hex"])])


def parse_bytes(text):
    """Text -> parts. ValueError."""
    stack = [(None, [])]
    at = 0
    text = text.rstrip()
    while at < len(text):
        m = TOKEN.match(text, at)
        if not m:
            raise ValueError(f"not bytes: {text[at:].strip()[:40]}")
        at = m.end()
        if m["open"]:
            stack.append((m["open"], []))
        elif m["close"]:
            kind, parts = stack.pop()
            if CLOSES.get(kind) != m["close"]:
                raise ValueError(f"a {m['close']} that closes nothing")
            stack[-1][1].append(Counted(kind, parts))
        else:
            stack[-1][1].append(part_of(m))
    if len(stack) != 1:
        raise ValueError(f"a {stack[-1][0]} that is not closed")
    return stack[0][1]


def value_of(parts, values):
    return b"".join(p.value(values) for p in parts)


def expression(parts, values):
    return b"".join(p.match(values)[0] for p in parts)


def fit(parts, answer, values):
    """Does the whole answer fit the pattern? Then what it captures, else None."""
    m = re.fullmatch(expression(parts, values), answer, re.S)
    return m.groupdict() if m else None


def flatten(parts, values):
    """The pattern byte by byte, so far as lengths are known: expressions of one byte each."""
    for p in parts:
        if isinstance(p, Any):
            if p.count is None:
                return
            yield from [b"."] * p.count
        elif isinstance(p, Hex):
            yield from (b"." if b is None else re.escape(bytes([b])) for b in p.bytes)
        elif isinstance(p, Counted):
            count = sum(n for _, n in [q.match(values) for q in p.parts])
            yield from (re.escape(bytes([b])) for b in p.header(count))
            yield from flatten(p.parts, values)
        else:
            yield from (re.escape(bytes([b])) for b in p.value(values))


def first_difference(parts, answer, values):
    """Index of the first byte of an answer that cannot be, or is missing, or is too much; None when it is in
    what follows a wildcard of any length."""
    expected = list(flatten(parts, values))
    for i, one in enumerate(expected):
        if i >= len(answer) or not re.match(one, answer[i:i + 1], re.S):
            return i
    return None if any(isinstance(p, Any) and p.count is None for p in parts) else len(expected)


def case_of(apdu):
    """CLA INS P1 P2, data, Le or None (ISO/IEC 7816-4:2020 §5.2) of a command that is well-formed."""
    head, rest = apdu[:4], apdu[4:]
    if len(head) < 4:
        raise Stuck("a command without a header")
    if len(rest) < 2:
        return head, b"", (rest[0] or 256) if rest else None
    wide = rest[0] == 0
    count = int.from_bytes(rest[1:3], "big") if wide else rest[0]
    start = 3 if wide else 1
    data, le = rest[start:start + count], rest[start + count:]
    if len(data) != count or len(le) > (2 if wide else 1):
        raise Stuck("a command of no form")
    return head, data, (int.from_bytes(le, "big") or 1 << 8 * len(le)) if le else None


# --- files -----------------------------------------------------------------------------------------

@dataclasses.dataclass
class Pair:
    """One exchange, and the clause that says so."""
    file: pathlib.Path
    line: int
    clauses: list
    remark: str
    secured: bool
    command: list
    text: str          # of the command
    expected: list
    expected_text: str

    @property
    def where(self):
        return f"{shown(self.file)}:{self.line}"

    @property
    def header(self):
        """CLA INS P1 P2 so far as they stand in the file."""
        first = []
        for part in self.command:
            if not isinstance(part, Hex) or len(first) >= 4:
                break
            first += part.bytes
        return bytes(first[:4])

    @property
    def done(self):
        """9000 or 61xx"""
        return self.expected_text.split()[-1].upper()[:2] in ("90", "61")

    @property
    def refused(self):
        return self.expected_text.split()[-1].upper()[:2] not in ("90", "61", "62", "63")


@dataclasses.dataclass
class Directive:
    file: pathlib.Path
    line: int
    name: str
    words: list   # what follows, split at blanks
    text: str

    @property
    def where(self):
        return f"{shown(self.file)}:{self.line}"


def shown(path):
    path = pathlib.Path(path).resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


SECTION = r"(?:§\d+(?:\.\d+)*|table \d+(?:-\d+|[a-z])?|appendix [A-Z](?:\.\d+)*)"
CLAUSE = re.compile(
    rf"(?:ISO/IEC 7816-4:2020|ISO/IEC 7816-8:2021|SP 800-73-4 part [12]|SP 800-78-4|GPCS|Amendment D"
    rf"|PC/SC part 3|FIPS 186-5|RFC \d+) {SECTION}"
    r'|(?P<doc>docs/[a-z0-9]+\.md) "(?P<heading>[^"]+)"')


def headings(path):
    """The headings of a Markdown file."""
    return {line.lstrip("#").strip() for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")}


def clauses_of(text):
    """'CLAUSE; CLAUSE: remark' -> clauses, remark. ValueError."""
    found = []
    while True:
        m = CLAUSE.match(text)
        if not m:
            raise ValueError(f"no clause that this corpus knows: {text[:60]}")
        if m["doc"] and not (ROOT / m["doc"]).is_file():
            raise ValueError(f"{m['doc']} is not there")
        if m["doc"] and m["heading"] not in headings(ROOT / m["doc"]):
            raise ValueError(f'{m["doc"]} has no heading "{m["heading"]}"')
        found.append(m[0])
        text = text[m.end():]
        if text.startswith("; "):
            text = text[2:]
        elif text.startswith(": ") or not text:
            return found, text[2:]
        else:
            raise ValueError(f"after a clause come '; CLAUSE' or ': remark', not {text[:40]!r}")


def logical_lines(text):
    """(number, line): comments and empty lines left out, continuations joined."""
    number, line = 0, ""
    for n, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        if raw[0].isspace() and line:
            line += " " + raw.strip()
            continue
        if line:
            yield number, line
        number, line = n, raw.strip()
    if line:
        yield number, line


def plain(parts):
    return all(not isinstance(p, Any) and None not in getattr(p, "bytes", ())
               and plain(getattr(p, "parts", ())) for p in parts)


def pair_of(file, number, clause, command, expected):
    secured = command.startswith("secured >")
    text = command.split(">", 1)[1].strip()
    sw = expected.split()[-1] if expected else ""
    if not re.fullmatch(r"(?:[0-9A-F]{2}|\.\.){2}", sw):
        raise ValueError("an answer ends with a status word: four digits, upper case")
    pair = Pair(file, number, *clauses_of(clause), secured, parse_bytes(text), text,
                parse_bytes(expected), expected)
    if not plain(pair.command):
        raise ValueError("a wildcard in a command")
    if sw.startswith(".."):
        raise ValueError("a status word that may be any proves nothing")
    return pair


def load(path):
    """The statements of a file: pairs and directives in order. Bad."""
    path = pathlib.Path(path)
    found, clause, command = [], None, None
    for number, line in logical_lines(path.read_text(encoding="utf-8")):
        try:
            if command and not line.startswith("<"):
                raise ValueError("a command without its answer comes before this")
            if line.startswith("@ "):
                if clause:
                    raise ValueError("the clause before this has no pair")
                clause = line[2:].strip()
                clauses_of(clause)
            elif line.startswith((">", "secured >")):
                if not clause:
                    raise ValueError("a pair names its clause, in a line '@ CLAUSE' above it")
                command = line, number
            elif line.startswith("<"):
                if not command:
                    raise ValueError("an answer without its command")
                found.append(pair_of(path, command[1], clause, command[0], line[1:].strip()))
                clause = command = None
            else:
                words = line.split()
                found.append(Directive(path, number, words[0], words[1:], line[len(words[0]):].strip()))
        except ValueError as e:
            raise Bad(f"{shown(path)}:{number}: {e}") from None
    if clause or command:
        raise Bad(f"{shown(path)}: ends in the middle of a pair")
    return found


def files():
    """The whole corpus."""
    return sorted(HERE.glob("*.apdu"))


def card_file(name):
    return HERE / "cards" / f"{name}.apdu"


# --- what is covered -------------------------------------------------------------------------------

def covered(statements, aids, app=None):
    """Yields (AID or "*", CLA, INS, pair) for each pair that is a whole command, or the end of one, by what is
    selected there as the file says it; `aids` are those of the card. Returns what is selected at the end."""
    begun = b""  # of a chain
    for s in statements:
        if isinstance(s, Directive):
            if s.name in ("power", "reset", "card"):
                app = None
            elif s.name == "channel" and s.words[0] in ("open", "close"):
                app = LINK
            elif s.name == "personalise":
                app = yield from covered(load(card_file(s.words[0])), aids)
            continue
        if len(s.header) < 4:
            continue
        cla, ins = s.header[0] & ~0x14, s.header[1]  # without chaining and secure messaging
        part = s.header[0] & 0x10 and s.done
        if not part:
            yield ("*" if ins in (0xA4, 0xC0) else app), cla, ins, s
        if ins == 0xA4 and s.done:
            begun += case_of(value_of(s.command, {}))[1]
            app = app if part else next(a for a in aids if a.startswith(begun.hex().upper()))
        begun = begun if part else b""
    return app


def rows_missing(statements_of_files, rows):
    """Rows of the card ("AID CLA INS") that no pair shows done, or none shows refused."""
    aids = sorted({r.split()[0] for r in rows} - {"*"})
    done, refused = set(), set()
    for statements in statements_of_files:
        for app, cla, ins, pair in covered(statements, aids):
            key = f"{app} {cla:02X} {ins:02X}"
            if pair.done:
                done.add(key)
            if pair.refused:
                refused.add(key)
    return [f"{r}: no pair in which it is done" for r in rows if r not in done] + \
           [f"{r}: no pair in which it is refused" for r in rows if r not in refused]
