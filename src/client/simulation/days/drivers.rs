//! What drivers record, and what they are told. Rule 1 of docs/promises.md begins here.

use std::rc::Rc;

use super::journal::{Journal, Now};
use super::story::violated;
use super::uploads::Uploads;
use super::world::World;
use crate::clock::Clock;
use crate::protocol::record::{Jpeg, Operand, Pin, User, WorkCode};
use crate::store::{Moment, NewOperation, NewPhoto, NewPunch, Origin, Store, StoreError};

impl World {
    /// A driver was told that something is not recorded.
    fn refused(&self, what: &str, error: &StoreError) {
        self.tell(|| format!("{what} cannot be recorded: {error}"));
        if !self.was_full.get() {
            violated(format!("{what} cannot be recorded: {error}"));
        }
    }

    fn moment(&self) -> Option<(Rc<Store>, Moment)> {
        let store = self.store.borrow().clone()?;
        let clock = self.clock.borrow().clone()?;
        let moment = Moment::of(clock.local(), clock.utc_if_set(), clock.boot(), clock.monotonic());
        Some((store, moment))
    }

    /// A driver records punches in one transaction. It is told so when that is over.
    pub(super) fn record_punches(&self, count: u32) {
        let Some((store, moment)) = self.moment() else { return };
        let mut punches = self.punches.borrow_mut();
        let first = punches.rows.len();
        let added: crate::store::Result<Vec<_>> = store.atomically(|| {
            (0..count as usize)
                .map(|nth| {
                    let workcode = WorkCode::new(&(first + nth + 1).to_string()).unwrap();
                    let pin = format!("{}", 1 + (first + nth) % 7);
                    let punch = NewPunch { workcode, ..NewPunch::of(&pin, moment.clone()) };
                    store.journal().add_punch(&punch)
                })
                .collect()
        });
        let added = match added {
            Ok(added) => added,
            // So many wait that none can be deleted for them.
            Err(_)
                if self.plan.most_punches().is_some_and(|most| is_more(&punches, count, most)) =>
            {
                return;
            }
            Err(error) => return self.refused("punches", &error),
        };
        for seq in added {
            punches.record(seq, &moment, self.true_time(), self.boots.get(), self.now());
        }
        if self.plan.most_punches().is_some() {
            // What the server has may be deleted at any time.
            punches.clear();
        }
        self.attempts.borrow_mut().add_work(count.into());
        let last = punches.rows.len();
        self.tell(|| format!("punches {}-{last} are recorded: {moment:?}", first + 1));
        if let Some((refusal, until)) = self.poison_next.take() {
            punches.rows[first].is_poison = true;
            self.tell(|| format!("punch {} is answered with {refusal:?}", first + 1));
            self.poison.borrow_mut().push((first, refusal, until));
            self.faults.set(self.faults.get() + 1);
        }
    }

    pub(super) fn record_photo(&self) {
        let Some((store, moment)) = self.moment() else { return };
        let photo = Jpeg::new("photo", Uploads::photo(self.photos.get() + 1)).unwrap();
        let pin = Pin::new("3").unwrap();
        if let Err(error) = store.journal().add_photo(&NewPhoto { pin, moment, card: None, photo })
        {
            return self.refused("a photo", &error);
        }
        self.photos.set(self.photos.get() + 1);
        self.attempts.borrow_mut().add_work(1);
    }

    pub(super) fn record_operation(&self) {
        let Some((store, moment)) = self.moment() else { return };
        let mut operations = self.operations.borrow_mut();
        let operation = NewOperation {
            code: 4,
            moment: moment.clone(),
            operator: Operand::default(),
            who: Operand::new("who", &(operations.rows.len() + 1).to_string()).unwrap(),
            values: Default::default(),
        };
        let seq = match store.journal().add_operation(&operation) {
            Ok(seq) => seq,
            Err(error) => return self.refused("an operation", &error),
        };
        operations.record(seq, &moment, self.true_time(), self.boots.get(), self.now());
        self.attempts.borrow_mut().add_work(1);
        self.tell(|| format!("operation {} is recorded: {moment:?}", operations.rows.len()));
    }

    /// A driver changes the name of a person.
    pub(super) fn edit(&self, pin: u32) {
        let Some(store) = self.store.borrow().clone() else { return };
        self.observe_people();
        self.edits.set(self.edits.get() + 1);
        let name = format!("D{}", self.edits.get());
        let user = User { name: name.clone(), ..User::new(Pin::new(&pin.to_string()).unwrap()) };
        if let Err(error) = store.people().put(&user, Origin::Terminal) {
            return self.refused("a name", &error);
        }
        self.tell(|| format!("a driver names person {pin} {name}"));
        self.commands.borrow_mut().edited(pin, name);
        self.attempts.borrow_mut().add_work(1);
    }

    /// What the terminal knows of the time, and the zones that the server named.
    pub(super) fn with_now<T>(&self, check: impl FnOnce(Now<'_>) -> T) -> T {
        let server = self.server.borrow();
        check(Now { boot: self.boots.get(), utc: self.wall_clock(), zones: server.zones() })
    }

    pub(super) fn photos(&self) -> u32 {
        self.photos.get()
    }

    /// Sees what commands did to people.
    pub(super) fn observe_people(&self) {
        let Some(store) = self.store.borrow().clone() else { return };
        let found = self.commands.borrow_mut().observe(&store);
        self.require(found);
    }
}

/// Whether these punches and those that the server may not have are more than the terminal keeps.
fn is_more(punches: &Journal, count: u32, most: u64) -> bool {
    punches.kept() + u64::from(count) > most
}
