//! One connection: requests are read, served and answered one after the other, in their own thread.

use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::act::Act;
use crate::answer::{self, After, Answer, Delivery};
use crate::exchange::Exchange;
use crate::http::{Broken, Head, Inbound};
use crate::state::{Peer, State};
use crate::tls::Acceptor;
use crate::wire::Wire;

/// The state, and the condition that is signalled when it changes.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    pub tls: Option<Acceptor>,
}

impl Shared {
    pub(crate) fn new(state: State, tls: Option<Acceptor>) -> Shared {
        Shared { state: Mutex::new(state), changed: Condvar::new(), tls }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that something changed.
    pub(crate) fn announce(&self) {
        self.lock().revision += 1;
        self.changed.notify_all();
    }

    /// Waits until `done`, at most `timeout`; returns the state in both cases.
    pub(crate) fn wait(
        &self,
        timeout: Option<Duration>,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        while !done(&state) {
            let left = end.map_or(Duration::from_secs(3600), |end| {
                end.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                break;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

/// Registers a connection and serves it in a thread of its own.
pub(crate) fn accept(shared: &Arc<Shared>, socket: TcpStream) {
    let mut state = shared.lock();
    state.connections += 1;
    let number = state.connections;
    let Ok(copy) = socket.try_clone() else { return };
    state.open.insert(number, copy);
    drop(state);
    let ours = Arc::clone(shared);
    let spawned = thread::Builder::new().name(format!("connection {number}")).spawn(move || {
        serve(&ours, socket, number);
        ours.lock().open.remove(&number);
        ours.changed.notify_all();
    });
    if spawned.is_err() {
        shared.lock().open.remove(&number);
    }
}

fn serve(shared: &Shared, socket: TcpStream, number: u64) {
    let peer = Peer { connection: number, port: socket.peer_addr().map_or(0, |peer| peer.port()) };
    let (act, once, timeout) = {
        let mut state = shared.lock();
        (state.faults.at_accept(), state.settings.manners.read_once, state.settings.timeout)
    };
    let Ok(wire) = Wire::new(socket, shared.tls.as_ref(), timeout) else { return };
    if let Some(act) = act {
        shared.lock().open.remove(&number);
        return end(wire, unread(&act));
    }
    if once {
        drop(shared.wait(Some(Duration::from_millis(500)), |state| state.down));
    }
    let mut inbound = Inbound::new(wire, once);
    let after = loop {
        match exchange(shared, &mut inbound, peer) {
            After::Open if !once => {}
            after => break after,
        }
    };
    // The copy kept for `pause` would hold the connection open.
    shared.lock().open.remove(&number);
    end(inbound.wire, after);
}

fn end(wire: Wire, after: After) {
    match after {
        After::Reset => wire.reset(),
        After::Open | After::Close => wire.close(),
        After::Dropped => {}
    }
}

/// The end of a connection whose request is not read.
fn unread(act: &Act) -> After {
    if *act == Act::ResetUnread { After::Reset } else { After::Dropped }
}

/// One request and its answer.
fn exchange(shared: &Shared, inbound: &mut Inbound, peer: Peer) -> After {
    let head = match inbound.head() {
        Ok(head) => head,
        Err(broken) => return refuse(shared, inbound, &Head::default(), broken, peer),
    };
    let target = head.target();
    let kind = Exchange::of(&head.method, &target.path, &target.query);
    let grace = {
        let mut state = shared.lock();
        if let Some(act) = state.faults.at_head(&kind.to_string()) {
            state.record(&head, &kind, 0, 0, peer);
            return unread(&act);
        }
        state.settings.body_grace
    };
    let request = match inbound.body(head.clone(), grace) {
        Ok(request) => request,
        Err(broken) => return refuse(shared, inbound, &head, broken, peer),
    };
    let delivery = shared.lock().receive(&request, peer);
    shared.announce();
    deliver(shared, inbound, &delivery)
}

fn deliver(shared: &Shared, inbound: &mut Inbound, delivery: &Delivery) -> After {
    let pause = |ms: Option<u64>| {
        let over = |state: &State| state.down || state.released != delivery.released;
        drop(shared.wait(ms.map(Duration::from_millis), over));
    };
    match delivery.act {
        Some(Act::Drop | Act::LoseAck { reset: false }) => return After::Close,
        Some(Act::ResetUnread | Act::ResetRead | Act::LoseAck { reset: true }) => {
            return After::Reset;
        }
        Some(Act::Stall { ms }) => {
            pause(ms);
            return After::Close;
        }
        Some(Act::Delay { ms }) => pause(Some(ms)),
        _ => {}
    }
    answer::send(&mut inbound.wire, delivery).unwrap_or(After::Close)
}

/// Answers what is not a request, or not a complete one.
fn refuse(
    shared: &Shared,
    inbound: &mut Inbound,
    head: &Head,
    broken: Broken,
    peer: Peer,
) -> After {
    let Broken::Flawed(flaw) = broken else { return After::Close };
    let mut state = shared.lock();
    if state.down {
        return After::Dropped;
    }
    state.record(head, &Exchange::Unknown, 0, 400, peer);
    state.deviate(head, inbound.unread(), vec![flaw]);
    let answer = Answer::of(400, "Bad Request");
    let delivery = Delivery::last(answer, state.dates());
    drop(state);
    shared.announce();
    deliver(shared, inbound, &delivery)
}
