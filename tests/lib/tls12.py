"""Reads a recorded TLS 1.2 connection (RFC 5246, RFC 5288, RFC 7627): enough to prove who made what. Not a
TLS implementation. python3-cryptography does the mathematics."""

import dataclasses
import struct

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
(CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST,
 SERVER_HELLO_DONE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED) = (1, 2, 11, 12, 13, 14, 15, 16,
                                                                         20)
NEW_SESSION_TICKET = 4
# RFC 5246 §7.4.1.4.1
HASHES = {4: hashes.SHA256, 5: hashes.SHA384, 6: hashes.SHA512}
SUITES = {0x009C: (16, hashes.SHA256), 0x009D: (32, hashes.SHA384)}


def records(data):
    """(type, version, fragment) of each record."""
    data = bytes(data)
    while len(data) >= 5:
        kind, version, length = struct.unpack(">BHH", data[:5])
        yield kind, version, data[5:5 + length]
        data = data[5 + length:]


def prf(algorithm, secret, label, seed, length):
    """RFC 5246 §5"""
    def mac(data):
        h = hmac.HMAC(secret, algorithm())
        h.update(data)
        return h.finalize()
    seed, out, a = label + seed, b"", label + seed
    while len(out) < length:
        a = mac(a)
        out += mac(a + seed)
    return out[:length]


def digest(algorithm, data):
    h = hashes.Hash(algorithm())
    h.update(data)
    return h.finalize()


@dataclasses.dataclass
class Message:
    kind: int
    body: bytes
    raw: bytes  # with its header, as it goes into the transcript


def messages(side):
    """The handshake messages that one side sent in clear: up to its ChangeCipherSpec."""
    stream = b""
    for kind, _, fragment in records(side):
        if kind == CCS:
            break
        if kind == HANDSHAKE:
            stream += fragment
    found = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[1:4], "big")
        found.append(Message(stream[0], stream[4:4 + length], stream[:4 + length]))
        stream = stream[4 + length:]
    return found


class Capture:
    def __init__(self, to_server, to_client):
        self.to_server, self.to_client = bytes(to_server), bytes(to_client)
        self.client, self.server = messages(to_server), messages(to_client)
        hello = self.one("server", SERVER_HELLO)
        self.suite = struct.unpack(">H", hello[35 + hello[34]:37 + hello[34]])[0]
        self.key_length, self.hash = SUITES[self.suite]

    def one(self, side, kind):
        found = [m.body for m in getattr(self, side) if m.kind == kind]
        assert len(found) == 1, f"{side} sent {len(found)} messages of type {kind}"
        return found[0]

    @property
    def client_random(self):
        return self.one("client", CLIENT_HELLO)[2:34]

    @property
    def server_random(self):
        return self.one("server", SERVER_HELLO)[2:34]

    def certificates(self, side):
        data = self.one(side, CERTIFICATE)[3:]
        found = []
        while data:
            length = int.from_bytes(data[:3], "big")
            found.append(x509.load_der_x509_certificate(data[3:3 + length]))
            data = data[3 + length:]
        return found

    @property
    def encrypted_premaster(self):
        body = self.one("client", CLIENT_KEY_EXCHANGE)
        assert struct.unpack(">H", body[:2])[0] == len(body) - 2
        return body[2:]

    def transcript(self, up_to):
        """Raw messages in the order of the wire, up to and including the client's `up_to`."""
        client = list(self.client)
        out = client.pop(0).raw + b"".join(m.raw for m in self.server
                                           if m.kind != NEW_SESSION_TICKET)
        for m in client:
            out += m.raw
            if m.kind == up_to:
                return out
        raise AssertionError(f"client sent no message of type {up_to}")

    @property
    def extended_master_secret(self):
        """RFC 7627 §5.1: extension 23 in both hellos."""
        return (23 in extensions(self.one("client", CLIENT_HELLO), True)
                and 23 in extensions(self.one("server", SERVER_HELLO), False))

    def master(self, premaster):
        """RFC 7627 §4, or RFC 5246 §8.1 without the extension."""
        if self.extended_master_secret:
            session_hash = digest(self.hash, self.transcript(CLIENT_KEY_EXCHANGE))
            return prf(self.hash, premaster, b"extended master secret", session_hash, 48)
        return prf(self.hash, premaster, b"master secret", self.client_random + self.server_random, 48)

    def verify_certificate_verify(self):
        """Raises InvalidSignature unless the client's key signed the transcript (§7.4.8)."""
        body = self.one("client", CERTIFICATE_VERIFY)
        pss = body[0] == 8  # RFC 8446 §4.2.3: rsa_pss_rsae_*, in TLS 1.2 as well
        algorithm = HASHES[body[1] if pss else body[0]]()
        signature = body[4:]
        assert struct.unpack(">H", body[2:4])[0] == len(signature)
        key = self.certificates("client")[0].public_key()
        signed = self.transcript(CLIENT_KEY_EXCHANGE)
        self.verify(key, signature, signed, algorithm, pss)
        try:  # a check that cannot fail is none
            self.verify(key, signature, signed[:-1] + bytes([signed[-1] ^ 1]), algorithm, pss)
        except InvalidSignature:
            return
        raise AssertionError("the signature holds over another transcript as well")

    @staticmethod
    def verify(key, signature, signed, algorithm, pss):
        if isinstance(key, rsa.RSAPublicKey):
            pad = (padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) if pss
                   else padding.PKCS1v15())
            key.verify(signature, signed, pad, algorithm)
        else:
            key.verify(signature, signed, ec.ECDSA(algorithm))

    def keys(self, master):
        """RFC 5246 §6.3 for AEAD suites: no MAC keys, 4 bytes of implicit nonce (RFC 5288 §3)."""
        n = self.key_length
        block = prf(self.hash, master, b"key expansion", self.server_random + self.client_random,
                    2 * n + 8)
        return {"client_key": block[:n], "server_key": block[n:2 * n],
                "client_iv": block[2 * n:2 * n + 4], "server_iv": block[2 * n + 4:]}

    def protected(self, side, keys):
        """(type, plaintext) of every record after the side's ChangeCipherSpec. Raises InvalidTag when
        one does not open."""
        wire = self.to_server if side == "client" else self.to_client
        aead, iv, sequence, on, found = AESGCM(keys[side + "_key"]), keys[side + "_iv"], 0, False, []
        for kind, version, fragment in records(wire):
            if kind == CCS:
                on = True
            elif on:
                nonce, text = iv + fragment[:8], fragment[8:]
                aad = struct.pack(">QBHH", sequence, kind, version, len(text) - 16)
                found.append((kind, aead.decrypt(nonce, text, aad)))
                sequence += 1
        return found

    def finished(self, side, master):
        """What the side's Finished must carry (§7.4.9)."""
        seen = self.transcript(CERTIFICATE_VERIFY)
        label = b"client finished" if side == "client" else b"server finished"
        if side == "server":
            # The client's Finished, and the server's NewSessionTicket if there was one (RFC 5077 §3.3).
            keys = self.keys(master)
            seen += next(p for k, p in self.protected("client", keys) if k == HANDSHAKE)
            seen += b"".join(m.raw for m in self.server if m.kind == NEW_SESSION_TICKET)
        return prf(self.hash, master, label, digest(self.hash, seen), 12)


def extensions(hello, client):
    at = 34
    at += 1 + hello[at]
    if client:
        at += 2 + struct.unpack(">H", hello[at:at + 2])[0]
        at += 1 + hello[at]
    else:
        at += 3
    found, at = {}, at + 2
    while at + 4 <= len(hello):
        kind, length = struct.unpack(">HH", hello[at:at + 4])
        found[kind] = hello[at + 4:at + 4 + length]
        at += 4 + length
    return found
