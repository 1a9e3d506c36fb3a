//! The suite makes the bytes of `docs/encryption-vectors.json`, and refuses what it says.

use std::io::{Cursor, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::{BoxedUint, PrivateKey};
use serde_json::Value;

use super::message::{NotOpened, Opened, Sealed};
use super::rsa_rc4::{KeyPair, RsaRc4};
use super::suite::{CipherSuite, Direction, Factor, Unusable};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../docs/encryption-vectors.json")).unwrap()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_else(|| panic!("{key} of {of}"))
}

fn hex(of: &Value, key: &str) -> Vec<u8> {
    let digits = text(of, key).as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

fn bytes(of: &Value, key: &str) -> Vec<u8> {
    STANDARD.decode(text(of, key)).unwrap()
}

fn key_pair(side: &Value) -> KeyPair {
    let prime = |key| BoxedUint::from_be_slice(&hex(side, key), 1024).unwrap();
    KeyPair::of(
        PrivateKey::from_p_q(prime("prime_1"), prime("prime_2"), 65_537_u64.into()).unwrap(),
    )
}

fn factor(side: &Value) -> Factor {
    hex(side, "factor").try_into().unwrap()
}

fn secret(vectors: &Value) -> [u8; 32] {
    let [terminal, server] = [&vectors["terminal"], &vectors["server"]];
    let keys = [text(terminal, "PublicKey"), text(server, "PublicKey")];
    RsaRc4::derive(keys, [&factor(terminal), &factor(server)]).unwrap()
}

fn read(mut reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    reader.read_to_end(&mut read)?;
    Ok(read)
}

#[test]
fn keys_factors_and_the_secret_are_those_of_the_vectors() {
    let vectors = vectors();
    for (side, peer) in [("terminal", "server"), ("server", "terminal")] {
        let (side, peer) = (&vectors[side], key_pair(&vectors[peer]));
        assert_eq!(RsaRc4::public_key(&key_pair(side)), text(side, "PublicKey"));
        assert_eq!(RsaRc4::unwrap(&peer, text(side, "Factors")), Ok(factor(side)));
        // What we wrap, the other side unwraps.
        let (made, wrapped) = RsaRc4::wrap(RsaRc4::public_key(&peer)).unwrap();
        assert_eq!(RsaRc4::unwrap(&peer, &wrapped), Ok(made));
    }
    assert_eq!(secret(&vectors).to_vec(), hex(&vectors, "secret"));
    assert_eq!(RsaRc4::session(&secret(&vectors)).to_vec(), hex(&vectors, "session"));
}

#[test]
fn messages_are_sealed_and_opened_as_in_the_vectors() {
    let vectors = vectors();
    let secret = secret(&vectors);
    for message in vectors["messages"].as_array().unwrap() {
        let number = message["number"].as_u64().unwrap();
        let chunks = message["chunks"].as_array().unwrap().iter();
        let plain = chunks.map(|chunk| chunk.as_str().unwrap()).collect::<String>();
        let sealed = bytes(message, "sealed");
        if text(message, "direction") == "T" {
            let length = plain.len() as u64;
            let ours = Sealed::<RsaRc4, _>::new(&secret, number, plain.as_bytes(), length);
            assert_eq!(read(ours).unwrap(), sealed, "{message}");
        } else {
            let mut opened = Opened::<RsaRc4>::new(&secret, number, Box::new(Cursor::new(sealed)));
            let first = opened.first_line().unwrap();
            let rest = String::from_utf8(read(opened).unwrap()).unwrap();
            assert_eq!(format!("{first}\n{rest}"), plain);
        }
    }
    let long = &vectors["long_message"];
    let times = usize::try_from(long["times"].as_u64().unwrap()).unwrap();
    let plain = text(long, "first_line").to_owned() + &text(long, "byte").repeat(times);
    let (number, length) = (long["number"].as_u64().unwrap(), plain.len() as u64);
    let sealed = read(Sealed::<RsaRc4, _>::new(&secret, number, plain.as_bytes(), length)).unwrap();
    assert_eq!(sealed.len() as u64, super::message::sealed_bytes::<RsaRc4>(length));
    assert_eq!(Some(sealed.len() as u64), long["sealed_bytes"].as_u64());
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&sealed);
    assert_eq!(digest.to_vec(), hex(long, "sealed_sha256"));
}

#[test]
fn what_is_to_be_refused_is() {
    let vectors = vectors();
    let secret = secret(&vectors);
    for answer in vectors["refused_answers_to_2"].as_array().unwrap() {
        let sealed = Box::new(Cursor::new(bytes(answer, "sealed")));
        let mut opened = Opened::<RsaRc4>::new(&secret, 2, sealed);
        let done = opened.first_line().and_then(|_| read(&mut opened));
        let expected = match text(answer, "why") {
            "plain" => NotOpened::Plain,
            "other" => NotOpened::OtherRequest,
            "cut" => NotOpened::Cut,
            "excess" => NotOpened::Excess,
            "malformed" => NotOpened::Malformed,
            "crc" => NotOpened::Unusable(Unusable::Checksum),
            other => panic!("{other}"),
        };
        let found = done.as_ref().map_err(|error| NotOpened::in_error(error).unwrap());
        assert_eq!(found.unwrap_err(), expected, "{}", text(answer, "what"));
    }
    for key in vectors["refused_keys"].as_array().unwrap() {
        let found = RsaRc4::wrap(text(key, "PublicKey"));
        assert_eq!(found.unwrap_err(), Unusable::Key, "{}", text(key, "what"));
    }
    let keys = key_pair(&vectors["terminal"]);
    for factor in vectors["refused_factors"].as_array().unwrap() {
        let found = RsaRc4::unwrap(&keys, text(factor, "Factors"));
        assert_eq!(found, Err(Unusable::Factor), "{}", text(factor, "what"));
    }
}

/// Gives one byte at each second read, and none at the others.
struct Slow(Cursor<Vec<u8>>, bool);

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let most = into.len().min(1);
        self.0.read(&mut into[..most])
    }
}

#[test]
fn a_read_that_was_interrupted_goes_on() {
    let vectors = vectors();
    let list = &vectors["messages"][2];
    let sealed = Slow(Cursor::new(bytes(list, "sealed")), false);
    let mut opened = Opened::<RsaRc4>::new(&secret(&vectors), 1, Box::new(sealed));
    let (mut interrupted, mut came) = (0, Vec::new());
    let first = loop {
        match opened.first_line() {
            Ok(first) => break first,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => interrupted += 1,
            Err(error) => panic!("{error}"),
        }
    };
    loop {
        match opened.read_to_end(&mut came) {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => interrupted += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((first.as_str(), came.as_slice()), ("200 -", &b"C:1:INFO\nC:2:CHECK\n"[..]));
    assert!(interrupted > 30, "{interrupted}");
}

#[test]
fn a_pair_of_keys_is_of_the_suite_and_another_each_time() {
    let [one, two] = [(); 2].map(|()| RsaRc4::make_key_pair().unwrap());
    let (factor, wrapped) = RsaRc4::wrap(RsaRc4::public_key(&one)).unwrap();
    assert_eq!(RsaRc4::unwrap(&one, &wrapped), Ok(factor));
    assert_eq!(RsaRc4::unwrap(&two, &wrapped), Err(Unusable::Factor));
}

#[test]
fn no_two_messages_have_the_same_key() {
    let secret = secret(&vectors());
    let stream = |direction, number| {
        let mut chunk = vec![0; 16];
        RsaRc4::seal(&mut RsaRc4::cipher(&secret, direction, number), &mut chunk);
        chunk
    };
    let mut streams = Vec::new();
    for direction in [Direction::FromTerminal, Direction::FromServer] {
        for number in [0, 1, 2, 1 << 32, u64::MAX] {
            streams.push(stream(direction, number));
        }
    }
    let count = streams.len();
    streams.sort();
    streams.dedup();
    assert_eq!(streams.len(), count);
}

#[test]
fn the_example_of_the_document_is_that_of_the_vectors() {
    let document = include_str!("../../docs/encryption.md");
    let vectors = vectors();
    let poll = &vectors["messages"][1];
    let expected = [
        text(&vectors, "secret"),
        text(&vectors, "session"),
        text(&vectors, "Confirm"),
        text(poll, "key"),
        text(poll, "sealed"),
    ];
    for value in expected {
        assert!(document.contains(value), "{value}");
    }
    let hex = |bytes: &[u8]| {
        let lines = bytes.chunks(24).map(|line| {
            let digits = line.iter().map(|byte| format!("{byte:02X}"));
            digits.collect::<Vec<_>>().join(" ")
        });
        lines.collect::<Vec<_>>().join("\n    ")
    };
    let plain = [&b"\x01"[..], poll["chunks"][0].as_str().unwrap().as_bytes()].concat();
    assert!(document.contains(&hex(&plain)));
    assert!(document.contains(&hex(&crc32fast::hash(&plain).to_be_bytes())));
    assert!(document.contains(&hex(&bytes(poll, "sealed"))));
}

#[test]
fn each_byte_that_is_changed_and_each_cut_is_found() {
    let vectors = vectors();
    let secret = secret(&vectors);
    let list = bytes(&vectors["messages"][2], "sealed");
    let open = |message: Vec<u8>| {
        let mut opened = Opened::<RsaRc4>::new(&secret, 1, Box::new(Cursor::new(message)));
        opened.first_line().and_then(|_| read(&mut opened))
    };
    assert!(open(list.clone()).is_ok());
    for at in 0..list.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = list.clone();
            changed[at] ^= change;
            assert!(open(changed).is_err(), "byte {at}");
        }
        assert!(open(list[..at].to_vec()).is_err(), "cut at {at}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_taken_for_a_message(bytes: Vec<u8>, length: u16) {
        let secret = secret(&vectors());
        let mut message = read(Sealed::<RsaRc4, _>::new(&secret, 1, &b""[..], 0)).unwrap();
        message[1] = b'S';
        message.truncate(18);
        message.extend(length.to_be_bytes());
        message.extend(&bytes);
        for message in [bytes, message] {
            let mut opened = Opened::<RsaRc4>::new(&secret, 1, Box::new(Cursor::new(message)));
            let done = opened.first_line();
            proptest::prop_assert!(done.is_err(), "{done:?}");
        }
    }
}
