"""A second implementation of docs/encryption.md against the vectors, and against a real punchd.

    python3 tests/independent/encryption.py target/debug/punchd    (with requirements.txt installed)
    python3 tests/independent/encryption.py --write                writes docs/encryption-vectors.json anew

First it makes the same bytes as docs/encryption-vectors.json has them, and refuses what is to be refused. Then it is a server: punchd
exchanges keys with it, sends it punches, takes a command and a file from it, all of it encrypted.
"""

import base64
import hashlib
import json
import struct
import sys
import zlib
from pathlib import Path

import encrypting_server
from cryptography.hazmat.primitives.asymmetric import rsa

import exchange
from exchange import Refused, encode

VECTORS = Path(__file__).resolve().parents[2] / "docs" / "encryption-vectors.json"
# Primes of made-up keys, which are used nowhere else.
PRIMES = {
    "terminal": (
        "f4d1a61b1a2ff04231fd1ef85d7e5cf65a0d2f58bcca9755b47232f08ee0fe8e7904e5b71f0962efddb7db31ad447f7da2e6dd5798f40b3bfe67318410b0b1f36713d3c3726795d6d1d1c03bbbff6d953524441e654d2deaf891a465fc6b50f1951309fb99f598909f4adc9b87b2abd87771c275ce995d84e54f67587598a101",
        "dff81fe9ae37c2b0477c0a715c5fbbccc349c135ab8de864347d05822316ba44c35a464942d6a73d413fbaba8f955b6f5ccb94493af785cbf11f6a92cc43503359c80ba6e83cfbba409cde9b9ade459a5bcf374afda667bf1d70e0ca7ff89c16339684e7b2ee2ab1d31b8d4e97d3b14c33f7fe9f4171f7861691fb46a307d3e3",
    ),
    "server": (
        "dc0968dd0e6bfccbd244068267758cc629c3aaa3ca28fd555b5da3ddd712ebe05cbb952e65124bdd434e43e2a8330021428518a936066603a3d37f4105e427aa64ea6a526e8f8cffb0cf74f40a3fcb097311d204d5b165f1b09c9d53ac495ea9bb9009f1007488bc9608c9095610251b1f43a45268d12f7ceaa53a420f84dc57",
        "bb8688dbc6553241c0ddc1dcfc8cd6ba523a637f68d6a3221c93322a72507c9e96bf839f41231db1f197d6067d368cd151fdf16d92e861900e05c56d5ed44133c7e34b4afc491254f72a31e1dfc4e68ea30a38f65edc2de2a34ceb532e88aaaa24cce702ac5350ad63b03a84fe0691a07174dd634015d970542d88acb2cc24af",
    ),
}
FACTORS = {"terminal": bytes(range(32)), "server": bytes(range(0xE0, 0x100))}
MESSAGES = [
    ("the confirmation", "S", 0, [b"200 2\nOK"]),
    ("a poll", "T", 1, [b"GET /iclock/getrequest?SN=MADE0001\n"]),
    ("a command list in two chunks", "S", 1, [b"200 -\nC:1:INFO\n", b"C:2:CHECK\n"]),
    ("an upload", "T", 2, [b"POST /iclock/cdata?SN=MADE0001&table=ATTLOG&Stamp=1\n1001\t2026-11-02 08:00:00\t0\t1\t0\t0\t0\n"]),
    ("its acknowledgement", "S", 2, [b"200 4\nOK:1"]),
    ("a file is asked for", "T", 3, [b"GET /iclock/file/fw/main.tgz?SN=MADE0001 0-3\n"]),
    ("its first part", "S", 3, [b"206 4 0-3/10\nabcd"]),
    ("an empty answer", "S", 4, [b"200 0\n"]),
]
# A body longer than a chunk, by its rule.
LONG = {"what": "a long upload", "direction": "T", "number": 5, "first_line": "POST /iclock/devicecmd?SN=MADE0001\n", "byte": "A", "times": 40_000}


def private_key(primes):
    p, q = (int(prime, 16) for prime in primes)
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


def long_body(vector):
    return vector["first_line"].encode() + vector["byte"].encode() * vector["times"]


def refused_messages(secret):
    """Answers to the request 2 that a terminal must refuse: what is wrong, why, the bytes."""
    good = exchange.seal(secret, b"S", 2, [b"200 4\n", b"OK:1"])
    first = 18 + 2 + 1 + 6 + 4
    flipped = good[:23] + bytes([good[23] ^ 1]) + good[24:]
    return [
        ("not encrypted", "plain", b"OK:1"),
        ("empty", "plain", b""),
        ("of another version", "plain", b"\x02" + good[1:]),
        ("a request", "plain", exchange.seal(secret, b"T", 2, [b"200 4\nOK:1"])),
        ("the answer to another request", "other", exchange.seal(secret, b"S", 1, [b"200 4\nOK:1"])),
        ("the same with the number changed", "crc", good[:18] + exchange.seal(secret, b"S", 1, [b"200 4\nOK:1"])[18:]),
        ("of another session", "other", exchange.seal(bytes(32), b"S", 2, [b"200 4\nOK:1"])),
        ("sealed with another secret", "crc", good[:18] + exchange.seal(bytes(32), b"S", 2, [b"200 4\nOK:1"])[18:]),
        ("a bit is turned over", "crc", flipped),
        ("cut in the head", "cut", good[:17]),
        ("cut after the head", "cut", good[:18]),
        ("cut after the first chunk", "cut", good[:first]),
        ("cut in a chunk", "cut", good[:-1]),
        ("the last chunk alone", "crc", good[:18] + good[first:]),
        ("the first chunk twice", "crc", good[:first] + good[18:]),
        ("bytes behind its end", "excess", good + b"\0"),
        ("a chunk without data or CRC", "malformed", good[:18] + b"\x00\x04abcd"),
        ("a chunk that is too long", "malformed", good[:18] + b"\x40\x06"),
        ("neither more nor last", "malformed", wrong_mark(secret)),
        ("no first line", "malformed", exchange.seal(secret, b"S", 2, [b"OK:1"])),
    ]


def wrong_mark(secret):
    chunk = b"\x02200 4\nOK:1"
    chunk += struct.pack(">I", zlib.crc32(chunk))
    return exchange.head(secret, b"S", 2) + struct.pack(">H", len(chunk)) + exchange.cipher(secret, b"S", 2).update(chunk)


def refused_keys(good):
    """Public keys that nobody takes: what is wrong, the text."""
    der = base64.b64decode(good)

    def key(bits, exponent=b"\x02\x03\x01\x00\x01"):
        number = (1 << bits - 1 | 1).to_bytes(bits // 8, "big")
        number = b"\x02" + length(len(number) + 1) + b"\0" + number
        return encode(b"\x30" + length(len(number) + len(exponent)) + number + exponent)

    def length(n):
        return bytes([n]) if n < 128 else bytes([0x82]) + n.to_bytes(2, "big") if n > 255 else bytes([0x81, n])

    return [
        ("nothing", ""),
        ("no base64", "!" * 360),
        ("cut", good[:-4]),
        ("longer", good + "AAAA"),
        ("without padding of the text", good[:-1] + "-"),
        ("of 512 bits", key(512)),
        ("of 1024 bits", key(1024)),
        ("of 16384 bits", key(16384)),
        ("the exponent 1", key(2048, b"\x02\x01\x01")),
        ("the exponent 1 in three bytes", encode(der[:-3] + b"\x00\x00\x01")),
        ("the exponent 3", encode(der[:-3] + b"\x00\x00\x03")),
        ("an even modulus", encode(der[:-6] + bytes([der[-6] & 0xFE]) + der[-5:])),
        ("a modulus of 2047 bits", encode(der[:9] + bytes([der[9] & 0x7F]) + der[10:])),
        ("another form (SubjectPublicKeyInfo)", encode(bytes.fromhex("30820122300d06092a864886f70d01010105000382010f00") + der)),
    ]


def make_vectors():
    keys = {side: private_key(primes) for side, primes in PRIMES.items()}
    public = {side: exchange.public_key_text(key) for side, key in keys.items()}
    secret = exchange.derive(public["terminal"], public["server"], FACTORS["terminal"], FACTORS["server"])
    side = {
        name: {
            "prime_1": PRIMES[name][0],
            "prime_2": PRIMES[name][1],
            "PublicKey": public[name],
            "factor": FACTORS[name].hex(),
            "Factors": exchange.wrap(FACTORS[name], public["server" if name == "terminal" else "terminal"]),
        }
        for name in PRIMES
    }
    sealed = {(direction, number): exchange.seal(secret, direction.encode(), number, chunks) for _, direction, number, chunks in MESSAGES}
    long = exchange.seal(secret, b"T", LONG["number"], exchange.chunks_of(long_body(LONG)))
    return {
        "about": "Test vectors of docs/encryption.md. Binary values are in hexadecimal, keys, factors and messages in base64. Factors "
        "are encrypted with random padding: another implementation decrypts these, and its own differ.",
        **side,
        "secret": secret.hex(),
        "session": exchange.session_of(secret).hex(),
        "Confirm": encode(sealed["S", 0]),
        "messages": [
            {
                "what": what,
                "direction": direction,
                "number": number,
                "key": exchange.message_key(secret, direction.encode(), number).hex(),
                "chunks": [chunk.decode() for chunk in chunks],
                "sealed": encode(sealed[direction, number]),
            }
            for what, direction, number, chunks in MESSAGES
        ],
        "long_message": {**LONG, "sealed_bytes": len(long), "sealed_sha256": hashlib.sha256(long).hexdigest()},
        "refused_answers_to_2": [{"what": what, "why": why, "sealed": encode(message)} for what, why, message in refused_messages(secret)],
        "refused_keys": [{"what": what, "PublicKey": key} for what, key in refused_keys(public["server"])],
        "refused_factors": [
            {"what": "nothing", "Factors": ""},
            {"what": "no base64", "Factors": "!" * 344},
            {"what": "random bytes", "Factors": encode(bytes(range(256)))},
            {"what": "for the other side", "Factors": side["terminal"]["Factors"]},
            {"what": "of 16 bytes", "Factors": exchange.wrap(bytes(16), public["terminal"])},
            {"what": "of 33 bytes", "Factors": exchange.wrap(bytes(33), public["terminal"])},
            {"what": "huge", "Factors": "A" * 1024},
        ],
    }


def same(what, found, expected):
    if found != expected:
        sys.exit(f"encryption: {what}: {found!r} is not {expected!r}")


def check_vectors(vectors):
    """Makes what the vectors have, and refuses what they say."""
    same("the primes", {side: (vectors[side]["prime_1"], vectors[side]["prime_2"]) for side in PRIMES}, PRIMES)
    keys = {side: private_key(primes) for side, primes in PRIMES.items()}
    for side, key in keys.items():
        same(f"PublicKey of the {side}", exchange.public_key_text(key), vectors[side]["PublicKey"])
        other = keys["server" if side == "terminal" else "terminal"]
        same(f"factor of the {side}", exchange.unwrap(other, vectors[side]["Factors"]).hex(), vectors[side]["factor"])
    texts = [vectors[side]["PublicKey"] for side in PRIMES]
    secret = exchange.derive(*texts, *(bytes.fromhex(vectors[side]["factor"]) for side in PRIMES))
    same("secret", secret.hex(), vectors["secret"])
    same("session", exchange.session_of(secret).hex(), vectors["session"])
    same("Confirm", encode(exchange.seal(secret, b"S", 0, [b"200 2\nOK"])), vectors["Confirm"])
    for message in vectors["messages"]:
        what, direction, number = message["what"], message["direction"].encode(), message["number"]
        chunks = [chunk.encode() for chunk in message["chunks"]]
        same(f"key of {what}", exchange.message_key(secret, direction, number).hex(), message["key"])
        sealed = exchange.seal(secret, direction, number, chunks)
        same(what, encode(sealed), message["sealed"])
        first, rest = exchange.open_message(secret, direction, number, sealed)
        same(f"{what}, opened", first.encode() + b"\n" + rest, b"".join(chunks))
    long = vectors["long_message"]
    sealed = exchange.seal(secret, long["direction"].encode(), long["number"], exchange.chunks_of(long_body(long)))
    same("the long message", (len(sealed), hashlib.sha256(sealed).hexdigest()), (long["sealed_bytes"], long["sealed_sha256"]))
    for answer in vectors["refused_answers_to_2"]:
        message = base64.b64decode(answer["sealed"])
        refused(answer["what"], answer["why"], lambda message=message: exchange.open_message(secret, b"S", 2, message))
    for key in vectors["refused_keys"]:
        refused(key["what"], "key", lambda key=key: exchange.wrap(bytes(32), key["PublicKey"]))
    for factor in vectors["refused_factors"]:
        refused(factor["what"], "factor", lambda factor=factor: exchange.unwrap(keys["terminal"], factor["Factors"]))
    count = len(vectors["messages"]) + 1
    bad = len(vectors["refused_answers_to_2"]) + len(vectors["refused_keys"]) + len(vectors["refused_factors"])
    print(f"encryption: {count} messages have the same bytes, {bad} keys, factors and messages are refused")


def refused(what, why, act):
    try:
        act()
    except Refused as refusal:
        same(f"why it is refused: {what}", str(refusal), why)
    else:
        sys.exit(f"encryption: it is not refused: {what}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        VECTORS.write_text(json.dumps(make_vectors(), indent=1, ensure_ascii=False) + "\n")
    check_vectors(json.loads(VECTORS.read_text()))
    if sys.argv[1:] != ["--write"]:
        encrypting_server.check(sys.argv[1])
