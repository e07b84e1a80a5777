"""A proxy that changes bytes, between the card and each of four servers that nobody here wrote: every record
of a whole line, in both directions, is changed at named places, one at a time. For each place the reason that
the card must give is what TLS makes of it; nothing changed is ever taken, and no session exists afterwards.

Lengths are left alone: both ends would wait for what never comes."""

import pytest

from cardwire_lab import Tap
from foreign import PROFILES, SERVERS
from rawcard import OPEN, PIN, assert_no_session
from tls12 import records

CCS, ALERT, HANDSHAKE = 20, 21, 22
MESSAGES = {1: "ClientHello", 2: "ServerHello", 11: "Certificate", 12: "ServerKeyExchange",
            13: "CertificateRequest", 14: "ServerHelloDone", 15: "CertificateVerify",
            16: "ClientKeyExchange"}
# What a server here takes although it was changed: no fault of the card, which has not seen the change.
# Neither the content of ChangeCipherSpec nor the outer type of a record of TLS 1.3 is part of the transcript.
LAX = {"gnutls": {("CCS", "first"), ("sealed", "type")}}


def fields_of(name, message):
    """Bytes from the start of a message to a field in it (RFC 5246 §7.4.1, RFC 8446 §4.1; RFC 8422 §5.4)."""
    if name in ("ClientHello", "ServerHello"):
        session = message[38]  # length
        suite = 39 + session + (3 if name == "ClientHello" else 1)
        return {"random": 10, "suite": suite, **({"session": 42} if session else {})}
    return {"curve": 6, "point": 20} if name == "ServerKeyExchange" else {}


def places_of(records_seen):
    """(record, label, place) of each byte to change; place: a name, or (message, name) in clear."""
    sealed = False
    for number, (kind, version, fragment) in enumerate(records_seen):
        clear = kind == HANDSHAKE and not sealed
        label = "CCS" if kind == CCS else "clear" if clear else "sealed"
        for place in ("type", "version"):
            yield number, label, place
        if clear:
            for index, (start, end, name) in enumerate(messages_of(fragment)):
                yield number, name, (index, "first")
                for field in fields_of(name, fragment[start:end]):
                    yield number, name, (index, field)
                if end - start > 4:
                    if not name.endswith("Hello"):
                        yield number, name, (index, "middle")
                    yield number, name, (index, "last")
        else:
            yield number, label, "first"
            if len(fragment) > 1:
                yield number, label, "middle"
                yield number, label, "last"
        # TLS 1.2 protects after ChangeCipherSpec; TLS 1.3 shows itself by its type.
        sealed = sealed or kind == CCS and version == 0x0303


def messages_of(fragment):
    """(start, end, name) of each handshake message in a record in clear."""
    at = 0
    while at + 4 <= len(fragment):
        end = at + 4 + int.from_bytes(fragment[at + 1:at + 4], "big")
        assert end <= len(fragment), "a message over two records; this test knows no such server"
        yield at, end, MESSAGES[fragment[at]]
        at = end


def offset_of(record, place):
    """Where in this record: lengths differ from line to line, ECDSA signatures by a byte or two."""
    if isinstance(place, str):
        return {"type": 0, "version": 1, "first": 5, "middle": 5 + (len(record) - 5) // 2,
                "last": len(record) - 1}[place]
    index, name = place
    start, end, message = list(messages_of(record[5:]))[index]
    within = {"first": 0, "middle": (4 + end - start) // 2, "last": end - start - 1,
              **fields_of(message, record[5 + start:5 + end])}
    return 5 + start + within[name]


class Flip:
    """Changes one bit of one record on its way."""

    def __init__(self, to_server, record, place):
        self.to_server, self.record, self.place, self.done = to_server, record, place, False

    def __call__(self, to_server, data, state):
        if to_server != self.to_server:
            return data
        rest, out = state.get("rest", b"") + data, b""
        while len(rest) >= 5:
            size = 5 + int.from_bytes(rest[3:5], "big")
            if len(rest) < size:
                break
            record, rest = bytearray(rest[:size]), rest[size:]
            if state.setdefault("count", 0) == self.record:
                record[offset_of(record, self.place)] ^= 0x01
                self.done = True
            state["count"] += 1
            out += record
        state["rest"] = rest
        return out


def reasons(profile, from_server, label, name):
    """What the card must say of a change at this place."""
    # A changed random is under the server's signature, in the keys, or in what the card signs.
    random = {"tls13": {"bad-record"}, "ecdhe": {"bad-signature"}, "rsa": {"alert"}}[profile]
    if not from_server:
        return {
            ("ClientHello", "random"): random,
            # The server takes the other suite that is offered, or has none.
            ("ClientHello", "suite"): {"bad-record"} if profile == "tls13" else {"alert"},
            ("ClientHello", "session"): {"protocol", "profile"} if profile == "tls13" else {"alert"},
            # Some extension: the server may take it, and signs.
            ("ClientHello", "last"): random | {"alert", "protocol", "profile"},
            # No TLS at all to nginx, which answers with a page in clear.
            ("clear", "type"): {"alert", "eof", "protocol", "oversize"},
        }.get((label, name), {"alert", "eof"})  # the server found it, and said so or hung up
    if label == "sealed":
        # Its header is authenticated too (RFC 5246 §6.2.3.3, RFC 8446 §5.2).
        return {"bad-record", "protocol"} if name in ("type", "version") else {"bad-record"}
    if name == "version":
        # In clear it is part of nothing that is signed or hashed, TLS 1.3 says to ignore it (RFC 8446 §5.1),
        # and the engine ignores any that is not above its own.
        return {"none", "protocol"}
    if label == "CCS":  # TLS 1.3 has keys by then, and takes it for a record under them
        return {"protocol", "bad-record"} if profile == "tls13" else {"protocol"}
    if (label, name) == ("CertificateRequest", "first"):
        return {"protocol", "no-client-auth"}
    if name in ("type", "first"):
        return {"protocol"}
    return {
        ("ServerHello", "random"): random,
        # TLS 1.3: must be the client's. TLS 1.2: part of what both have signed or hashed.
        ("ServerHello", "session"): {"protocol", "profile"} if profile == "tls13" else {"alert"},
        # In `rsa` the other suite was offered as well.
        ("ServerHello", "suite"): {"alert"} if profile == "rsa" else {"protocol", "profile"},
        ("ServerHello", "last"): {"protocol", "profile", "alert", "bad-record"},
        ("Certificate", "middle"): {"untrusted", "malformed-certificate"},
        ("Certificate", "last"): {"untrusted"},  # the end of the authority's signature
        ("ServerKeyExchange", "curve"): {"protocol", "bad-signature"},
        ("ServerKeyExchange", "point"): {"bad-signature", "protocol"},
        ("ServerKeyExchange", "middle"): {"bad-signature", "protocol"},
        ("ServerKeyExchange", "last"): {"bad-signature"},  # the end of the server's own signature
        ("CertificateRequest", "middle"): {"alert", "protocol"},
        ("CertificateRequest", "last"): {"alert", "protocol"},  # names: the card signs what it heard
    }[label, name]


def run_line(world, server, profile, change, patience=60):
    """One line through a tap: (did the whole answer come, the card's reason, records from the card, records
    from the server)."""
    card, tap = world.card, Tap(server.port, change)
    say, want = ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"you are ") if server.speaks == "http"
                 else (b"hello\n", b"l"))
    try:
        answer = b""
        if card.open(PIN, tap.port, world.name, profile, patience=patience) & OPEN:
            if card.write(say) == 0x9000:
                while want not in answer and (part := card.read()):
                    answer += part
        reason = card.reason()
        if reason != "none":
            assert_no_session(card)
        return answer, reason, list(records(tap.to_server)), list(records(tap.to_client))
    finally:
        card.hang_up()
        tap.close()


@pytest.mark.parametrize("from_server", [True, False], ids=["from-server", "from-card"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", [
    "openssl", *(pytest.param(k, marks=pytest.mark.slow) for k in SERVERS if k != "openssl")])
def test_card_refuses_flipped_bytes(world, kind, profile, from_server):
    cert, key = world.honest[profile]
    server = SERVERS[kind](world.lab, PROFILES[profile], cert, key, world.cards.cert)
    wrong, labels, tried = [], set(), 0
    try:
        answer, reason, *seen = run_line(world, server, profile, None)
        assert answer and reason == "none"
        for number, label, place in places_of(seen[from_server]):
            flip = Flip(not from_server, number, place)
            # A server may wait for more where the card's bytes were changed; hanging up then is as good.
            answer, reason, *_ = run_line(world, server, profile, flip, 60 if from_server else 2)
            labels.add(label)
            tried += 1
            if not flip.done:
                wrong.append((number, label, place, "never came by"))
                continue
            name = place if isinstance(place, str) else place[1]
            good = reasons(profile, from_server, label, name)
            if not from_server and (label, name) in LAX.get(kind, ()):
                good = good | {"none"}
            if reason not in good or answer and reason != "none":
                wrong.append((number, label, place, reason, answer))
    finally:
        server.stop()
    assert not wrong
    # That the records were told apart at all.
    expected = {"tls13": {"ServerHello", "clear", "sealed"},
                "rsa": {"ServerHello", "Certificate", "CertificateRequest", "clear", "CCS", "sealed"}}
    expected["ecdhe"] = expected["rsa"] | {"ServerKeyExchange"}
    assert labels >= (expected[profile] if from_server else {"ClientHello", "clear", "sealed"})
    assert tried > 15
