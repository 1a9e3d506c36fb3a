//! Makes connections: name look-up, TCP, a proxy, TLS.

use std::time::{Duration, Instant};

use ureq_proto::http::{Method, Request, StatusCode};

use super::connection::{Connection, Place};
use super::exchange::ReadLimit;
use super::link_error::LinkError;
use super::pending::{Message, Pending, Times};
use super::resolver::ThreadedResolver;
use super::settings::{Proxy, Settings};
use super::tcp::{AddressMemory, connect_to_one};
#[cfg(feature = "tls")]
use super::tls::{LazyConfig, TlsSession};

/// Makes connections.
pub(super) struct Connector {
    resolver: ThreadedResolver,
    addresses: AddressMemory,
    /// Longest time for all of it but the look-up.
    time: Duration,
    pub(super) proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    tls: LazyConfig,
}

impl Connector {
    pub(super) fn new(settings: &Settings, #[cfg(feature = "tls")] tls: LazyConfig) -> Self {
        Self {
            resolver: ThreadedResolver::default(),
            addresses: AddressMemory::default(),
            time: settings.connect,
            proxy: settings.proxy.clone(),
            #[cfg(feature = "tls")]
            tls,
        }
    }

    /// A new connection to a place, at the latest by `end`.
    pub(super) fn connect(
        &mut self,
        place: &Place,
        end: Option<Instant>,
    ) -> Result<Connection, LinkError> {
        let within = |deadline: Instant| end.map_or(deadline, |end| end.min(deadline));
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (place.host.as_str(), place.port),
        };
        let addresses = self.resolver.resolve(host, port, end)?;
        let deadline = within(Instant::now() + self.time);
        let (socket, address) = connect_to_one(addresses, deadline, &mut self.addresses)?;
        let mut connection = Connection::new(place.clone(), address, socket);
        if place.https {
            if let Some(proxy) = &self.proxy {
                connection = tunnel(connection, proxy, deadline)?;
            }
            self.encrypt(&mut connection, deadline)?;
        }
        Ok(connection)
    }

    /// A request on a connection to this address got no answer.
    pub(super) fn got_no_answer(&mut self, address: std::net::SocketAddr) {
        self.addresses.is_silent(address);
    }

    #[cfg(feature = "tls")]
    fn encrypt(&self, connection: &mut Connection, deadline: Instant) -> Result<(), LinkError> {
        let config = self.tls.get().map_err(LinkError::TlsSettings)?;
        let session = TlsSession::new(config, &connection.place.host)?;
        connection.encrypt(session, deadline)
    }

    #[cfg(not(feature = "tls"))]
    fn encrypt(&self, _: &mut Connection, _: Instant) -> Result<(), LinkError> {
        Err(LinkError::NoTls)
    }
}

/// Asks the proxy for a way through to the place (RFC 9110, 9.3.6).
fn tunnel(
    connection: Connection,
    proxy: &Proxy,
    deadline: Instant,
) -> Result<Connection, LinkError> {
    let target = format!("{}:{}", connection.place.host, connection.place.port);
    let mut head = Request::builder().method(Method::CONNECT).uri(&target);
    if let Some(authorization) = &proxy.authorization {
        head = head.header("Proxy-Authorization", authorization);
    }
    let head = head.body(()).map_err(|error| LinkError::Request(error.to_string()))?;
    let message = Message { head, body: None, absolute: None };
    let left = deadline.saturating_duration_since(Instant::now());
    let times = Times { answer: left, body: left, head: left, end: Some(deadline) };
    let failed =
        |why: String| LinkError::Proxy(format!("the proxy {}:{} {why}", proxy.host, proxy.port));
    let answer = Pending::send(connection, &message, &times).and_then(|mut pending| {
        let response = pending.head(&ReadLimit::default())?;
        Ok((pending, response))
    });
    let (pending, response) = match answer {
        Ok((pending, Some(response))) => (pending, response),
        Ok((_, None)) | Err(LinkError::TimedOut(_)) => {
            return Err(failed(format!(
                "accepted the connection and did not connect to {target} in time: does it reach that \
                 address?"
            )));
        }
        Err(LinkError::Stopping) => return Err(LinkError::Stopping),
        Err(LinkError::Http(_)) => {
            return Err(failed("does not answer in HTTP: is `url` in [proxy] correct?".into()));
        }
        Err(error) => return Err(failed(format!("failed: {error}"))),
    };
    match response.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(failed(match proxy.authorization {
                None => "wants a user and a password (status 407): put them into `url` in [proxy] \
                         (http://user:password@proxy:3128)"
                    .into(),
                Some(_) => "does not accept user and password of `url` in [proxy] (status 407): \
                            correct them"
                    .into(),
            }));
        }
        status => {
            let verb = if status.is_server_error() { "reach" } else { "allow" };
            return Err(failed(format!(
                "does not connect to {target} (status {status}): does it {verb} that address?"
            )));
        }
    }
    if !pending.connection.input().is_empty() {
        return Err(failed(
            "answers CONNECT with a body: is `url` in [proxy] the address of a proxy, and does the \
             network want a login?"
                .into(),
        ));
    }
    Ok(pending.connection)
}
