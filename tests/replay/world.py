"""What the corpus needs besides a reader and a card: authorities, a TLS server, and the issuer's keys. Made
anew in each run; the server is OpenSSL in this process (Python's ssl), its bytes carried by the runner."""

import datetime
import pathlib
import ssl
import tempfile

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scp03 import Keys

NAME = "server.cardwire.test"
ISSUER_PREFIX = b"CARDWIRE ISSUER 1\n"
KEYS = {  # sets of ENC, MAC, DEK by the names that the corpus has for them
    "maker": Keys(*[bytes(range(0x40, 0x50))] * 3),
    "issuer": Keys(bytes(range(0x10, 0x20)), bytes(range(0x20, 0x30)), bytes(range(0x30, 0x40))),
    "next": Keys(bytes(range(0x50, 0x60)), bytes(range(0x60, 0x70)), bytes(range(0x70, 0x80))),
}
DIGITAL_SIGNATURE, NON_REPUDIATION, KEY_ENCIPHERMENT, CERT_SIGN = 0, 1, 2, 5
NO_EXTENDED_MASTER_SECRET = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, which Python has no name for
ORDER_USE = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def point(key):
    return key.public_key().public_bytes(serialization.Encoding.X962,
                                         serialization.PublicFormat.UncompressedPoint)


def certificate(subject, public_key, usage, authority=None, extended=None, san=None, key=None):
    """authority: (certificate, key) above it; without one it is a root signed by `key`."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    above, signer = authority if authority else (None, key)
    builder = (x509.CertificateBuilder()
               .subject_name(name).issuer_name(above.subject if above else name)
               .public_key(public_key).serial_number(x509.random_serial_number())
               .not_valid_before(datetime.datetime(2020, 1, 1))
               .not_valid_after(datetime.datetime(2049, 12, 31))
               .add_extension(x509.BasicConstraints(not above, None), critical=True)
               .add_extension(x509.KeyUsage(*[i == usage for i in range(9)]), critical=True))
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage([extended]), critical=False)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(san)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def root(subject):
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(subject, key.public_key(), CERT_SIGN, key=key), key


def tls_context(profile, leaf, key, clients):
    """Of a TLS server with that certificate, which asks for one that stands under `clients`."""
    version = ssl.TLSVersion.TLSv1_3 if profile == "tls13" else ssl.TLSVersion.TLSv1_2
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="cardwire-replay-") as folder:
        chain = pathlib.Path(folder) / "server.pem"
        chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context.load_cert_chain(chain)
    context.load_verify_locations(cadata=der(clients))
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    context.num_tickets = 1
    context.options |= ssl.OP_NO_TICKET  # sessions stay at the server; in a ticket there would be the card's
    # certificate, and the card would not keep it (docs/card.md)
    if version == ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("AES128-GCM-SHA256" if profile == "rsa" else "ECDHE-ECDSA-AES128-GCM-SHA256")
    return context


class World:
    """Values that every file starts with:

    ROOT, ROOT2      roots for servers, DER; the servers of `server` stand under the first
    LEAF             a server's certificate, which is no root
    UPDATE_KEY       the issuer's update key, 65 bytes
    """

    def __init__(self):
        self.servers, self.others, self.cards = root("Server Root"), root("Other Root"), root("Card Root")
        self.update_key = ec.generate_private_key(ec.SECP256R1())
        self.contexts = {}
        self.values = {"ROOT": der(self.servers[0]), "ROOT2": der(self.others[0]),
                       "LEAF": der(self.leaf(self.servers, ec.generate_private_key(ec.SECP256R1()))),
                       "UPDATE_KEY": point(self.update_key)}

    @staticmethod
    def leaf(authority, key, usage=DIGITAL_SIGNATURE):
        return certificate("server", key.public_key(), usage, authority, ExtendedKeyUsageOID.SERVER_AUTH,
                           NAME)

    def certify(self, request, order):
        """The card's certificate for its PKCS#10 request; the request's signature must be good."""
        csr = x509.load_der_x509_csr(request)
        if not csr.is_signature_valid:
            raise ValueError("the request's own signature is bad")
        subject = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return der(certificate(
            subject, csr.public_key(), NON_REPUDIATION if order else DIGITAL_SIGNATURE, self.cards,
            ORDER_USE if order else ExtendedKeyUsageOID.CLIENT_AUTH))

    def sign(self, message):
        """The message and its signature (proto/issuer.h)."""
        r, s = utils.decode_dss_signature(
            self.update_key.sign(ISSUER_PREFIX + message, ec.ECDSA(hashes.SHA256())))
        return message + b"\x9E\x40" + r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def context(self, profile, kind):
        """Of a TLS server, and its certificate in DER; kept, so that sessions of it can be taken up. kind: ""
        is an honest one, "stranger" stands under the wrong root, "unbound" has no extended master secret."""
        if (profile, kind) in self.contexts:
            return self.contexts[profile, kind]
        key = (rsa.generate_private_key(65537, 2048) if profile == "rsa"
               else ec.generate_private_key(ec.SECP256R1()))
        leaf = self.leaf(self.others if kind == "stranger" else self.servers, key,
                         KEY_ENCIPHERMENT if profile == "rsa" else DIGITAL_SIGNATURE)
        context = tls_context(profile, leaf, key, self.cards[0])
        if kind == "unbound":
            context.options |= NO_EXTENDED_MASTER_SECRET
        self.contexts[profile, kind] = context, der(leaf)
        return context, der(leaf)


class Server:
    """One end of a line, in memory."""

    def __init__(self, context):
        self.inside, self.outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inside, self.outside, server_side=True)
        self.open = False
        self.over = None   # why it is, once it is
        self.heard = b""

    def feed(self, data):
        """Bytes from the card."""
        self.inside.write(data)
        try:
            if not self.open:
                self.tls.do_handshake()
                self.open = True
            while part := self.tls.read(4096):
                self.heard += part
            self.over = "close_notify"
            self.tls.unwrap()  # else the session is not taken up again
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as e:
            self.over = e.reason or str(e)

    def take(self):
        """Bytes for the card."""
        return self.outside.read()

    def say(self, data):
        self.tls.write(data)

    def hear(self):
        """What the card has said since it was last asked."""
        heard, self.heard = self.heard, b""
        return heard


# --- what a directive can do to bytes ---------------------------------------------------------------

def block_cipher(kind, key):
    """One block, as PIV's administration key does it (SP 800-78-4 table 6-2: ECB)."""
    algorithm = algorithms.TripleDES if kind == "3des" else algorithms.AES
    return Cipher(algorithm(key), modes.ECB())


def encipher(kind, key, data):
    run = block_cipher(kind, key).encryptor()
    return run.update(data) + run.finalize()


def decipher(kind, key, data):
    run = block_cipher(kind, key).decryptor()
    return run.update(data) + run.finalize()


def public_key(encoded):
    """A point, uncompressed, or a certificate."""
    if encoded[0] == 0x04:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded)
    return x509.load_der_x509_certificate(encoded).public_key()


def ecdsa_is_good(key, signature, digest):
    try:
        public_key(key).verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


def rsa_is_good(modulus, exponent, block, result):
    """Is `result` the block, raised to the private exponent?"""
    n, e = int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")
    return pow(int.from_bytes(result, "big"), e, n) == int.from_bytes(block, "big")


def ecdh_is_good(key, scalar, secret):
    """Is `secret` what this private scalar and the card's point give?"""
    mine = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    return mine.exchange(ec.ECDH(), public_key(key)) == secret
