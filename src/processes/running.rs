//! One program, from its start until all its processes are gone.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, kill_process_group, waitid,
    waitpid,
};

use super::orphans;
use super::program::{End, Order, Outcome, PATH};
use crate::backoff::DoublingPause;

/// Most bytes that are read in one check: what a pipe holds by default.
const TIME_SLICE: usize = 64 << 10;
/// Most bytes that a pipe can hold.
const LARGEST_PIPE: usize = 1 << 20;
/// How long the processes that a program left are killed again and again. A process that cannot
/// die (it waits for a broken disk) must not keep the outcome for ever.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when punchd itself ends.
const SHORT_KILL_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two searches for processes that are left.
const PAUSE: DoublingPause =
    DoublingPause::new(Duration::from_millis(2), Duration::from_millis(100));

/// A program that was started.
pub(super) struct Running {
    key: i64,
    /// It is reaped last: as long as it is at least a zombie, no other process can get its
    /// number, and no other group the number of its group.
    main: Pid,
    pipe: Option<PipeReader>,
    pub(super) output: Vec<u8>,
    most_output: usize,
    stage: Stage,
}

enum Stage {
    /// It may run until then; without limit if the clock cannot express that time.
    Runs { until: Option<Instant> },
    /// It has ended; its other processes are being killed.
    Ends { end: End, next: Instant, pause: DoublingPause, give_up: Instant },
}

impl Running {
    /// Starts `command` with the environment and the limits of `order`.
    pub(super) fn start(key: i64, mut command: Command, order: &Order) -> io::Result<Self> {
        let (pipe, output) = io::pipe()?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        // Only these three descriptors are inherited: all others are close-on-exec.
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

    /// Its output, as long as it is to be read.
    pub(super) fn pipe(&self) -> Option<&PipeReader> {
        self.pipe.as_ref()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Runs { until } => until,
            Stage::Ends { next, .. } => Some(next),
        }
    }

    /// Returns the outcome as soon as it has ended and all its processes are gone.
    pub(super) fn check(&mut self, now: Instant) -> Option<Outcome> {
        if let Stage::Runs { until } = self.stage
            && let Some(end) = self.end(until, now)
        {
            self.begin_end(end, now, KILL_TIMEOUT);
        }
        match self.stage {
            Stage::Ends { end, next, .. } if next <= now => self.kill_rest(end, now),
            _ => None,
        }
    }

    pub(super) fn kill(&mut self) {
        let end = match self.stage {
            Stage::Ends { end, .. } => end,
            Stage::Runs { .. } => End::Killed(Signal::KILL.as_raw()),
        };
        self.begin_end(end, Instant::now(), SHORT_KILL_TIMEOUT);
    }

    /// How it ended, if it did. First is asked whether it exited, then its output is read, so
    /// that the output is whole. Other processes may still hold the pipe; they are not waited
    /// for.
    fn end(&mut self, until: Option<Instant>, now: Instant) -> Option<End> {
        let exited = self.exited();
        let fits = self.read(if exited.is_some() { LARGEST_PIPE } else { TIME_SLICE });
        if !fits {
            return Some(End::TooMuch);
        }
        exited.or_else(|| until.is_some_and(|until| until <= now).then_some(End::TimedOut))
    }

    /// How the program itself ended, without reaping it.
    fn exited(&self) -> Option<End> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match retry_on_intr(|| waitid(WaitId::Pid(self.main), options)) {
            Ok(status) => status.map(|status| match status.terminating_signal() {
                Some(signal) => End::Killed(signal),
                None => End::Exited(status.exit_status().unwrap_or(-1)),
            }),
            // It is no child any more. That should not happen, but then it does not run.
            Err(_) => Some(End::Exited(-1)),
        }
    }

    /// Reads at most `most` bytes of the output that is there. Returns whether the output is
    /// within its limit.
    fn read(&mut self, most: usize) -> bool {
        let mut chunk = [0; 8 << 10];
        let mut left = most;
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk[..left.min(8 << 10)]) {
                // The end: no writer is left. The pipe would be readable for ever.
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

    fn begin_end(&mut self, end: End, now: Instant, timeout: Duration) {
        self.pipe = None;
        orphans::mark_exited(self.main);
        self.stage = Stage::Ends { end, next: now, pause: PAUSE, give_up: now + timeout };
    }

    /// Kills its processes that are left. Returns the outcome if there are none.
    fn kill_rest(&mut self, end: End, now: Instant) -> Option<Outcome> {
        // The program itself may have changed its group.
        let _ = kill_process_group(self.main, Signal::KILL);
        let _ = kill_process(self.main, Signal::KILL);
        let search = orphans::kill_all();
        let left = search.left + usize::from(self.exited().is_none());
        let Stage::Ends { next, pause, give_up, .. } = &mut self.stage else { return None };
        // On a busy system no search may ever be certain.
        let is_certain = search.is_certain || pause.is_longest();
        if (left > 0 || !is_certain) && now < *give_up {
            *next = now + pause.advance();
            return None;
        }
        if left > 0 {
            log::warn!(
                "a program has ended, but {left} of its processes cannot be killed; they stay"
            );
        }
        orphans::remove(self.main);
        let _ = waitpid(Some(self.main), WaitOptions::NOHANG);
        Some(Outcome { end, output: std::mem::take(&mut self.output) })
    }
}
