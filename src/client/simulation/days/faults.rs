//! What goes wrong outside of the terminal, and when.

use std::time::Duration;

use super::plan::{Kind, Mishap};
use super::world::World;

impl World {
    /// What becomes of the next request of a kind, with these rows of the attendance log.
    pub(super) fn fate(&self, kind: Kind, rows: &[usize]) -> Option<Mishap> {
        if let Some((mishap, until)) = self.outage.get() {
            if self.now() < until {
                self.failed_at.set(self.now());
                return Some(mishap);
            }
            self.tell(|| "the outage is over".into());
            self.outage.set(None);
        }
        let mut mishaps = self.mishaps.borrow_mut();
        // What is meant for a poll waits for one that brings commands.
        let is_idle = kind == Kind::Poll && !self.commands.borrow().are_due();
        // Twice in a row it would be the answer of a server that counts new rows and had them.
        let was_short = kind == Kind::Punches && self.was_short.replace(false);
        let fits = |(of, mishap): &(Option<Kind>, Mishap)| match of {
            _ if was_short && matches!(mishap, Mishap::Short(_)) => false,
            None => true,
            Some(Kind::Poll) if is_idle => matches!(mishap, Mishap::Hold(_)),
            Some(of) => *of == kind,
        };
        if let Some(nth) = mishaps.iter().position(fits) {
            let (_, mishap) = mishaps.remove(nth)?;
            match mishap {
                // What cannot wait goes on meanwhile.
                Mishap::Hold(_) | Mishap::Slow(_) => self.faults.set(self.faults.get() + 1),
                _ => self.fail(),
            }
            self.was_short.set(kind == Kind::Punches && matches!(mishap, Mishap::Short(_)));
            return Some(mishap);
        }
        let mut poison = self.poison.borrow_mut();
        poison.retain(|(_, _, until)| {
            let is_over = *until <= self.now();
            if is_over {
                self.failed_at.set(self.now());
            }
            !is_over
        });
        let met = poison.iter().find(|(row, ..)| rows.contains(row));
        met.map(|(_, refusal, _)| *refusal)
    }

    pub(super) fn has_poison(&self) -> bool {
        !self.poison.borrow().is_empty()
    }

    /// The disk is as it is now.
    pub(super) fn fill_disk(&self) {
        let Some(until) = self.full_until.get() else { return };
        let is_full = self.now() < until;
        if let Some(store) = self.store.borrow().as_ref() {
            store.set_full(is_full);
        }
        if !is_full {
            self.tell(|| "the disk has room again".into());
            self.full_until.set(None);
            self.failed_at.set(self.now());
        }
    }

    /// Nothing fails any more.
    pub(super) fn heal(&self) {
        self.full_until.set(self.full_until.get().map(|_| Duration::ZERO));
        self.fill_disk();
        self.mishaps.borrow_mut().clear();
        self.outage.set(None);
        self.poison.borrow_mut().clear();
        self.looks.set(None);
        self.crash_at_act.set(None);
    }

    /// A fault happens now.
    pub(super) fn fail(&self) {
        self.faults.set(self.faults.get() + 1);
        self.failed_at.set(self.now());
    }
}
