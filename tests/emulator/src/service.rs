//! What listens beside the terminals' place: the admin interface and the page. One request a
//! connection, each on a thread of its own.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::answer::{self, Answer, Delivery};
use crate::connection::Shared;
use crate::http::{Head, Inbound, Request};
use crate::listener::Listener;
use crate::wire::Wire;

/// How long a request may take to come in.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a request and answers it; `None` if it did not come.
pub(crate) type Respond = fn(&Shared, &mut Inbound) -> Option<Answer>;

/// A listener, and where it is.
pub(crate) struct Service {
    pub address: SocketAddr,
    /// Held until the end.
    _listener: Listener,
}

impl Service {
    /// Listens at `address`; its threads have this name.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        address: SocketAddr,
        name: &'static str,
        respond: Respond,
    ) -> io::Result<Service> {
        let shared = Arc::clone(shared);
        let listener = Listener::open(address, move |socket| {
            let shared = Arc::clone(&shared);
            let serve = move || serve(&shared, socket, respond);
            let _ = thread::Builder::new().name(name.into()).spawn(serve);
        })?;
        Ok(Service { address: listener.address()?, _listener: listener })
    }
}

fn serve(shared: &Shared, socket: TcpStream, respond: Respond) {
    let Ok(wire) = Wire::new(socket, None, TIMEOUT) else { return };
    let mut inbound = Inbound::new(wire, false);
    if let Some(answer) = respond(shared, &mut inbound) {
        let _ = answer::send(&mut inbound.wire, &Delivery::last(answer, Vec::new()));
    }
    inbound.wire.close();
}

/// Reads a request, and answers it unless `check` refuses its head.
pub(crate) fn respond(
    shared: &Shared,
    inbound: &mut Inbound,
    check: fn(&Head) -> Result<(), String>,
    answer: fn(&Shared, &Request) -> Answer,
) -> Option<Answer> {
    let head = inbound.head().ok()?;
    if let Err(why) = check(&head) {
        return Some(refusal(403, &why));
    }
    let request = inbound.body(head, TIMEOUT).ok()?;
    Some(answer(shared, &request))
}

/// The answer to a request that is refused, as the other answers in JSON.
pub(crate) fn refusal(status: u16, why: &str) -> Answer {
    let text = format!("{}\n", json!({ "error": why }));
    Answer::of(status, text).with("Content-Type", "application/json")
}

/// Whether this is an address or `localhost`, with or without a port.
pub(crate) fn is_here(host: &str) -> bool {
    let is_ipv6 = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok() || is_ipv6(name)
}
