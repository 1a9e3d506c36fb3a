//! One program from its start until nothing of it is left.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, kill_process_group, waitid,
    waitpid,
};

use super::{End, Order, Outcome, orphans};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most bytes that are read in one turn: as much as a pipe holds if nobody changes it.
const TIME_SLICE: usize = 64 << 10;
/// Most bytes that a pipe holds, whoever changes it.
const A_PIPE: usize = 1 << 20;
/// How long what a program leaves behind is hunted. A process that the kernel does not let
/// die (it waits for a broken disk) must not keep the outcome for ever.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same when punchd itself ends.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// First and longest pause between two looks at what is left.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// A program that was started.
pub(super) struct Running {
    key: i64,
    /// Not waited for until the end: as long as it is at least a zombie, nobody else can
    /// have its number, nor its group's.
    main: Pid,
    pipe: Option<PipeReader>,
    pub(super) output: Vec<u8>,
    most_output: usize,
    stage: Stage,
}

enum Stage {
    /// It may go on until then (for ever, if the clock knows no such moment).
    Runs { until: Option<Instant> },
    /// How it ended is known; what is left of it is being killed.
    Ends { end: End, next: Instant, pause: Duration, give_up: Instant },
}

impl Running {
    /// Starts `command` as `order` says.
    pub(super) fn start(key: i64, mut command: Command, order: &Order) -> io::Result<Self> {
        let (pipe, output) = io::pipe()?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        // No descriptor but these three is passed on: all that punchd opens close on exec.
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        command.env_clear().env("PATH", PATH);
        command.envs(order.env.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").process_group(0);
        let main = orphans::spawn(command)?;
        Ok(Self {
            key,
            main,
            pipe: Some(pipe),
            output: Vec::new(),
            most_output: order.most_output,
            stage: Stage::Runs { until: Instant::now().checked_add(order.time) },
        })
    }

    pub(super) fn key(&self) -> i64 {
        self.key
    }

    /// What it writes into, as long as that is to be read.
    pub(super) fn pipe(&self) -> Option<&PipeReader> {
        self.pipe.as_ref()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Runs { until } => until,
            Stage::Ends { next, .. } => Some(next),
        }
    }

    /// Looks after it. The outcome, if nothing of it is left.
    pub(super) fn turn(&mut self, now: Instant) -> Option<Outcome> {
        if let Stage::Runs { until } = self.stage
            && let Some(end) = self.end(until, now)
        {
            self.begin_end(end, now, TIMEOUT);
        }
        match self.stage {
            Stage::Ends { end, next, .. } if next <= now => self.clear_away(end, now),
            _ => None,
        }
    }

    /// Ends it, whatever it does.
    pub(super) fn kill(&mut self) {
        let end = match self.stage {
            Stage::Ends { end, .. } => end,
            Stage::Runs { .. } => End::Killed(Signal::KILL.as_raw()),
        };
        self.begin_end(end, Instant::now(), SHORT_PATIENCE);
    }

    /// How it ended, if it did. That it exited is asked before its output is read, so that
    /// all it wrote is there; others may hold the pipe, and are not waited for.
    fn end(&mut self, until: Option<Instant>, now: Instant) -> Option<End> {
        let exited = self.exited();
        let fits = self.read(if exited.is_some() { A_PIPE } else { TIME_SLICE });
        if !fits {
            return Some(End::TooMuch);
        }
        exited.or_else(|| until.is_some_and(|until| until <= now).then_some(End::TimedOut))
    }

    /// How the program itself ended, without waiting for it.
    fn exited(&self) -> Option<End> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.main), options) {
            Ok(status) => status.map(|status| match status.terminating_signal() {
                Some(signal) => End::Killed(signal),
                None => End::Exited(status.exit_status().unwrap_or(-1)),
            }),
            Err(rustix::io::Errno::INTR) => None,
            // It is no child any more, which cannot be; but then it does not run either.
            Err(_) => Some(End::Exited(-1)),
        }
    }

    /// Reads at most `most` bytes of what is there. Whether all output so far is within its
    /// limit.
    fn read(&mut self, most: usize) -> bool {
        let mut chunk = [0; 8 << 10];
        let mut left = most;
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk[..left.min(8 << 10)]) {
                // `most` is reached, or no writer is left: it would stay ready for ever.
                Ok(0) if left == 0 => break,
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    left -= count;
                    let room = self.most_output - self.output.len();
                    self.output.extend_from_slice(&chunk[..count.min(room)]);
                    if count > room {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.pipe = None,
            }
        }
        true
    }

    fn begin_end(&mut self, end: End, now: Instant, patience: Duration) {
        self.pipe = None;
        orphans::outlaw(self.main);
        self.stage = Stage::Ends { end, next: now, pause: PAUSES.0, give_up: now + patience };
    }

    /// Kills what is left of it, and looks whether anything is.
    fn clear_away(&mut self, end: End, now: Instant) -> Option<Outcome> {
        // The program itself may have gone into another group.
        let _ = kill_process_group(self.main, Signal::KILL);
        let _ = kill_process(self.main, Signal::KILL);
        let hunted = orphans::hunt();
        let left = hunted.left + usize::from(self.exited().is_none());
        let Stage::Ends { next, pause, give_up, .. } = &mut self.stage else { return None };
        // On a busy system there may be a doubt each time.
        let is_sure = hunted.is_sure || *pause == PAUSES.1;
        if (left > 0 || !is_sure) && now < *give_up {
            (*next, *pause) = (now + *pause, (*pause * 2).min(PAUSES.1));
            return None;
        }
        if left > 0 {
            log::warn!("{left} processes of a program that has ended cannot be killed");
        }
        orphans::forget(self.main);
        let _ = waitpid(Some(self.main), WaitOptions::NOHANG);
        Some(Outcome { end, output: std::mem::take(&mut self.output) })
    }
}
