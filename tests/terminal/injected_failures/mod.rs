//! Each system call that punchd makes in a start, a punch, an acknowledgement, a command, a migration
//! and a download fails once. Nothing that was acknowledged is lost, nothing is doubled, nothing hangs, and
//! all goes on: at once, or after a restart, if the program ended with a message.
//!
//! First each phase runs without a failure, and its system calls are counted; then once for each of them
//! and each error. `PUNCHD_INJECTIONS=all` runs all of it, `PUNCHD_INJECTIONS=200` so many, and
//! `PUNCHD_INJECTIONS=Punch:pwrite64:2:EIO` one, named as a failure names it; without it a sample runs, always the
//! same.

mod bench;
mod calls;
mod checks;
mod phases;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use self::bench::Bench;
use self::calls::{ERRORS, error_name, is_injected, is_unnoticed, is_write, name};
use self::phases::{Outcome, Phase, drive};
use crate::harness::Injection;

/// Terminals at once: they wait most of the time.
const AT_ONCE: usize = 16;
/// So many calls of a kind fail in a phase, and of those after them each fifteenth: a start writes the whole log,
/// a page at a time.
const EACH: u64 = 15;
const STEP: u64 = 15;
/// So many calls of a kind fail that nobody may notice, though fewer were counted.
const LEAST_UNNOTICED: u64 = 3;
/// After so many phases a terminal is stopped, and another one takes its place.
const LIFE: usize = 60;

/// A phase in which a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    phase: Phase,
    injection: Injection,
}

impl Case {
    fn is_unnoticed(&self) -> bool {
        self.phase == Phase::Punch && is_unnoticed(self.injection)
    }

    /// Those that nobody may notice, and those after which a new store may not have the journal that it should.
    fn is_in_each_sample(&self) -> bool {
        let Injection { call, error, .. } = self.injection;
        let is_sync = name(call) == "fdatasync" && error_name(error) == "EIO";
        self.is_unnoticed() || self.phase == Phase::FirstStart && is_sync
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Injection { call, nth, error } = self.injection;
        write!(f, "{:?}:{}:{nth}:{}", self.phase, name(call), error_name(error))
    }
}

/// What came of a case.
struct Story {
    case: Case,
    /// The file of the call that failed; `None` if the phase made fewer of them this time.
    file: Option<String>,
    outcome: Result<Outcome, String>,
    seconds: f64,
}

#[test]
fn a_system_call_that_fails_once_loses_and_doubles_nothing() {
    let Some(cases) = all_cases() else { return };
    inject(&cases, 60, |_| true);
}

/// A file that a command saved survives a power cut after the answer: it is synced, and so is the directory in
/// which it got its name. When one of these syncs fails, the command is not answered with success.
#[test]
fn a_file_that_was_saved_is_synced_with_its_directory() {
    let Some(mut bench) = Bench::start() else { return };
    let call = calls::number("fsync");
    for phase in [Phase::Put, Phase::Download] {
        let (outcome, counts) = drive(&mut bench, phase, None).unwrap();
        assert_eq!(outcome, Outcome::Done, "{phase:?}");
        let ends = [".part", "/files"];
        assert_eq!(counts[call], 2, "{phase:?}: of the file, and of its directory");
        for (nth, end) in (1..).zip(ends) {
            let injection = Injection { call, nth, error: Some(5) };
            let (outcome, _) = drive(&mut bench, phase, Some(injection)).unwrap();
            let file = bench.tracer.hit().expect("the call was made");
            assert!(file.ends_with(end), "{phase:?}: {file}");
            assert_eq!(outcome, Outcome::Refused("-3".into()), "{phase:?}: {file}");
        }
    }
    // What has come of a download is on disk before the store says how far it is.
    let call = calls::number("fdatasync");
    let (_, counts) = drive(&mut bench, Phase::Download, None).unwrap();
    let is_of_part = |nth| {
        let injection = Injection { call, nth, error: Some(5) };
        drive(&mut bench, Phase::Download, Some(injection)).unwrap();
        bench.tracer.hit().is_some_and(|file| file.ends_with(".part"))
    };
    assert!((1..=counts[call]).any(is_of_part), "{} calls", counts[call]);
}

#[test]
fn a_read_that_fails_once_is_never_called_damage() {
    let Some(mut reads) = all_cases() else { return };
    reads.retain(|case| name(case.injection.call) == "pread64");
    inject(&reads, 40, |case| error_name(case.injection.error) == "EIO");
    // SQLite's check of a store at its start calls what it could not read malformed, whatever the error is.
    inject(&reads, 40, |case| case.phase.is_start() && case.injection.nth >= EACH);
}

#[test]
#[ignore = "slow: 150 injected failures"]
fn more_system_calls_that_fail_once_lose_and_double_nothing() {
    let Some(cases) = all_cases() else { return };
    inject(&cases, 150, |_| true);
}

/// Runs so many of the cases that are wanted, if no other number is asked for.
fn inject(cases: &[Case], sample: usize, is_wanted: impl Fn(&Case) -> bool) {
    let cases: Vec<Case> = cases.iter().copied().filter(is_wanted).collect();
    let wanted = std::env::var("PUNCHD_INJECTIONS").unwrap_or_else(|_| sample.to_string());
    let total = cases.len();
    let cases = match (wanted.as_str(), wanted.parse()) {
        ("all", _) => cases,
        (_, Ok(number)) => sample_of(cases, number),
        (one, _) => cases.into_iter().filter(|case| case.to_string() == one).collect(),
    };
    assert!(!cases.is_empty(), "{total} cases, none of them is PUNCHD_INJECTIONS={wanted}");
    let begun = Instant::now();
    let stories = run(cases);
    report(&stories, total, begun);
    let failed = stories.iter().filter_map(|story| {
        let error = story.outcome.as_ref().err()?;
        Some(format!(
            "{} ({}): {error}",
            story.case,
            story.file.as_deref().unwrap_or("not reached")
        ))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// Each call of each phase with each error.
fn all_cases() -> Option<Vec<Case>> {
    let mut bench = Bench::start()?;
    let mut cases = Vec::new();
    for phase in Phase::ALL.into_iter().rev() {
        let before = checks::before(&bench);
        let driven = drive(&mut bench, phase, None);
        let (outcome, counts) = driven.unwrap_or_else(|error| panic!("{phase:?}: {error}"));
        assert_eq!(outcome, Outcome::Done, "{phase:?}");
        checks::check(&mut bench, phase, &before)
            .unwrap_or_else(|error| panic!("{phase:?}: {error}"));
        let is_once = bench
            .seen(|seen| seen.punches.iter().all(|(pin, rows)| checks::most(pin) > rows.len()));
        assert!(is_once, "{phase:?}: {:?}", bench.seen(|seen| seen.punches.clone()));
        let made: Vec<String> = (0..counts.len())
            .filter(|call| counts[*call] > 0)
            .map(|call| format!("{} {}", counts[call], name(call)))
            .collect();
        println!("{phase:?} makes {}", made.join(", "));
        for (call, count) in counts.into_iter().enumerate().filter(|(call, _)| is_injected(*call)) {
            let errors = ERRORS.iter().map(|(error, _)| Some(*error));
            let errors = errors.chain(is_write(call).then_some(None));
            cases.extend(errors.flat_map(|error| {
                let case = move |nth| Case { phase, injection: Injection { call, nth, error } };
                // A poll may come first, or not.
                let count = if case(1).is_unnoticed() { count.max(LEAST_UNNOTICED) } else { count };
                (1..=count).filter(|nth| *nth <= EACH || nth % STEP == 0).map(case)
            }));
        }
    }
    cases.sort_unstable();
    Some(cases)
}

/// So many, as many of each phase, always the same; and those of which each sample has all.
fn sample_of(cases: Vec<Case>, number: usize) -> Vec<Case> {
    let mut random = 0x5EED_u64;
    let mut below = |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % most
    };
    let (mut sample, mut cases): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(Case::is_in_each_sample);
    let number = number + sample.len();
    while sample.len() < number && !cases.is_empty() {
        for phase in Phase::ALL {
            let of_phase: Vec<usize> =
                (0..cases.len()).filter(|nth| cases[*nth].phase == phase).collect();
            if !of_phase.is_empty() && sample.len() < number {
                sample.push(cases.swap_remove(of_phase[below(of_phase.len())]));
            }
        }
    }
    sample
}

/// Runs them, some at once.
fn run(mut cases: Vec<Case>) -> Vec<Story> {
    cases.sort_unstable();
    let (left, stories) = (Mutex::new(VecDeque::from(cases)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let is_over = || left.lock().unwrap().is_empty();
                while !is_over() {
                    live(&mut Bench::start().unwrap(), &left, &stories);
                }
            });
        }
    });
    stories.into_inner().unwrap()
}

/// The life of one terminal: some cases, one after the other, up to the first that fails.
fn live(bench: &mut Bench, left: &Mutex<VecDeque<Case>>, stories: &Mutex<Vec<Story>>) {
    for nth in 1..=LIFE {
        let Some(case) = left.lock().unwrap().pop_front() else { break };
        let begun = Instant::now();
        let mut file = None;
        let run = catch_unwind(AssertUnwindSafe(|| one(bench, case, nth == LIFE, &mut file)));
        let outcome = run.unwrap_or_else(|_| Err("a panic; its message is above".into()));
        let is_over = outcome.is_err();
        let seconds = begun.elapsed().as_secs_f64();
        if let Err(error) = &outcome {
            println!("{case}: {error}\n{}", bench.terminal.log());
        }
        if std::env::var_os("PUNCHD_INJECTIONS").is_some() {
            println!("{case} {seconds:.1} s: {outcome:?}");
        }
        stories.lock().unwrap().push(Story { case, file, outcome, seconds });
        if is_over {
            break;
        }
    }
}

fn one(
    bench: &mut Bench,
    case: Case,
    is_last: bool,
    file: &mut Option<String>,
) -> Result<Outcome, String> {
    let before = match case.phase {
        Phase::FirstStart | Phase::Migration => checks::Before::new(),
        _ => checks::before(bench),
    };
    let driven = drive(bench, case.phase, Some(case.injection));
    *file = bench.tracer.hit();
    let (outcome, _) = driven?;
    if let Outcome::Ended(message) = &outcome {
        calls::gives_reason(message, case.injection)?;
    }
    // A driver that got no answer records its punch again, and so hides that an answer was lost.
    if case.is_unnoticed() && outcome != Outcome::Done {
        return Err(format!("it was not to be noticed: {outcome:?}"));
    }
    checks::check(bench, case.phase, &before)?;
    if case.phase.is_start() {
        // What the start left undone shows when nothing is closed.
        checks::survives_kill(bench, case.phase)?;
    }
    if is_last || matches!(outcome, Outcome::Ended(_)) {
        checks::restarts_clean(bench, case.phase)?;
    }
    Ok(outcome)
}

/// A table of the outcomes, and each end of the program.
fn report(stories: &[Story], total: usize, begun: Instant) {
    let mut table = BTreeMap::<(Phase, &str), [usize; 6]>::new();
    for story in stories {
        let column = match (&story.outcome, &story.file) {
            (Err(_), _) => 5,
            (_, None) => 4,
            (Ok(Outcome::Done), _) => 0,
            (Ok(Outcome::Refused(_)), _) => 1,
            (Ok(Outcome::NoAnswer), _) => 2,
            (Ok(Outcome::Ended(_)), _) => 3,
        };
        let error = error_name(story.case.injection.error);
        table.entry((story.case.phase, error)).or_default()[column] += 1;
    }
    println!("phase, error: done, refused, no answer, ended; not reached, failed");
    for ((phase, error), [done, refused, silent, ended, missed, failed]) in &table {
        println!("{phase:?} {error}: {done} {refused} {silent} {ended}; {missed} {failed}");
    }
    let slowest = stories.iter().max_by(|one, other| one.seconds.total_cmp(&other.seconds));
    println!(
        "{} of {total} cases in {:.0} s; the slowest: {}",
        stories.len(),
        begun.elapsed().as_secs_f64(),
        slowest.map_or(String::new(), |story| format!("{} {:.1} s", story.case, story.seconds))
    );
    let mut messages = BTreeMap::<String, (usize, String)>::new();
    for story in stories {
        if let Ok(Outcome::Ended(message) | Outcome::Refused(message)) = &story.outcome {
            let file = story.file.clone().unwrap_or_default();
            let message = calls::without_details(message);
            messages.entry(message).or_insert((0, format!("{} ({file})", story.case))).0 += 1;
        }
    }
    for (message, (count, first)) in messages {
        println!("{count} × {message}, first {first}");
    }
}
