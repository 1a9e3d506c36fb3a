//! What carries requests to the server, sealed where keys were exchanged.

use std::time::Duration;

use super::Mode;
use super::agreement::{Agreement, FACTORS, NotAgreed};
use super::rsa_rc4::RsaRc4 as Suite;
use super::session::Session;
use crate::protocol::ack;
use crate::protocol::query::Target;
use crate::uplink::{Cause, Exchange, Failure, Request, Response, Seal, Uplink};

/// How long each request of the exchange may take, up to the last byte of its answer: all else waits for it.
const LONGEST: Duration = Duration::from_secs(60);

/// What carries requests to the server.
pub struct Channel {
    uplink: Box<dyn Uplink>,
    mode: Mode,
    agreement: Agreement<Suite>,
    session: Option<Session<Suite>>,
    /// Exchanges in a row that failed.
    failures: u32,
}

impl Channel {
    /// Until keys were exchanged everything goes in plain, or nothing goes.
    pub fn new(uplink: Box<dyn Uplink>, mode: Mode) -> Self {
        Self { uplink, mode, agreement: Agreement::default(), session: None, failures: 0 }
    }

    /// What the owner wants.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether requests are sealed.
    pub fn is_sealed(&self) -> bool {
        self.session.is_some()
    }

    /// How often in a row the connection failed, or the server was not able to answer, when keys were to be
    /// exchanged.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// From now on nothing is sealed.
    pub fn forget_keys(&mut self) {
        self.session = None;
    }

    /// Exchanges keys with the server: what follows is sealed. `target`: that of an exchange of this type.
    ///
    /// # Errors
    /// If there are no new keys. The earlier ones are forgotten, too.
    pub fn agree(&mut self, target: &dyn Fn(&str) -> Target) -> Result<(), NotAgreed> {
        self.session = None;
        let Self { uplink, agreement, .. } = self;
        let mut is_in_doubt = false;
        let mut post = |kind: &str, body: &[u8]| {
            let target = target(kind);
            let (within, seal) = (Some(LONGEST), Seal::OfExchange);
            let request = Request { within, seal, ..Request::post(target.as_str(), body) };
            let mut was_repeated = false;
            let done = match uplink.exchange(&request) {
                // There are servers that close every second connection.
                Err(failure) if failure.cause() == Some(Cause::Closed) => {
                    was_repeated = true;
                    uplink.exchange(&request)
                }
                done => done,
            };
            if let Ok(response) = &done {
                // The server may have taken the first factors, and refuse the second for that.
                let went_twice = kind == FACTORS && (was_repeated || response.was_repeated);
                let may_be_cut = !response.framed && ack::is_success(response.status);
                is_in_doubt = went_twice || may_be_cut;
            }
            done
        };
        let agreed = match agreement.agree(&mut post) {
            Err(NotAgreed::NoExchange(why)) if is_in_doubt => {
                Err(NotAgreed::Failed(Failure::new(why)))
            }
            agreed => agreed,
        };
        let has_failed = matches!(agreed, Err(NotAgreed::Failed(_)));
        self.failures = if has_failed { self.failures.saturating_add(1) } else { 0 };
        self.session = Some(Session::new(agreed?));
        Ok(())
    }

    /// What carries a request, and the session that seals it, if one does.
    fn way_of(
        &mut self,
        request: &Request<'_>,
    ) -> Result<(&mut dyn Uplink, Option<&mut Session<Suite>>), Failure> {
        // Another server has no keys.
        let is_elsewhere = !request.target.starts_with('/');
        let is_handshake = request.seal == Seal::Never;
        let session = self.session.as_mut().filter(|_| !is_elsewhere && !is_handshake);
        let is_safe = session.is_some() || is_handshake || request.target.starts_with("https:");
        if self.mode == Mode::Required && !is_safe {
            let what = match is_elsewhere {
                true => "downloads from other servers by https:// only",
                false => "no request before keys were exchanged",
            };
            let why = format!("[encryption] exchange = \"required\" allows {what}");
            return Err(Failure::new(why));
        }
        Ok((&mut *self.uplink, session))
    }
}

impl Uplink for Channel {
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        match self.way_of(request)? {
            (uplink, None) => uplink.exchange(request),
            (uplink, Some(session)) => session.exchange(uplink, request),
        }
    }

    fn exchange_or_hold(&mut self, request: &Request<'_>) -> Result<Exchange, Failure> {
        match self.way_of(request)? {
            (uplink, None) => uplink.exchange_or_hold(request),
            (uplink, Some(session)) => session.exchange_or_hold(uplink, request),
        }
    }
}
