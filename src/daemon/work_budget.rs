//! Holds the work of the store between two looks at the drivers to its budget.

use std::rc::Rc;

use rustix::event::{PollFd, PollFlags};

use crate::reactor::Served;
use crate::store::Store;

/// Is served with the drivers, so it knows when they are looked at.
pub(super) struct WorkBudget(pub(super) Rc<Store>);

impl Served for WorkBudget {
    fn watch<'a>(&'a self, _: &mut Vec<PollFd<'a>>) {
        self.0.end_work();
    }

    fn serve(&mut self, _: &[PollFlags]) {}
}
