//! What the loop does next. Pure: the time and what has work go in, a decision comes out.
//!
//! Activities have levels, in the order of chapter 5. The first level that has something to run
//! goes first, and within a level activities take turns. A level that has been chosen as often in
//! a row as its burst allows, while a level after it had something to run, lets one of those pass.
//! So an activity that has work and is not held back waits for a bounded number of decisions.

use std::time::Duration;

use super::activity::Activity;
use crate::protocol::stream::Table;

/// An activity that has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) activity: Activity,
    /// Not before this moment of the monotonic clock.
    pub(super) not_before: Duration,
}

/// What the scheduler decides by.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    /// Whether there is a session. Without one only the handshake and what needs no server run.
    pub(super) online: bool,
    /// What has work. Of two jobs the first that may run goes first.
    pub(super) due: Vec<Due>,
    /// When to look again although nothing is due.
    pub(super) wake_at: Duration,
}

impl Situation {
    /// Whether an activity may run at its time.
    fn may_run(&self, activity: Activity) -> bool {
        self.online
            || matches!(
                activity,
                Activity::Handshake
                    | Activity::DriverRequest(_)
                    | Activity::Waiting
                    | Activity::HeldPoll
            )
    }

    /// When there is something to do next beside a poll that is held.
    pub(super) fn next_at(&self) -> Duration {
        let others = self
            .due
            .iter()
            .filter(|due| due.activity != Activity::HeldPoll && self.may_run(due.activity));
        others.map(|due| due.not_before).fold(self.wake_at, Duration::min)
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Run(Activity),
    /// Nothing until this moment of the monotonic clock.
    RestUntil(Duration),
}

/// The levels, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Jobs of drivers need no exchange.
    DriverRequests,
    /// Somebody stands at the door.
    ServerQueries,
    /// A long list of commands has thousands of results: punches go between them.
    ResultsAndPunches,
    /// What keeps the session going: handshake, options, queries, polls; commands that waited.
    Session,
    /// Jobs, and the streams that are not punches.
    Others,
}

impl Level {
    const ALL: [Self; 5] = [
        Self::DriverRequests,
        Self::ServerQueries,
        Self::ResultsAndPunches,
        Self::Session,
        Self::Others,
    ];

    /// How often it is chosen in a row while a level after it waits.
    const fn burst(self) -> u32 {
        match self {
            // Every other time: a driver that asks without end stops nobody.
            Self::ServerQueries => 1,
            Self::DriverRequests | Self::Session => 4,
            // What comes after them is in no hurry.
            Self::ResultsAndPunches => 16,
            // None is after it.
            Self::Others => u32::MAX,
        }
    }

    /// The level of an activity, and its turn in it.
    fn with_turn(activity: Activity) -> (Self, usize) {
        match activity {
            Activity::DriverRequest(_) => (Self::DriverRequests, 0),
            Activity::ServerQuery => (Self::ServerQueries, 0),
            Activity::Replies => (Self::ResultsAndPunches, 0),
            Activity::Reboot => (Self::ResultsAndPunches, 1),
            Activity::Upload(Table::Attlog) => (Self::ResultsAndPunches, 2),
            Activity::Handshake => (Self::Session, 0),
            Activity::Options => (Self::Session, 1),
            Activity::Query => (Self::Session, 2),
            Activity::Poll => (Self::Session, 3),
            // Punches do not keep a command waiting that has come.
            Activity::HeldPoll => (Self::ResultsAndPunches, 3),
            Activity::Waiting => (Self::Session, 4),
            Activity::Job(_) => (Self::Others, 0),
            Activity::Upload(Table::Operlog) => (Self::Others, 1),
            Activity::Upload(Table::Biodata) => (Self::Others, 2),
            Activity::Upload(Table::Idcard) => (Self::Others, 3),
            Activity::Upload(Table::Errorlog) => (Self::Others, 4),
            Activity::Upload(Table::Attphoto) => (Self::Others, 5),
            Activity::RefusedReplies => (Self::Others, 6),
            Activity::Store => (Self::Others, LAST_TURN),
        }
    }
}

/// The last turn in any level.
const LAST_TURN: usize = 7;

/// Chooses what is due.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    levels: [Turns; Level::ALL.len()],
}

/// What a level has had.
#[derive(Clone, Copy, Debug)]
struct Turns {
    /// Whose turn it was last.
    last: usize,
    /// How often the level was chosen in a row while a level after it waited.
    in_a_row: u32,
}

impl Default for Turns {
    fn default() -> Self {
        Self { last: LAST_TURN, in_a_row: 0 }
    }
}

impl Scheduler {
    /// Decides, and counts that as a turn of what it chooses.
    pub(super) fn decide(&mut self, now: Duration, situation: &Situation) -> Decision {
        let may_run = |due: &&Due| due.not_before <= now && situation.may_run(due.activity);
        let ready = situation.due.iter().filter(may_run).map(|due| due.activity);
        let ready: Vec<Activity> = ready.collect();
        match self.choose_level(&ready) {
            Some(level) => Decision::Run(self.levels[level as usize].choose(level, &ready)),
            None => Decision::RestUntil(situation.next_at()),
        }
    }

    /// The first level that has something to run and has not used up its burst.
    fn choose_level(&mut self, ready: &[Activity]) -> Option<Level> {
        let waits =
            |level: &Level| ready.iter().any(|activity| Level::with_turn(*activity).0 == *level);
        let last = Level::ALL.into_iter().rev().find(waits)?;
        let may_go =
            |level: &Level| *level == last || self.levels[*level as usize].in_a_row < level.burst();
        let chosen = Level::ALL.into_iter().filter(waits).find(may_go)?;
        // The levels before it have let one pass: their bursts start again.
        let (before, from) = self.levels.split_at_mut(chosen as usize);
        before.iter_mut().for_each(|level| level.in_a_row = 0);
        from[0].in_a_row = if chosen == last { 0 } else { from[0].in_a_row + 1 };
        Some(chosen)
    }
}

impl Turns {
    /// The next of the level in turn after the last one; of several jobs the first.
    fn choose(&mut self, level: Level, ready: &[Activity]) -> Activity {
        let turn = |activity: &Activity| Level::with_turn(*activity).1;
        let of_level = ready.iter().filter(|activity| Level::with_turn(**activity).0 == level);
        let chosen = of_level
            .min_by_key(|activity| (turn(activity) + LAST_TURN - self.last) % (LAST_TURN + 1))
            .expect("a level is chosen for what it has to run");
        self.last = turn(chosen);
        *chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn due(activity: Activity) -> Due {
        Due { activity, not_before: Duration::ZERO }
    }

    fn situation(activities: &[Activity]) -> Situation {
        let due = activities.iter().copied().map(due).collect();
        Situation { online: true, due, wake_at: Duration::MAX }
    }

    /// What runs while all of these have work all the time.
    fn runs(scheduler: &mut Scheduler, count: usize, activities: &[Activity]) -> Vec<Activity> {
        let situation = situation(activities);
        let run = |_| match scheduler.decide(NOW, &situation) {
            Decision::Run(activity) => activity,
            Decision::RestUntil(until) => panic!("nothing runs until {until:?}"),
        };
        (0..count).map(run).collect()
    }

    const PUNCHES: Activity = Activity::Upload(Table::Attlog);
    const OPERATIONS: Activity = Activity::Upload(Table::Operlog);
    const PHOTOS: Activity = Activity::Upload(Table::Attphoto);

    #[test]
    fn the_order_and_the_turns_are_as_in_this_table() {
        use Activity::{
            DriverRequest, Handshake, Job, Options, Poll, Query, Reboot, RefusedReplies, Replies,
            ServerQuery,
        };
        let cases: [(&str, &[Activity], &[Activity]); 10] = [
            (
                "the order of the levels",
                &[PHOTOS, Poll, PUNCHES, ServerQuery, DriverRequest(1)],
                &[DriverRequest(1); 4],
            ),
            (
                "a driver that asks without end stops nobody",
                &[ServerQuery, PUNCHES],
                &[ServerQuery, PUNCHES, ServerQuery, PUNCHES],
            ),
            (
                "punches go between results",
                &[Replies, PUNCHES],
                &[Replies, PUNCHES, Replies, PUNCHES],
            ),
            ("results go before a poll", &[Poll, Replies], &[Replies; 16]),
            ("a reboot does not wait for punches", &[PUNCHES, Reboot], &[Reboot, PUNCHES]),
            (
                "a session's work takes turns",
                &[Handshake, Options, Query, Poll],
                &[Handshake, Options, Query, Poll, Handshake],
            ),
            (
                "a poll goes before other streams, and does not stop them",
                &[PHOTOS, Poll],
                &[Poll, Poll, Poll, Poll, PHOTOS, Poll],
            ),
            (
                "jobs and other streams take turns",
                &[Job(1), OPERATIONS, PHOTOS],
                &[Job(1), OPERATIONS, PHOTOS, Job(1), OPERATIONS],
            ),
            ("jobs go in the order in which they came", &[Job(7), Job(3)], &[Job(7), Job(7)]),
            (
                "a refused result does not wait for the last photo",
                &[PHOTOS, RefusedReplies],
                &[PHOTOS, RefusedReplies, PHOTOS],
            ),
        ];
        for (what, has_work, expected) in cases {
            let found = runs(&mut Scheduler::default(), expected.len(), has_work);
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn photos_do_not_hold_up_a_punch() {
        let mut scheduler = Scheduler::default();
        for punches in 0..100 {
            // Nothing but photos for a while, then a punch: it is the next.
            runs(&mut scheduler, punches % 3 + 1, &[PHOTOS]);
            assert_eq!(runs(&mut scheduler, 1, &[PHOTOS, PUNCHES]), [PUNCHES]);
        }
    }

    #[test]
    fn what_is_held_back_waits_and_lets_others_pass() {
        let later = |activity, seconds| Due { activity, not_before: Duration::from_secs(seconds) };
        let cases = [
            ("nothing to do", true, vec![], Decision::RestUntil(Duration::from_secs(900))),
            (
                "all are held back: the first of them ends the rest",
                true,
                vec![later(PUNCHES, 130), later(Activity::Poll, 120)],
                Decision::RestUntil(Duration::from_secs(120)),
            ),
            (
                "punches are held back, photos are not",
                true,
                vec![later(PUNCHES, 130), due(PHOTOS)],
                Decision::Run(PHOTOS),
            ),
            (
                "the first job is in trouble: the second goes",
                true,
                vec![later(Activity::Job(1), 130), due(Activity::Job(2))],
                Decision::Run(Activity::Job(2)),
            ),
            (
                "its time has come",
                true,
                vec![later(Activity::Poll, 100)],
                Decision::Run(Activity::Poll),
            ),
            (
                "no session: the handshake, whatever else has work",
                false,
                vec![due(PUNCHES), due(Activity::Poll), due(Activity::Handshake)],
                Decision::Run(Activity::Handshake),
            ),
            (
                "no session and the handshake is held back: punches wait, too",
                false,
                vec![due(PUNCHES), later(Activity::Handshake, 130)],
                Decision::RestUntil(Duration::from_secs(130)),
            ),
            (
                "no session: drivers are asked all the same",
                false,
                vec![later(Activity::Handshake, 130), due(Activity::DriverRequest(5))],
                Decision::Run(Activity::DriverRequest(5)),
            ),
        ];
        for (what, online, due, expected) in cases {
            let situation = Situation { online, due, wake_at: Duration::from_secs(900) };
            assert_eq!(Scheduler::default().decide(NOW, &situation), expected, "{what}");
        }
    }

    /// Every kind of activity, one of each.
    fn all() -> Vec<Activity> {
        let uploads = Table::ALL.map(Activity::Upload);
        [
            Activity::DriverRequest(1),
            Activity::ServerQuery,
            Activity::Replies,
            Activity::Reboot,
            Activity::Handshake,
            Activity::Options,
            Activity::Query,
            Activity::Poll,
            Activity::HeldPoll,
            Activity::Waiting,
            Activity::Job(2),
            Activity::RefusedReplies,
        ]
        .into_iter()
        .chain(uploads)
        .collect()
    }

    #[test]
    fn each_activity_has_a_turn_of_its_own() {
        let mut turns = std::collections::BTreeSet::new();
        for activity in all() {
            let (level, turn) = Level::with_turn(activity);
            assert!(turn <= LAST_TURN && turns.insert((level as usize, turn)), "{activity:?}");
        }
    }

    /// The most decisions for which an activity that has work can wait.
    fn longest_wait(activity: Activity) -> usize {
        let (level, _) = Level::with_turn(activity);
        let turns = all().iter().filter(|other| Level::with_turn(**other).0 == level).count();
        let before = &Level::ALL[..level as usize];
        let before: u32 = before.iter().map(|level| level.burst() + 1).product();
        // Between two of its turns the level may let another pass.
        turns * before as usize * 2
    }

    /// Numbers that look random and are the same each time (xorshift).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    #[test]
    fn what_has_work_waits_for_a_bounded_number_of_decisions() {
        let all = all();
        for seed in 1..=6 {
            let (mut random, mut scheduler) = (Random(seed), Scheduler::default());
            let mut waited = vec![0; all.len()];
            // How likely it is that each has work: from sometimes to always.
            let likely: Vec<u64> = all.iter().map(|_| random.next() % 4 + 1).collect();
            for _ in 0..10_000 {
                // What waits goes on having work until it runs; others come and go.
                let has_work: Vec<Activity> = (0..all.len())
                    .filter(|nth| waited[*nth] > 0 || random.next() % 4 < likely[*nth])
                    .map(|nth| all[nth])
                    .collect();
                if has_work.is_empty() {
                    continue;
                }
                let chosen = runs(&mut scheduler, 1, &has_work)[0];
                for (nth, activity) in all.iter().enumerate() {
                    let waits = has_work.contains(activity) && *activity != chosen;
                    waited[nth] = if waits { waited[nth] + 1 } else { 0 };
                    let most = longest_wait(*activity);
                    assert!(waited[nth] <= most, "{activity:?} waited for {most} decisions");
                }
            }
        }
    }
}
