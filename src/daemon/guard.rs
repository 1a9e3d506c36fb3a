//! The old program while a new one is on trial.
//!
//! `UPGRADE` leaves the new program beside the old one, as `PROGRAM.new`. Until that counts as good, whatever starts
//! punchd starts the old program: an init script, systemd, `exec`, a boot after a power cut. It runs the
//! new one as its child, and only looks whether that ends. What both know of the trial is in the store
//! ([`Trial`]), which only one of them has open. When the new program counts as good, it takes the place of
//! the old one by one rename.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level::pipe;

use super::stop::Stop;
use super::store_start;
use crate::config::Config;
use crate::driver_socket::socket_path;
use crate::files::md5_of;
use crate::machine;
use crate::processes;
use crate::reactor::{self, Stopping, Woken};
use crate::rpc;
use crate::store::{Store, Trial, TrialState, sync_directory};

/// Says to the new program that it is on trial, by the process id of its guard.
const GUARD: &str = "PUNCHD_GUARD";
/// How often the new program may end by itself.
const MOST_ENDS: u32 = 3;
/// How often it is started in all: with power cuts, and after the network was away.
const MOST_STARTS: u32 = 10;
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(6);

/// Whether this process is a new program that is on trial.
pub(super) fn is_guarded() -> bool {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_pid().to_string());
    parent.is_some() && std::env::var(GUARD).ok() == parent
}

/// How a run of the new program ended.
enum Run {
    /// By itself.
    Ended(ExitStatus),
    /// It ran for all the time that it has.
    TimeOver,
    /// The guard was asked to stop, and stopped it.
    Stopped,
}

/// Runs the new program if one is on trial. Returns the store when this program is to go on in its place;
/// none if it was asked to stop.
///
/// # Errors
/// If the store fails.
pub(super) fn watch(mut store: Store, config: &Config) -> Result<Option<Store>, Stop> {
    let mut lock = None;
    loop {
        let Some(mut trial) = Trial::read(store.options()).map_err(Stop::Store)? else {
            return Ok(Some(store));
        };
        let is_good = match trial.state {
            TrialState::Unconnected | TrialState::Failed => return Ok(Some(store)),
            state => state == TrialState::Good,
        };
        let Candidate { own, new, digest } = match candidate(&store)? {
            Ok(found) => found,
            // This is the new program already.
            Err(_) if is_good && is_installed(&store)? => return Ok(Some(store)),
            Err(why) => {
                give_up(&store, &mut trial, why)?;
                continue;
            }
        };
        if let Some(why) = enough(&trial).filter(|_| !is_good) {
            give_up(&store, &mut trial, why)?;
            continue;
        }
        if lock.is_none() {
            lock = Some(take_lock(config)?);
        }
        if is_good {
            if let Err(error) = replace(&own, &new, &digest) {
                let why = format!("{} cannot be replaced: {error}", own.display());
                give_up(&store, &mut trial, why)?;
                continue;
            }
            drop(store);
            // From here on nothing is left to be done but by the new program.
            let mut program = machine::new_program();
            program.env(machine::INSTALLED, digest);
            return Err(Stop::System(machine::exec_new_program(program)));
        }
        trial.starts += 1;
        trial.state = TrialState::Begun;
        trial.write(store.options()).map_err(Stop::Store)?;
        log::warn!("{} is on trial: start {} of it", new.display(), trial.starts);
        drop(store);
        let run = run(&new, Duration::from_secs(trial.ends.into()), config.trial_time());
        // What it has left running may have the store open.
        processes::kill_leftovers();
        if matches!(run, Ok(Run::Stopped)) {
            return Ok(None);
        }
        store = store_start::open(config, false)?;
        judge(&store, run)?;
    }
}

/// Only one process looks after a trial: the store is nobody's while the new program does not open it.
fn take_lock(config: &Config) -> Result<File, Stop> {
    let path = rpc::trial_lock(&socket_path(&config.run_dir));
    let failed = |why: io::Error| Stop::System(format!("{} cannot be made: {why}", path.display()));
    fs::create_dir_all(&config.run_dir).map_err(failed)?;
    let mut options = OpenOptions::new();
    // Whoever may use the socket may see that it is locked.
    let options = options.write(true).create(true).truncate(false).mode(0o644);
    let lock = options.open(&path).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => {
            let why = "a new program is on trial, and another punchd looks after it: this one is not needed";
            Err(Stop::System(why.into()))
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// Why a trial does not go on, if so.
fn enough(trial: &Trial) -> Option<String> {
    if trial.ends >= MOST_ENDS {
        return Some(format!("{}, the {MOST_ENDS}rd time", trial.why));
    }
    let is_enough = trial.starts >= MOST_STARTS;
    is_enough.then(|| format!("it was started {MOST_STARTS} times and did not stand its trial"))
}

/// The program that is on trial.
struct Candidate {
    /// Where the old one stands.
    own: PathBuf,
    /// Where the new one does.
    new: PathBuf,
    digest: String,
}

/// Finds the new program: the one that was there when its trial began. The inner error says why there is none.
fn candidate(store: &Store) -> Result<Result<Candidate, String>, Stop> {
    let own = match machine::own_path() {
        Ok(own) => own,
        Err(why) => return Ok(Err(why)),
    };
    let new = machine::candidate_of(&own);
    let found = digest(&new).and_then(|digest| Ok((digest, fs::metadata(&new)?.permissions())));
    let unusable = |why: String| Ok(Err(format!("{} {why}", new.display())));
    let (digest, permissions) = match found {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return unusable("is gone".into()),
        Err(error) => return unusable(format!("cannot be read: {error}")),
    };
    match Trial::program(store.options()).map_err(Stop::Store)? {
        Some(known) if known != digest => {
            return unusable("was changed during its trial".into());
        }
        Some(_) => {}
        None => Trial::set_program(store.options(), &digest).map_err(Stop::Store)?,
    }
    if permissions.mode() & 0o111 == 0 {
        return unusable("is not executable".into());
    }
    Ok(Ok(Candidate { own, new, digest }))
}

/// Whether this process is the new program: the old one started it in its place, or it is what was on trial.
fn is_installed(store: &Store) -> Result<bool, Stop> {
    let known = Trial::program(store.options()).map_err(Stop::Store)?;
    Ok(known.is_some_and(|known| {
        std::env::var(machine::INSTALLED).is_ok_and(|it| it == known)
            || digest(Path::new("/proc/self/exe")).is_ok_and(|it| it == known)
    }))
}

/// Writes down how the new program ended.
fn judge(store: &Store, run: io::Result<Run>) -> Result<(), Stop> {
    let Some(mut trial) = Trial::read(store.options()).map_err(Stop::Store)? else {
        return Ok(());
    };
    if trial.state == TrialState::Good {
        return Ok(());
    }
    match run {
        Err(error) => return give_up(store, &mut trial, format!("it cannot be started: {error}")),
        Ok(Run::TimeOver) if trial.state == TrialState::Begun => {
            trial.state = TrialState::Unconnected;
            trial.why =
                "it had no exchange with the server in the time of [upgrade] connect_seconds"
                    .into();
        }
        Ok(Run::TimeOver) => {
            let why = "it reached the server, but then hung: its trial was not over in the time of [upgrade] \
                       connect_seconds";
            return give_up(store, &mut trial, why.into());
        }
        Ok(Run::Ended(status)) => {
            trial.ends += 1;
            trial.why = match (status.code(), status.signal()) {
                (_, Some(signal)) => format!("it was killed by signal {signal}"),
                (code, _) => format!("it ended with status {}", code.unwrap_or_default()),
            };
        }
        Ok(Run::Stopped) => return Ok(()),
    }
    log::error!("the new program on trial: {}", trial.why);
    trial.write(store.options()).map_err(Stop::Store)
}

fn give_up(store: &Store, trial: &mut Trial, why: String) -> Result<(), Stop> {
    log::error!("the new program is given up: {why}");
    (trial.state, trial.why) = (TrialState::Failed, why);
    trial.write(store.options()).map_err(Stop::Store)
}

/// Runs the new program after a pause, until it ends or its time is over.
fn run(new: &Path, pause: Duration, limit: Duration) -> io::Result<Run> {
    let begun = Instant::now();
    loop {
        match reactor::rest(Some(begun + pause)) {
            Ok(Woken::TimedOut) => break,
            Err(error) if Stopping::is_in(&error) => return Ok(Run::Stopped),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    let (ended, writer) = UnixStream::pair()?;
    ended.set_nonblocking(true)?;
    let handler = pipe::register(SIGCHLD, writer)?;
    let run = start(new).and_then(|child| attend(child, &ended, limit));
    signal_hook::low_level::unregister(handler);
    run
}

fn start(new: &Path) -> io::Result<Child> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut command = Command::new(new);
    command.args(arguments).env(GUARD, std::process::id().to_string());
    processes::tag(&mut command);
    // SAFETY: between fork and exec only this one system call is made, which allocates nothing. This
    // process has one thread, so that no lock is held.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    command.spawn()
}

/// Waits until the new program ends. Passes on what is asked of this process.
fn attend(mut child: Child, ended: &UnixStream, limit: Duration) -> io::Result<Run> {
    let until = Instant::now() + limit;
    loop {
        match reactor::wait_unless_woken(ended.as_fd(), PollFlags::IN, until) {
            Ok(Woken::TimedOut) => {
                stop(&mut child)?;
                return Ok(Run::TimeOver);
            }
            Err(error) if Stopping::is_in(&error) => {
                stop(&mut child)?;
                return Ok(Run::Stopped);
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let _ = (&mut &*ended).read(&mut [0; 64]);
        if let Some(status) = child.try_wait()? {
            return Ok(Run::Ended(status));
        }
        if reactor::take_reload() {
            signal(&child, Signal::HUP);
        }
    }
}

/// Asks the new program to stop, and kills it if it does not.
fn stop(child: &mut Child) -> io::Result<()> {
    signal(child, Signal::TERM);
    let until = Instant::now() + STOP;
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn signal(child: &Child, signal: Signal) {
    let _ = kill_process(Pid::from_child(child), signal);
}

/// The MD5 of a file, in hexadecimal.
fn digest(path: &Path) -> io::Result<String> {
    Ok(md5_of(File::open(path)?)?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Puts the new program, which has this digest, in the place of the old one, which keeps its file under another
/// name.
fn replace(own: &Path, new: &Path, new_digest: &str) -> io::Result<()> {
    let (previous, interim) = (machine::previous_of(own), machine::previous_of(new));
    let _ = fs::remove_file(&interim);
    // The same program once more leaves the one before as it is. Where the disk knows no links, there is no
    // earlier program to go back to by hand.
    let keep = || fs::hard_link(own, &interim).and_then(|()| fs::rename(&interim, &previous));
    match digest(own).and_then(|own| if own == new_digest { Ok(()) } else { keep() }) {
        Ok(()) => {}
        Err(error) => log::warn!("{} is not kept: {error}", previous.display()),
    }
    fs::rename(new, own)?;
    // Where both are names of one file, since a power cut came in the middle of a rename, it changes nothing.
    let _ = fs::remove_file(new);
    // It is done. If a power cut undoes it, the old program finds the new one again, and does it again.
    if let Err(error) = sync_directory(own) {
        log::warn!("the directory of {} cannot be synced: {error}", own.display());
    }
    Ok(())
}
