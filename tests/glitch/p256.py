"""P-256 on the host in the place of p256-m in the image, where its functions begin: the same answers to
whatever they are asked, in a thousandth of the time. Faults inside the library are not what is tried.
`memory` is the machine's: read(address, length), write(address, bytes), random()."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

CURVE = ec.SECP256R1()
SHA256 = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BAD_PUBLIC, BAD_PRIVATE, BAD_SIGNATURE = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFC


def private(raw):
    scalar = int.from_bytes(raw, "big")
    return ec.derive_private_key(scalar, CURVE) if 0 < scalar < ORDER else None


def public(raw):
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, b"\4" + raw)
    except ValueError:
        return None


def numbers(key):
    n = key.public_key().public_numbers()
    return n.x.to_bytes(32, "big") + n.y.to_bytes(32, "big")


def digest(memory, at, length):
    """As a number it is the same with zeros before it."""
    return memory.read(at, min(length, 32)).rjust(32, b"\0")


def p256_gen_keypair(memory, priv, pub, *_):
    raw = memory.random()
    memory.write(priv, raw)
    memory.write(pub, numbers(private(raw)))
    return 0


def p256_public_from_private(memory, pub, priv, *_):
    key = private(memory.read(priv, 32))
    if key is None:
        return BAD_PRIVATE
    memory.write(pub, numbers(key))
    return 0


def p256_ecdh_shared_secret(memory, secret, priv, pub, _):
    mine, theirs = private(memory.read(priv, 32)), public(memory.read(pub, 64))
    if mine is None or theirs is None:
        return BAD_PRIVATE if mine is None else BAD_PUBLIC
    memory.write(secret, mine.exchange(ec.ECDH(), theirs))
    return 0


def p256_ecdsa_sign(memory, sig, priv, at, length):
    key = private(memory.read(priv, 32))
    if key is None:
        return BAD_PRIVATE
    r, s = utils.decode_dss_signature(key.sign(digest(memory, at, length), SHA256))
    memory.write(sig, r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return 0


def p256_ecdsa_verify(memory, sig, pub, at, length):
    raw, key = memory.read(sig, 64), public(memory.read(pub, 64))
    if key is None:
        return BAD_PUBLIC
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    try:
        key.verify(utils.encode_dss_signature(r, s), digest(memory, at, length), SHA256)
    except InvalidSignature:
        return BAD_SIGNATURE
    return 0


def p256_validate_pubkey(memory, pub, *_):
    return 0 if public(memory.read(pub, 64)) is not None else BAD_PUBLIC


FUNCTIONS = (p256_gen_keypair, p256_public_from_private, p256_ecdh_shared_secret, p256_ecdsa_sign,
             p256_ecdsa_verify, p256_validate_pubkey)
