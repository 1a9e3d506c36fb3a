//! The exchange of keys and of factors (§7, §8), and the proof that the server opened ours.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::helper::Helper;
use super::message::{NotOpened, Opened};
use super::suite::{CipherSuite, Unusable};
use crate::reactor::Stopping;
use crate::uplink::{Failure, Response};

/// How long the making of keys may take.
const MAKING: Duration = Duration::from_secs(300);
/// How long a decryption may take.
const UNWRAPPING: Duration = Duration::from_secs(60);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 4 << 10;
/// The type of the POST of the factors.
pub(super) const FACTORS: &str = "factors";
/// It counts as the request of this number.
const OF_FACTORS: u64 = 0;
/// What its answer says, sealed.
const CONFIRMATION: &[u8] = b"OK";

/// Why there are no keys.
#[derive(Debug)]
pub enum NotAgreed {
    /// The connection failed, or the server was not able to answer: nothing shows what it has.
    Failed(Failure),
    /// The server has no exchange, or another one; the message says how it shows.
    NoExchange(String),
}

impl From<Failure> for NotAgreed {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for NotAgreed {
    fn from(error: io::Error) -> Self {
        Self::Failed(match Stopping::is_in(&error) {
            true => Failure::Stopping,
            false => Failure::new(error.to_string()),
        })
    }
}

impl From<Unusable> for NotAgreed {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Random => Self::Failed(Failure::new(why.to_string())),
            _ => Self::NoExchange(why.to_string()),
        }
    }
}

impl fmt::Display for NotAgreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::NoExchange(why) => f.write_str(why),
        }
    }
}

/// Makes keys ahead, and agrees with the server on a secret.
pub(super) struct Agreement<S: CipherSuite> {
    ahead: Option<Ahead<S>>,
}

/// The keys for the next exchange.
enum Ahead<S: CipherSuite> {
    Making(Helper<Result<S::KeyPair, Unusable>>),
    /// The last server had no key of its own: it has no use for them.
    Unused(Box<S::KeyPair>),
}

impl<S: CipherSuite> Default for Agreement<S> {
    fn default() -> Self {
        Self { ahead: None }
    }
}

impl<S: CipherSuite> Agreement<S> {
    /// Exchanges keys and factors.
    pub(super) fn agree(&mut self, post: Post<'_>) -> Result<S::Secret, NotAgreed> {
        let keys = self.keys()?;
        let theirs = match server_key(S::public_key(&keys), post) {
            Ok(theirs) => theirs,
            Err(error) => {
                self.ahead = Some(Ahead::Unused(keys));
                return Err(error);
            }
        };
        let secret = exchange_factors::<S>(keys, &theirs, post);
        self.ahead = Helper::begin(S::make_key_pair).ok().map(Ahead::Making);
        secret
    }

    /// New keys. Waits for them, if they are not made yet.
    fn keys(&mut self) -> Result<Box<S::KeyPair>, NotAgreed> {
        let making = match self.ahead.take() {
            Some(Ahead::Unused(keys)) => return Ok(keys),
            Some(Ahead::Making(making)) => making,
            None => Helper::begin(S::make_key_pair)?,
        };
        match making.wait(Instant::now() + MAKING)? {
            Ok(keys) => Ok(Box::new(keys?)),
            Err(making) => {
                self.ahead = Some(Ahead::Making(making));
                Err(Failure::new("the keys of the terminal are not made yet").into())
            }
        }
    }
}

/// Posts a body to `/iclock/exchange` with this `type`.
type Post<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Result<Response, Failure>;

/// The key of the server, for this one of the terminal.
fn server_key(ours: &str, post: Post<'_>) -> Result<String, NotAgreed> {
    let answer = answer_to("publickey", post, &format!("PublicKey={ours}"))?;
    let theirs = value_of(&answer, "PublicKey")?.to_owned();
    if theirs == ours { Err(Unusable::OwnKey.into()) } else { Ok(theirs) }
}

fn exchange_factors<S: CipherSuite>(
    keys: Box<S::KeyPair>,
    theirs: &str,
    post: Post<'_>,
) -> Result<S::Secret, NotAgreed> {
    let ours = S::public_key(&keys).to_owned();
    let (of_terminal, wrapped) = S::wrap(theirs)?;
    let answer = answer_to(FACTORS, post, &format!("Factors={wrapped}"))?;
    let wrapped = value_of(&answer, "Factors")?.to_owned();
    let unwrapping = Helper::begin(move || S::unwrap(&keys, &wrapped))?;
    let Ok(of_server) = unwrapping.wait(Instant::now() + UNWRAPPING)? else {
        return Err(Failure::new("the decryption of the server's factor takes too long").into());
    };
    let secret = S::derive([&ours, theirs], [&of_terminal, &of_server?])?;
    let confirmation = STANDARD.decode(value_of(&answer, "Confirm")?);
    let confirmation = confirmation.unwrap_or_default();
    is_confirmed::<S>(&secret, confirmation).map_err(|error| {
        let why = NotOpened::in_error(&error).map_or_else(String::new, |why| format!(": {why}"));
        NotAgreed::NoExchange(format!("it does not prove that it knows the factors{why}"))
    })?;
    Ok(secret)
}

/// Fails unless the server sealed what it has to.
fn is_confirmed<S: CipherSuite>(secret: &S::Secret, sealed: Vec<u8>) -> io::Result<()> {
    let mut opened = Opened::<S>::new(secret, OF_FACTORS, Box::new(Cursor::new(sealed)));
    let is_taken = opened.first_line()? == "200 2";
    let mut body = Vec::new();
    opened.read_to_end(&mut body)?;
    if is_taken && body == CONFIRMATION { Ok(()) } else { Err(NotOpened::Malformed.into()) }
}

/// The answer to a POST.
fn answer_to(kind: &str, post: Post<'_>, body: &str) -> Result<String, NotAgreed> {
    let mut response = post(kind, body.as_bytes())?;
    let answer = response.read_up_to(ANSWER_BYTES)?;
    let status = response.status;
    match status {
        200..300 => Ok(String::from_utf8_lossy(&answer).into_owned()),
        // Somebody on the way, or a server that has no time.
        407 | 408 | 425 | 429 | 500.. => {
            Err(Failure::new(response.answer(&answer).refusal()).into())
        }
        _ => Err(NotAgreed::NoExchange(format!(
            "it answers /iclock/exchange?type={kind} with status {status}"
        ))),
    }
}

/// The value of a line `name=value`.
pub(super) fn value_of<'a>(answer: &'a str, name: &str) -> Result<&'a str, NotAgreed> {
    let lines = answer.lines().map(str::trim);
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let missing = || NotAgreed::NoExchange(format!("its answer to the exchange has no {name}"));
    values.next().ok_or_else(missing)
}
