//! The clock of the terminal. Each look at it is a moment at which the program may die.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::world::World;
use crate::clock::{Clock, ServerZone, TOLERANCE, ZoneSource};

/// The clock of one run of the program.
pub(super) struct DayClock {
    world: Rc<World>,
    boot: String,
    zone: Cell<ServerZone>,
}

impl DayClock {
    pub(super) fn new(world: &Rc<World>, zone: ServerZone) -> Self {
        let boot = format!("boot{}", world.boots.get());
        Self { world: Rc::clone(world), boot, zone: Cell::new(zone) }
    }
}

impl Clock for DayClock {
    fn utc(&self) -> i64 {
        self.world.look();
        self.world.wall_clock()
    }
    fn monotonic(&self) -> Duration {
        self.world.look();
        self.world.now() - self.world.booted.get()
    }
    fn boot(&self) -> &str {
        &self.boot
    }
    fn offset(&self, _: i64) -> i32 {
        match self.zone.get() {
            ServerZone::Offset(offset) => offset,
            ServerZone::Awaited | ServerZone::Unnamed => 0,
        }
    }
    fn set(&self, utc: i64) -> Option<i64> {
        let off = utc - self.world.wall_clock();
        if off.abs() <= TOLERANCE {
            return None;
        }
        self.world.wall.set(self.world.wall.get() + off);
        self.world.tell(|| format!("the wall clock is set by {off} s"));
        Some(off)
    }
    fn set_zone(&self, offset: Option<i32>) {
        self.zone.set(self.zone.get().after(offset));
    }
    fn zone_source(&self) -> ZoneSource {
        match self.zone.get() {
            ServerZone::Awaited => ZoneSource::Awaited,
            ServerZone::Unnamed => ZoneSource::Unknown,
            ServerZone::Offset(_) => ZoneSource::Server,
        }
    }
}
