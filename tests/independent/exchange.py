"""The encryption of docs/encryption.md, written from that page alone, on `cryptography` from PyPI. It shares no code with punchd."""

import base64
import struct
import zlib

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=None)
BEFORE, AFTER = bytes.fromhex("3082010a0282010100"), bytes.fromhex("0203010001")
CHUNK = 16384


class Refused(Exception):
    """What the page does not allow."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def decode(text, length, why):
    need(len(text) == -(-length // 3) * 4, why)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(why) from None


def encode(data):
    return base64.b64encode(data).decode()


def public_key_text(private_key):
    return encode(private_key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1))


def key_bytes(text):
    der = decode(text, 270, "key")
    modulus = der[len(BEFORE) : -len(AFTER)]
    need(der.startswith(BEFORE) and der.endswith(AFTER) and len(modulus) == 256 and modulus[0] >= 0x80 and modulus[-1] & 1, "key")
    return der


def wrap(factor, key_text):
    modulus = int.from_bytes(key_bytes(key_text)[len(BEFORE) : -len(AFTER)], "big")
    return encode(rsa.RSAPublicNumbers(65537, modulus).public_key().encrypt(factor, OAEP))


def unwrap(private_key, text):
    try:
        factor = private_key.decrypt(decode(text, 256, "factor"), OAEP)
    except ValueError:
        raise Refused("factor") from None
    need(len(factor) == 32, "factor")
    return factor


def derive(terminal_key, server_key, terminal_factor, server_factor):
    info = b"iclock exchange 1 session" + key_bytes(terminal_key) + key_bytes(server_key)
    return HKDF(SHA256(), 32, None, info).derive(terminal_factor + server_factor)


def message_key(secret, direction, number):
    return HKDFExpand(SHA256(), 32, b"iclock exchange 1 message" + direction + struct.pack(">Q", number)).derive(secret)


def session_of(secret):
    """The id of a session."""
    return HKDFExpand(SHA256(), 8, b"iclock exchange 1 id").derive(secret)


def head(secret, direction, number):
    return b"\x01" + direction + session_of(secret) + struct.pack(">Q", number)


def cipher(secret, direction, number):
    stream = Cipher(ARC4(message_key(secret, direction, number)), None).encryptor()
    stream.update(bytes(1536))
    return stream


def chunks_of(data):
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]


def seal(secret, direction, number, chunks):
    """The sealed message of these chunks."""
    stream, crc = cipher(secret, direction, number), 0
    message = head(secret, direction, number)
    for nth, chunk in enumerate(chunks, 1):
        chunk = (b"\x01" if nth == len(chunks) else b"\x00") + chunk
        crc = zlib.crc32(chunk, crc)
        message += struct.pack(">H", len(chunk) + 4) + stream.update(chunk + struct.pack(">I", crc))
    return message


def head_of(message, direction):
    """The id and the number that a sealed message says."""
    need(message[:2] == b"\x01" + direction, "plain")
    need(len(message) >= 18, "cut")
    return message[2:10], struct.unpack(">Q", message[10:18])[0]


def open_message(secret, direction, number, message):
    """The first line of a sealed message, and what follows."""
    need(head_of(message, direction) == (session_of(secret), number), "other")
    stream, crc, at, data, is_last = cipher(secret, direction, number), 0, 18, b"", False
    while not is_last:
        need(len(message) >= at + 2, "cut")
        length = struct.unpack(">H", message[at : at + 2])[0]
        need(5 <= length <= CHUNK + 5, "malformed")
        need(len(message) >= at + 2 + length, "cut")
        chunk = stream.update(message[at + 2 : at + 2 + length])
        crc = zlib.crc32(chunk[:-4], crc)
        need(chunk[-4:] == struct.pack(">I", crc), "crc")
        need(chunk[0] in (0, 1), "malformed")
        is_last, data, at = chunk[0] == 1, data + chunk[1:-4], at + 2 + length
    need(at == len(message), "excess")
    first, found, rest = data.partition(b"\n")
    need(found, "malformed")
    return first.decode(), rest


class Numbers:
    """Which numbers of requests came: each is taken once, those up to 64 below the highest also late."""

    def __init__(self):
        self.highest, self.seen = 0, set()

    def take(self, number):
        need(number > self.highest - 64 and number not in self.seen and number > 0, "repeated")
        self.seen.add(number)
        self.highest = max(self.highest, number)
        self.seen = {seen for seen in self.seen if seen > self.highest - 64}
