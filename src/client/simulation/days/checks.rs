//! What must be so after every step of the loop.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::journal::Journal;
use super::plan::{HOUR, MINUTE, SECOND};
use super::story::violated;
use super::terminal::DayTerminal;
use crate::protocol::stream::Stream;
use crate::store::{Outgoing, Seq};

/// After so many steps all rows are compared, and the counts of them after each.
const COMPARED_EVERY: u64 = 200;

impl DayTerminal {
    /// What must be so after every step.
    pub(super) fn after_step(&mut self) {
        let world = &self.world;
        world.observe_people();
        world.require(world.commands.borrow().check());
        world.commands.borrow_mut().step_ended();
        if std::mem::take(&mut world.commands.borrow_mut().asked_for_upload) {
            world.attempts.borrow_mut().release();
        }
        let asks_again = world.server.borrow_mut().step_ended();
        if let Some(again) = asks_again {
            world.tell(|| format!("the server asks for rows again: {again:?}"));
            world.punches.borrow_mut().ask_again(again);
        }
        if std::mem::take(&mut world.commands.borrow_mut().cleared) {
            world.punches.borrow_mut().clear();
        }
        let ended = self.journals().map(|(_, journal)| journal.borrow_mut().step_ended());
        let is_unclear = ended.fold(false, |found, is_unclear| found | is_unclear);
        if is_unclear || self.steps.is_multiple_of(COMPARED_EVERY) {
            self.compare();
        } else {
            self.compare_counts();
        }
        self.check_delay();
    }

    pub(super) fn journals(&self) -> impl Iterator<Item = (Stream, &RefCell<Journal>)> {
        let Self { world, .. } = self;
        [(Stream::Punches, &world.punches), (Stream::Operations, &world.operations)].into_iter()
    }

    fn compare_counts(&self) {
        for (stream, journal) in self.journals() {
            let backlog = self.store().outbox().backlog(stream).unwrap();
            let (suspects, aside) = self.store().quarantine().count(stream).unwrap();
            let found = backlog.new + suspects + aside;
            let known = journal.borrow().pending() as u64;
            // Enrolments leave operations of their own. A row that the server asked for again and refuses now
            // is a suspect.
            let is_more = || found > known + journal.borrow().asked_again();
            if found < known || stream == Stream::Punches && is_more() {
                let name = stream.name();
                violated(format!(
                    "{found} {name} wait in the store, {known} were not acknowledged"
                ));
            }
        }
    }

    /// Compares all rows that wait.
    pub(super) fn compare(&self) {
        let store = self.store();
        let (for_clock, for_zone) = store.undated().count().unwrap();
        if for_clock + for_zone > 0 {
            return;
        }
        for (stream, journal) in self.journals() {
            let mut waiting = self.refused(stream);
            if store.outbox().backlog(stream).unwrap().new > 0 {
                let batch = store.outbox().next_batch(&[Outgoing::from(stream)], 100_000).unwrap();
                waiting.extend(batch.into_iter().flat_map(|batch| batch.rows).map(|row| row.seq));
            }
            let table = stream.table();
            let goes_again = store.outbox().is_resending(table).unwrap();
            let found = journal.borrow_mut().compare(&waiting, goes_again);
            self.world.require(found.map_err(|what| format!("{}: {what}", stream.name())));
        }
    }

    /// The rows that the server refuses.
    pub(super) fn refused(&self, stream: Stream) -> BTreeSet<Seq> {
        let quarantine = self.store().quarantine();
        if quarantine.is_empty().unwrap() {
            return BTreeSet::new();
        }
        let refused = [false, true].map(|is_aside| quarantine.list(is_aside, 1000).unwrap());
        let refused = refused.into_iter().flatten().filter(|row| row.stream == stream);
        refused.map(|row| row.seq).collect()
    }

    /// The loop has nothing to do: whatever waits has a reason that is shown.
    pub(super) fn check_reasons(&self) {
        let pending = self.world.punches.borrow().pending() as u64;
        if pending == 0 {
            return;
        }
        let (_, store, status) = self.running.as_ref().unwrap();
        let waiting = status.waiting(store, &[Stream::Punches]).unwrap();
        let explained: u64 = waiting.iter().flat_map(|(_, waits)| waits).map(|it| it.rows).sum();
        if explained < pending {
            violated(format!("{pending} punches wait, {explained} with a reason: {waiting:?}"));
        }
    }

    /// Where nothing fails, no punch waits for long.
    fn check_delay(&self) {
        let world = &self.world;
        let Some((nth, since)) = world.punches.borrow().waits_since() else { return };
        let since = since.max(world.failed_at.get());
        let error_delay = SECOND * world.plan.server.error_delay.max(30);
        let is_quiet = world.now() > world.failed_at.get() + MINUTE * 30;
        let most = match world.has_poison() {
            true => HOUR,
            // Also while a poll is held or a file comes slowly.
            false if is_quiet && world.now() > world.alone_until.get() => SECOND * 20,
            false if is_quiet => MINUTE * 2,
            false => error_delay * 4 + MINUTE * 15,
        };
        if world.now() > since + most {
            violated(format!("punch {nth} waits since {since:?}, and nothing fails"));
        }
    }
}
