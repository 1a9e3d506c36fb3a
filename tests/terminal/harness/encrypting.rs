//! A raw server that exchanges keys and encrypts, as `docs/encryption.md` has it.

use std::sync::{Arc, Mutex};

use iclock_emulator::suite::{Numbers, Secret, ServerKeys, head_of};

use iclock_emulator::{Emulator, Settings};

use super::{RawAnswer, RawRequest, says, server_with};

/// A strict server that exchanges keys.
pub fn encrypting_server() -> Emulator {
    let server = server_with(Settings { exchanges_keys: true, ..Settings::default() });
    server.set_option("Encrypt", "1");
    server
}

/// What a server that encrypts knows and has seen.
#[derive(Default)]
pub struct Encrypting {
    /// The keys of the server, and the key of the terminal.
    keys: Option<(ServerKeys, String)>,
    /// The secret of each exchange, in order.
    pub secrets: Vec<Secret>,
    /// The public keys of the terminal, in order.
    pub terminal_keys: Vec<String>,
    numbers: Numbers,
    /// The first line of each message, or what was asked in plain.
    pub lines: Vec<String>,
    /// What is wrong with messages.
    pub flaws: Vec<String>,
}

/// A server that encrypts, in front of one that does not know of that.
pub fn encrypting(
    mut inner: impl FnMut(&RawRequest) -> RawAnswer + Send + 'static,
) -> (Arc<Mutex<Encrypting>>, impl FnMut(&RawRequest) -> RawAnswer + Send + 'static) {
    let state = Arc::<Mutex<Encrypting>>::default();
    let shared = Arc::clone(&state);
    (shared, move |request: &RawRequest| {
        let opened = state.lock().unwrap().open(request);
        match opened {
            // Nobody holds the lock while the other server has its say.
            Ok((request, None)) => with_encrypt(inner(&request)),
            Ok((request, Some((secret, number)))) => sealed(&secret, number, inner(&request)),
            Err(answer) => answer,
        }
    })
}

/// What an answer is to be sealed with.
type Seal = Option<(Secret, u64)>;

impl Encrypting {
    fn open(&mut self, request: &RawRequest) -> Result<(RawRequest, Seal), RawAnswer> {
        if request.is_handshake() {
            self.lines.push("handshake".into());
            return Ok((request.clone(), None));
        }
        if request.target.contains("/exchange?") {
            return Err(self.exchange(request));
        }
        let message = message_of(request);
        let Some(secret) = self.secrets.last() else {
            self.lines.push(format!("{} {}", request.method, request.target));
            return Ok((request.clone(), None));
        };
        let number = head_of(&message).map_or(0, |(_, number)| number);
        match secret.open(&message) {
            Ok((line, body)) if self.numbers.take(number) => {
                let target = line.split(' ').nth(1).unwrap().to_owned();
                assert_eq!(target, request.target);
                let secret = secret.clone();
                self.lines.push(line);
                Ok((RawRequest { body, ..request.clone() }, Some((secret, number))))
            }
            opened => {
                let why = opened.map_or_else(|why| why, |_| format!("{number} came before"));
                self.flaws.push(format!("{} {}: {why}", request.method, request.target));
                Err(says(409, why))
            }
        }
    }

    fn exchange(&mut self, request: &RawRequest) -> RawAnswer {
        let text = request.text();
        if let Some(theirs) = text.strip_prefix("PublicKey=") {
            self.lines.push("publickey".into());
            self.terminal_keys.push(theirs.to_owned());
            let ours = ServerKeys::make();
            let answer = format!("PublicKey={}", ours.public);
            self.keys = Some((ours, theirs.to_owned()));
            return says(200, answer);
        }
        self.lines.push("factors".into());
        let (ours, theirs) = self.keys.take().expect("keys come before factors");
        let (secret, answer) = ours.agree(&theirs, text.strip_prefix("Factors=").unwrap()).unwrap();
        self.secrets.push(secret);
        self.numbers = Numbers::default();
        says(200, answer)
    }
}

/// The sealed message of a request: its body, or in its head.
pub fn message_of(request: &RawRequest) -> Vec<u8> {
    use base64::Engine;
    let decode = |text| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    request.sealed.as_ref().map_or_else(|| request.body.clone(), decode)
}

/// The answer to a handshake asks for encryption.
fn with_encrypt(answer: RawAnswer) -> RawAnswer {
    match answer {
        RawAnswer::Says(status, more, body) => {
            RawAnswer::Says(status, more, body.replace("Encrypt=0", "Encrypt=1"))
        }
        other => other,
    }
}

fn sealed(secret: &Secret, number: u64, answer: RawAnswer) -> RawAnswer {
    let (status, more, body) = match answer {
        RawAnswer::Says(status, more, body) => (status, more, body.into_bytes()),
        RawAnswer::Bytes(body) => (200, "", body),
        other => return other,
    };
    let line = format!("{status} {}\n", body.len());
    let message = secret.seal(number, &[line.as_bytes(), &body].concat());
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{more}\r\n", message.len());
    RawAnswer::Keeps([head.as_bytes(), &message].concat())
}
