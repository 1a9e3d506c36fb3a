//! The emulator as a test or a program holds it.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::admin;
use crate::command::Repeat;
use crate::connection::{self, Shared};
use crate::deviation::Kind;
use crate::fault::{Fault, Weather};
use crate::file::Offered;
use crate::listener::Listener;
use crate::page;
use crate::received::{AttRow, Received, Reply, Row, Seen, Summary};
use crate::record::oplog::Oplog;
use crate::record::user::User;
use crate::service::Service;
use crate::settings::{DateField, Manners, Settings};
use crate::state::State;
use crate::tls::Acceptor;

/// A strict server for the PUSH protocol, in threads of this process. It ends when it is dropped.
pub struct Emulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// `None` while it plays dead.
    device: Mutex<Option<Listener>>,
    admin: Option<Service>,
    page: Option<Service>,
}

impl Emulator {
    /// Starts to listen.
    pub fn start(settings: Settings) -> io::Result<Emulator> {
        let tls = settings.tls.as_ref().map(Acceptor::new).transpose()?;
        let (listen, admin, page) = (settings.listen, settings.admin, settings.page);
        let shared = Arc::new(Shared::new(State::new(settings), tls));
        let device = listen_for_devices(&shared, listen)?;
        let admin = admin.map(|address| admin::listen(&shared, address)).transpose()?;
        let page = page.map(|address| page::listen(&shared, address)).transpose()?;
        let (address, device) = (device.address()?, Mutex::new(Some(device)));
        Ok(Emulator { shared, address, device, admin, page })
    }

    /// Where terminals connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL. With TLS it names `localhost`, as the certificate of `private_ca` does.
    pub fn url(&self) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// Where the admin interface is, if [`Settings::admin`] asked for one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|service| service.address)
    }

    /// Where the page is, if [`Settings::page`] asked for one.
    pub fn page_address(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(|service| service.address)
    }

    /// Queues a command under the next id, which it gives back.
    pub fn queue(&self, text: &str) -> String {
        self.change(|state| state.queue(text))
    }

    /// Queues a command under an id of the test's choice. The same id with another text is another
    /// command.
    pub fn queue_as(&self, id: &str, text: &str) {
        self.queue_repeated(id, text, Repeat::UntilAnswered);
    }

    /// Queues a command that goes out once, or so many times, answered or not.
    pub fn queue_repeated(&self, id: &str, text: &str, repeat: Repeat) {
        self.change(|state| state.commands.queue_as(id, text, repeat));
    }

    /// The whole body of the next poll's answer. Commands in it count as handed out.
    pub fn next_poll_body(&self, body: impl Into<Vec<u8>>) {
        self.shared.lock().next_polls.push_back(body.into());
    }

    /// The whole body of the next handshake's answer.
    pub fn next_handshake_body(&self, body: impl Into<Vec<u8>>) {
        self.shared.lock().next_handshakes.push_back(body.into());
    }

    /// Arms a fault.
    pub fn fault(&self, fault: Fault) {
        self.change(|state| state.faults.arm(fault));
    }

    /// Lets a share of all requests meet trouble from now on, or no longer.
    pub fn weather(&self, weather: Option<Weather>) {
        self.change(|state| state.faults.weather(weather));
    }

    /// Removes all faults, the random ones too.
    pub fn clear_faults(&self) {
        self.change(|state| state.faults.clear());
    }

    /// Ends the silence of every stalled request: its connection is closed.
    pub fn release_stalled(&self) {
        self.change(|state| state.released += 1);
    }

    /// Sets an option of the handshake.
    pub fn set_option(&self, key: &str, value: &str) {
        self.change(|state| state.set_option(key, value));
    }

    /// Takes an option out of the handshake, `PushProtVer` or `ATTLOGStamp` for instance.
    pub fn remove_option(&self, key: &str) {
        self.change(|state| state.removed_options.push(key.to_owned()));
    }

    /// Lets it know these serial numbers only; none means any.
    pub fn set_serials(&self, serials: &[&str]) {
        let serials = serials.iter().map(|sn| (*sn).to_owned()).collect();
        self.change(|state| state.settings.serials = serials);
    }

    /// Changes how it differs from the document.
    pub fn set_manners(&self, manners: Manners) {
        self.change(|state| state.settings.manners = manners);
    }

    /// Puts its clock ahead, or with a negative number behind.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.change(|state| state.clock_offset = seconds);
    }

    /// Puts its clock ahead by so much more.
    pub fn advance_clock(&self, seconds: i64) {
        self.change(|state| state.clock_offset += seconds);
    }

    /// Stops its clock at a time in unix seconds, or lets it go again.
    pub fn fix_clock(&self, at: Option<u64>) {
        self.change(|state| state.clock_fixed = at);
    }

    /// Sends `Date` once, not at all, or twice.
    pub fn set_date_field(&self, date: DateField) {
        self.change(|state| state.date = date);
    }

    /// Offers a file at `/iclock/<path>` and at `/iclock/file?url=…/<path>`.
    pub fn serve_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let offered = Offered::new(bytes.into());
        self.shared.lock().files.insert(path.trim_start_matches('/').to_owned(), offered);
    }

    /// What a terminal gets that asks for this PIN at its keypad: lines `DATA UPDATE …`. Unknown
    /// PINs get `NONE`.
    pub fn set_remote_user(&self, pin: &str, lines: &str) {
        self.shared.lock().remote_users.insert(pin.to_owned(), lines.to_owned());
    }

    /// What a background verification is answered. It begins as `OK`.
    pub fn set_verify_answer(&self, body: &str) {
        body.clone_into(&mut self.shared.lock().verify_answer);
    }

    /// Permits a kind of deviation from now on.
    pub fn allow(&self, kind: Kind) {
        self.shared.lock().allowed.insert(kind);
    }

    /// Attendance rows.
    pub fn attlog(&self) -> Vec<AttRow> {
        self.shared.lock().received.attlog().to_vec()
    }

    /// Operation rows.
    pub fn oplog(&self) -> Vec<Row<Oplog>> {
        self.shared.lock().received.oplog().to_vec()
    }

    /// Users, the latest row of each PIN.
    pub fn users(&self) -> Vec<Row<User>> {
        self.shared.lock().received.users().values().cloned().collect()
    }

    /// Replies, in the order in which they first came.
    pub fn replies(&self) -> Vec<Reply> {
        self.shared.lock().received.replies().to_vec()
    }

    /// The last 100 000 requests.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.lock().received.requests().cloned().collect()
    }

    /// What was done otherwise than the document says, one sentence each.
    pub fn deviations(&self) -> Vec<String> {
        self.shared.lock().received.deviations().iter().map(ToString::to_string).collect()
    }

    /// The figures of `GET /state`.
    pub fn summary(&self) -> Summary {
        self.shared.lock().summary()
    }

    /// Looks at all that came in.
    pub fn received<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.shared.lock().received)
    }

    /// Waits until what came in is as wanted; says whether it is.
    pub fn wait_until(&self, timeout: Duration, wanted: impl Fn(&Received) -> bool) -> bool {
        wanted(&self.shared.wait(Some(timeout), |state| wanted(&state.received)).received)
    }

    /// Panics with the list if there are deviations.
    ///
    /// # Panics
    /// That is what it is for.
    #[track_caller]
    pub fn assert_strict(&self) {
        let deviations = self.deviations();
        assert!(
            deviations.is_empty(),
            "the terminal did otherwise than the protocol says:\n  {}",
            deviations.join("\n  ")
        );
    }

    /// Forgets all that came in, was queued and armed; keeps what was set or agreed upon.
    pub fn reset(&self) {
        self.change(State::reset);
    }

    /// Simulates a server that is down: closes all connections and accepts none. It keeps what it received.
    pub fn pause(&self) {
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        drop(device.take());
        self.shared.hang_up();
    }

    /// Comes back on the same port.
    pub fn resume(&self) -> io::Result<()> {
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        if device.is_none() {
            self.change(|state| state.down = false);
            *device = Some(listen_for_devices(&self.shared, self.address)?);
        }
        Ok(())
    }

    /// Ends it, as dropping it does.
    pub fn stop(self) {}

    fn change<T>(&self, how: impl FnOnce(&mut State) -> T) -> T {
        let result = how(&mut self.shared.lock());
        self.shared.announce();
        result
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.admin.take();
        self.page.take();
        self.pause();
    }
}

impl Shared {
    /// Breaks all connections and waits for their threads.
    fn hang_up(&self) {
        let mut state = self.lock();
        state.down = true;
        for socket in state.open.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(state);
        self.announce();
        drop(self.wait(Some(Duration::from_secs(5)), |state| state.open.is_empty()));
    }
}

fn listen_for_devices(shared: &Arc<Shared>, address: SocketAddr) -> io::Result<Listener> {
    let shared = Arc::clone(shared);
    Listener::open(address, move |socket| connection::accept(&shared, socket))
}
