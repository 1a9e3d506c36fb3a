use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::{Random, Recording};

/// A directory that goes away with the test.
struct TestDir(PathBuf);

impl TestDir {
    fn new(name: &str) -> Self {
        let name = format!("punchd-recorded-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_synced_stays_and_each_piece_of_the_rest_comes_and_goes() {
    let dir = TestDir::new("sync");
    let recording = Recording::start(&dir.0);
    let file = File::create(dir.0.join("a")).unwrap();
    file.write_all_at(&[1; 8192], 0).unwrap();
    file.sync_all().unwrap();
    File::open(&dir.0).unwrap().sync_all().unwrap();
    file.write_all_at(&[2; 8192], 4096).unwrap();
    file.write_all_at(&[3; 512], 4096).unwrap();
    recording.settle();
    let mut random = Random::new(1);
    let images: Vec<_> = (0..400).map(|_| recording.power_cut(&mut random)).collect();
    let content = |nth: usize| &images[nth].files["a"];
    assert!((0..400).all(|nth| content(nth)[..4096] == [1; 4096]));
    // The first sector that was not synced is as it was after any of the writes, and the end of the file
    // is where it was, or where it came, with zeros or with its bytes.
    let sectors: BTreeSet<u8> = (0..400).map(|nth| content(nth)[4096]).collect();
    assert_eq!(sectors, [1, 2, 3].into());
    let ends: BTreeSet<_> =
        (0..400).map(|nth| (content(nth).len(), content(nth).last().copied())).collect();
    for end in [(8192, Some(1)), (8192, Some(2)), (12_288, Some(0)), (12_288, Some(2))] {
        assert!(ends.contains(&end), "{end:?} is not among {ends:?}");
    }
}

#[test]
fn a_name_is_sure_only_when_the_directory_is_synced() {
    let dir = TestDir::new("names");
    let recording = Recording::start(&dir.0);
    let mut new = File::create(dir.0.join("new")).unwrap();
    new.write_all(b"text").unwrap();
    new.sync_all().unwrap();
    fs::rename(dir.0.join("new"), dir.0.join("old")).unwrap();
    let mut random = Random::new(2);
    let mut names = || -> BTreeSet<Vec<String>> {
        let images = (0..100).map(|_| recording.power_cut(&mut random));
        images.map(|image| image.files.into_keys().collect()).collect()
    };
    let (none, one) = (Vec::new(), |name: &str| vec![name.to_owned()]);
    assert_eq!(names(), [none, one("new"), one("old")].into());
    File::open(&dir.0).unwrap().sync_all().unwrap();
    assert_eq!(names(), [one("old")].into());
    fs::remove_file(dir.0.join("old")).unwrap();
    assert_eq!(names(), [Vec::new(), one("old")].into());
    recording.end();
}

#[test]
fn on_a_full_disk_no_file_grows() {
    let dir = TestDir::new("full");
    let recording = Recording::start(&dir.0);
    let file = File::create(dir.0.join("a")).unwrap();
    file.write_all_at(&[1; 100], 0).unwrap();
    recording.set_full(true);
    let full = [
        file.write_all_at(&[2; 2], 99),
        file.set_len(101),
        File::create(dir.0.join("b")).map(drop),
    ];
    assert!(full.iter().all(|result| {
        result.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull)
    }));
    file.write_all_at(&[2; 100], 0).unwrap();
    recording.set_full(false);
    file.write_all_at(&[3; 100], 100).unwrap();
    recording.end();
}

#[test]
fn what_sqlite_does_is_on_the_tape() {
    let dir = TestDir::new("sqlite");
    let recording = Recording::start(&dir.0);
    let db = rusqlite::Connection::open(dir.0.join("db")).unwrap();
    db.execute_batch("CREATE TABLE a (b); PRAGMA journal_mode = WAL; INSERT INTO a VALUES (1);")
        .unwrap();
    drop(db);
    let tape = recording.end();
    assert!(tape.changes.len() > 20, "{:?}", tape.changes);
}
