//! Power cuts: a store is recorded under a load, images of the disk are built as a power cut at any
//! moment could leave it, and each is opened by the code that the daemon starts with.
//!
//! After a step was acknowledged, all that it wrote is in every image; a step that was under way is there
//! as a whole or not at all. No image is refused or damaged, no loss is reported, and the counts are
//! those of the rows.
//!
//! `PUNCHD_IMAGES` has the number of images; scripts/test builds 10 000. `PUNCHD_IMAGE` has the name of
//! one, as a failure prints it: this one is built again, alone, and its files are left where the failure
//! says.

mod check;
mod ledger;
mod loads;
mod rows;
mod session;

use std::collections::BTreeMap;
use std::sync::Mutex;

use loads::{LOADS, Load};
use session::{Recorded, Session, TestDir};

use super::recorded_disk::Change;
use crate::client::simulation::random::Random;

/// What is wrong with a disk or with punchd, on purpose.
#[derive(Clone, Copy, Default)]
struct Fault {
    synchronous: Option<&'static str>,
    /// So many syncs of a hundred are reported, and not done.
    syncs_left_out: u64,
}

/// The images that were looked at.
#[derive(Default)]
struct Figures {
    images: u64,
    rows: u64,
    /// Changes on the tapes.
    changes: usize,
    /// Steps that were acknowledged.
    steps: usize,
    failed: u64,
    /// The image of the lowest number that is not as it should be, and why.
    first_failed: Option<(u64, String)>,
}

impl Figures {
    fn failed(&mut self, image: u64, text: String) {
        self.failed += 1;
        if self.first_failed.as_ref().is_none_or(|(first, _)| image < *first) {
            self.first_failed = Some((image, text));
        }
    }

    fn add(&mut self, other: Self) {
        self.images += other.images;
        self.rows += other.rows;
        self.changes += other.changes;
        self.steps += other.steps;
        self.failed += other.failed;
        self.first_failed = self.first_failed.take().or(other.first_failed);
    }

    fn print(&self, name: &str) {
        let Self { images, rows, changes, steps, failed, .. } = self;
        println!(
            "{name:18} {images:7} images of {steps:5} steps, {changes:6} changes; {rows:9} rows compared, \
             {failed} images failed"
        );
    }
}

/// Records a load.
fn record(load: &Load, nth: u64, fault: Fault) -> Recorded {
    let files = (load.files)(nth);
    let name = format!("{}-{nth}", load.name.replace(' ', "-"));
    let mut session = Session::begin(&name, files.as_ref(), nth);
    session.synchronous = fault.synchronous;
    (load.run)(&mut session);
    let mut recorded = session.end();
    let mut random = Random::new(nth + 1000);
    for change in &mut recorded.tape.changes {
        let is_sync = matches!(change, Change::Sync { .. } | Change::SyncDirectory);
        if is_sync && random.below(100) < fault.syncs_left_out {
            *change = Change::Nothing;
        }
    }
    recorded
}

/// Builds so many images of a recording, or one of them, and looks at each.
fn look(load: &Load, nth: u64, images: u64, only: Option<u64>, fault: Fault) -> Figures {
    let recorded = record(load, nth, fault);
    let changes = &recorded.tape.changes;
    let mut figures =
        Figures { changes: changes.len(), steps: recorded.ledger.states(), ..Figures::default() };
    // Each image has its number, from which all else follows: the moment, and what is lost.
    let random_of = |image: u64| Random::new((nth << 32) + image * 2 + load.share);
    let mut cuts: Vec<(usize, u64)> = (0..images.max(only.map_or(0, |only| only + 1)))
        .filter(|image| only.is_none_or(|only| only == *image))
        .map(|image| (random_of(image).below(changes.len() as u64 + 1) as usize, image))
        .collect();
    cuts.sort();
    let dir = TestDir::new(&format!("{}-{nth}-image", load.name.replace(' ', "-")));
    let (mut disk, mut done) = (recorded.tape.start.clone(), 0);
    for (cut, image) in cuts {
        changes[done..cut].iter().for_each(|change| disk.change(change));
        done = cut;
        let mut random = random_of(image);
        random.below(2);
        let built = match changes.get(cut) {
            Some(change) if random.below(2) == 0 => disk.image_amid(change, &mut random),
            _ => disk.image(&mut random),
        };
        figures.images += 1;
        match check::check(&built, &recorded, cut, &dir) {
            Ok(rows) => figures.rows += rows as u64,
            Err(failure) => {
                let text = format!(
                    "PUNCHD_IMAGE=\"{}:{nth}:{image}\": {failure}\nThe cut was before change {cut} of {}: \
                     {}\n{}",
                    load.name,
                    changes.len(),
                    changes.get(cut).map_or("the end".into(), Change::describe),
                    built.story.join("\n")
                );
                if only.is_some() {
                    let kept = std::env::temp_dir().join("punchd-image");
                    built.write(&kept);
                    eprintln!("The files are in {}.", kept.display());
                }
                figures.failed(image, text);
            }
        }
    }
    figures
}

/// Builds so many images of all loads, on two threads.
fn look_at_all(images: u64) -> BTreeMap<&'static str, Figures> {
    let one = std::env::var("PUNCHD_IMAGE").ok();
    // Few images are of few recordings.
    let recordings = |load: &Load| if images < 1000 && one.is_none() { 1 } else { load.recordings };
    let work = LOADS.iter().flat_map(|load| (0..recordings(load)).map(move |nth| (load, nth)));
    let work: Mutex<Vec<_>> = Mutex::new(work.collect());
    let all = Mutex::new(BTreeMap::<_, Figures>::new());
    let worker = || {
        loop {
            let Some((load, nth)) = work.lock().unwrap().pop() else { return };
            let of_this = format!("{}:{nth}:", load.name);
            let only = match &one {
                Some(one) => match one.strip_prefix(&of_this) {
                    Some(image) => Some(image.parse().unwrap()),
                    None => continue,
                },
                None => None,
            };
            let share = (images * load.share).div_ceil(100 * recordings(load));
            let figures = look(load, nth, share, only, Fault::default());
            all.lock().unwrap().entry(load.name).or_default().add(figures);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
    all.into_inner().unwrap()
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    let images = std::env::var("PUNCHD_IMAGES").map_or(300, |images| images.parse().unwrap());
    let mut sum = Figures::default();
    for (name, figures) in look_at_all(images) {
        figures.print(name);
        sum.add(figures);
    }
    sum.print("all");
    assert!(
        sum.images > 0,
        "no image was built: PUNCHD_IMAGE is LOAD:RECORDING:NUMBER, as a failure names it"
    );
    assert!(
        sum.failed == 0,
        "{} images failed, one of them:\n{}",
        sum.failed,
        sum.first_failed.unwrap().1
    );
}

/// How many images show the loss that a fault causes, and how many it takes to find it.
fn find_loss(name: &str, fault: Fault) {
    let figures = look(&LOADS[2], 0, 200, None, fault);
    figures.print(name);
    let (first, text) = figures.first_failed.expect("the fault is found");
    println!("found by image {}: {text}", first + 1);
    assert!(text.contains("  lost: "), "{text}");
}

#[test]
fn loss_is_found_where_commits_are_not_synced() {
    find_loss("NORMAL", Fault { synchronous: Some("NORMAL"), ..Fault::default() });
}

#[test]
fn loss_is_found_where_three_of_a_hundred_syncs_are_left_out() {
    find_loss("3 % left out", Fault { syncs_left_out: 3, ..Fault::default() });
}
