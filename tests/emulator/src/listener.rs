//! A listening socket with its thread, and the connections it accepts.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// A listening socket. Closing it ends its thread.
pub(crate) struct Listener {
    socket: Arc<TcpListener>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens at `address` and hands every connection to `accepted`, which must not block.
    pub(crate) fn open(
        address: SocketAddr,
        accepted: impl Fn(TcpStream) + Send + 'static,
    ) -> io::Result<Listener> {
        let socket = Arc::new(TcpListener::bind(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen at {address}: {error}"))
        })?);
        let closing = Arc::new(AtomicBool::new(false));
        let (ours, asked) = (Arc::clone(&socket), Arc::clone(&closing));
        let thread = thread::Builder::new().name("accept".into()).spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                match ours.accept() {
                    Ok((connection, _)) => accepted(connection),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        })?;
        Ok(Listener { socket, closing, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Drop for Listener {
    /// Stops listening. When this returns, new connections are refused and no further connection is handed
    /// on.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
