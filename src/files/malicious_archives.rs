//! Malicious archives: each is refused with its reason, and no file is changed.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tar::EntryType;

use super::test_fixtures::{LIMITS, TestDir, file, gzip, gzip_of, member, tar, tgz};
use super::{ArchiveLimits, FileError, open_list, unpack};

/// Unpacks, and expects a refusal with this message and no changed file.
fn refused(what: &str, test_dir: &TestDir, tgz: &[u8], message: &str) -> FileError {
    let before = test_dir.listing();
    let error = test_dir.unpack(tgz, &LIMITS).unwrap_err();
    assert!(error.to_string().contains(message), "{what}: {error}");
    assert_eq!(test_dir.listing(), before, "{what}");
    error
}

fn pax(records: &str) -> Vec<u8> {
    let size = records.len() as u64;
    member(b"pax", EntryType::XHeader, size, records.as_bytes())
}

#[test]
fn members_that_break_a_rule_are_refused_and_nothing_is_changed() {
    let one = |name: &[u8], kind| vec![member(name, kind, 0, b"")];
    let cases: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("parent", vec![file("../x", "1")], "../x has . or .. in it"),
        ("parent inside", vec![file("a/../../x", "1")], ". or .."),
        ("parent as directory", one(b"..", EntryType::Directory), ". or .."),
        ("absolute", vec![file("/tmp/x", "1")], "absolute"),
        ("symbolic link", one(b"link", EntryType::Symlink), "link is a link"),
        ("hard link", one(b"link", EntryType::Link), "is a link"),
        ("GNU long link", one(b"link", EntryType::GNULongLink), "is a link"),
        ("char device", one(b"null", EntryType::Char), "is a device"),
        ("block device", one(b"sda", EntryType::Block), "is a device"),
        ("FIFO", one(b"pipe", EntryType::Fifo), "is a FIFO"),
        ("sparse", one(b"sparse", EntryType::GNUSparse), "sparse"),
        ("contiguous", one(b"x", EntryType::Continuous), "unknown kind"),
        ("unknown kind", one(b"x", EntryType::new(b'?')), "unknown kind"),
        ("PAX sparse", vec![pax("22 GNU.sparse.major=1\n"), file("x", "1")], "sparse"),
        ("PAX size", vec![pax("10 size=9\n"), file("x", "1")], "two different sizes"),
        ("PAX path out", vec![pax("13 path=../x\n"), file("x", "1")], "../x has"),
        ("PAX without member", vec![pax("10 path=a\n")], "cut off"),
        ("PAX damaged", vec![pax("99 path=a\n"), file("x", "1")], "pax"),
        ("PAX twice", vec![pax("10 path=a\n"), pax("10 path=b\n"), file("x", "1")], "two headers"),
        (
            "global path",
            vec![member(b"g", EntryType::XGlobalHeader, 10, b"10 path=a\n"), file("x", "1")],
            "global",
        ),
        (
            "GNU name out",
            vec![member(b"@", EntryType::GNULongName, 5, b"../x\0"), file("x", "1")],
            "../x has",
        ),
        (
            "GNU name with NUL",
            vec![member(b"@", EntryType::GNULongName, 3, b"a\0b"), file("x", "1")],
            "control",
        ),
        (
            "GNU name without end",
            vec![member(b"@", EntryType::GNULongName, 1 << 40, b"a")],
            "64 KiB",
        ),
        ("newline", vec![file("a\nb", "1")], "control"),
        ("not UTF-8", one(b"\xff\xfe", EntryType::Regular), "UTF-8"),
        ("no name", one(b"./", EntryType::Symlink), "is a link"),
        ("file without name", vec![file(".", "1")], "has no name"),
        ("too deep", vec![file(&"d/".repeat(40), "")], "32"),
        ("ours", vec![file(".punchd-put", "1")], "own"),
        ("twice", vec![file("a", "1"), file("./a", "2")], "comes twice"),
        ("file, then directory", vec![file("a", "1"), file("a/b", "2")], "a file and a directory"),
        ("directory, then file", vec![file("a/b", "1"), file("a", "2")], "a file and a directory"),
        ("2^60 bytes", vec![member(b"a", EntryType::Regular, 1 << 60, b"1")], "more than"),
        ("2^64 - 1 bytes", vec![member(b"a", EntryType::Regular, u64::MAX, b"1")], "more than"),
        ("directory with contents", vec![file("a/", "1")], "contents"),
        ("directory for a file", one(b"old/file", EntryType::Directory), "by a directory"),
        ("below a file", vec![file("old/file/x", "1")], "by a directory"),
        ("file for a directory", vec![file("old", "1")], "by a file"),
        ("good, then bad", vec![file("new", "1"), file("../x", "1")], ". or .."),
        ("nothing", vec![], "it is empty"),
    ];
    let test_dir = TestDir::new();
    for (what, members, message) in cases {
        refused(what, &test_dir, &tgz(&members), message);
    }
}

#[test]
fn archives_that_are_damaged_are_refused_and_nothing_is_changed() {
    let test_dir = TestDir::new();
    let good = tar(&[file("a", "one"), file("b/c", &"two".repeat(1_000))]);
    let whole = gzip(&good);
    for length in [0, 1, 5, 10, 30, whole.len() - 9, whole.len() - 8, whole.len() - 1] {
        refused(&format!("gzip of {length} bytes"), &test_dir, &whole[..length], "cut short");
    }
    for length in [100, 512, 514, 1_024, 1_100, 1_600, 3_000, 4_300] {
        // A tar without its end marker is allowed to end behind any member.
        if length != 1_024 {
            let what = format!("tar of {length} bytes");
            refused(&what, &test_dir, &gzip(&good[..length]), "cut short");
        }
    }
    let mut bad_sum = whole.clone();
    let at = whole.len() - 8;
    bad_sum[at] ^= 1;
    let mut bad_header = good.clone();
    bad_header[1] ^= 1;
    let behind = |more: &[u8]| [&whole[..], more].concat();
    for (what, tgz, message) in [
        ("CRC", bad_sum, "checksum"),
        ("header", gzip(&bad_header), "damaged"),
        ("no gzip", good.clone(), "gzip header"),
        ("garbage behind the gzip", behind(b"x"), "behind its end"),
        ("garbage behind zeros", behind(&[&[0; 9_000][..], b"x"].concat()), "behind its end"),
        ("garbage behind the tar", behind(&gzip(b"x")), "behind its end"),
        ("empty parts", gzip(b"").repeat(1_000), "without a byte"),
    ] {
        refused(what, &test_dir, &tgz, message);
    }
    assert_eq!(test_dir.unpack(&behind(&[0; 9_000]), &LIMITS).unwrap(), 3_003);
    let (one, two) = good.split_at(700);
    let parts = [gzip(one), gzip(b""), gzip(two)].concat();
    assert_eq!(test_dir.unpack(&parts, &LIMITS).unwrap(), 3_003);
    assert_eq!(fs::read_to_string(test_dir.path("in/a")).unwrap(), "one");
}

#[test]
fn archives_that_are_too_large_are_refused_early() {
    const SIZE: usize = 200 * 1024 * 1024;
    let zeros = gzip_of(|gzip| {
        gzip.write_all(&member(b"zeros", EntryType::Regular, SIZE as u64, b""))?;
        (0..SIZE / 65_536).try_for_each(|_| gzip.write_all(&[0; 65_536]))
    });
    let many = gzip_of(|gzip| {
        (0..100_000).try_for_each(|nth| gzip.write_all(&file(&format!("{nth}"), "")))
    });
    let deep = tgz(&(0..100)
        .map(|nth| file(&format!("{nth}{}", "/d".repeat(30)), ""))
        .collect::<Vec<_>>());
    let headers = gzip_of(|gzip| {
        (0..100_000)
            .try_for_each(|_| gzip.write_all(&member(b"g", EntryType::XGlobalHeader, 0, b"")))
    });
    let any_size = ArchiveLimits { bytes: u64::MAX, ..LIMITS };
    let any_ratio = ArchiveLimits { ratio: u64::MAX, ..LIMITS };
    let full = ArchiveLimits { free: u64::MAX, ..LIMITS };
    let test_dir = TestDir::new();
    let before = test_dir.listing();
    for (what, tgz, limits, most_yields, message) in [
        ("size claimed", &zeros, LIMITS, 5, "holds more than 67108864 bytes"),
        ("ratio", &zeros, any_size, 400, "times its size"),
        ("both", &many, LIMITS, 20, "more than 1000 members"),
        ("names of directories", &deep, any_ratio, 20, "more than 1000 members"),
        ("global headers", &headers, any_ratio, 20, "more than 1000 members"),
        ("no room", &tgz(&[file("a", "1")]), full, 5, "must stay free"),
    ] {
        let part = test_dir.part(tgz);
        let mut count = 0;
        let mut yield_now = || {
            count += 1;
            Ok(())
        };
        let error =
            unpack(&part, &test_dir.find("in/").unwrap(), &limits, &mut yield_now).unwrap_err();
        assert!(error.to_string().contains(message), "{what}: {error}");
        assert!(matches!(error, FileError::TooLarge(_) | FileError::NoRoom(_)), "{what}");
        assert!(count <= most_yields, "{what}: {count} yields");
        assert_eq!(test_dir.listing(), before, "{what}");

        let mut list = io::sink();
        let read = open_list(&part, &ArchiveLimits { bytes: 1 << 20, ..limits })
            .and_then(|mut lines| Ok(io::copy(&mut lines, &mut list)?));
        assert!(what == "no room" || what == "names of directories" || read.is_err(), "{what}");
    }
}

#[test]
fn links_in_the_directory_are_never_followed() {
    let test_dir = TestDir::new();
    symlink("../out", test_dir.path("in/dir")).unwrap();
    symlink("../out/secret", test_dir.path("in/file")).unwrap();
    symlink("../out/none", test_dir.path("in/dangling")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        test_dir.path("in/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for name in ["dir/secret", "dir/new", "dir/a/b", "file", "dangling"] {
        refused(name, &test_dir, &tgz(&[file("a", "1"), file(name, "1")]), "symbolic link");
    }
    refused(
        "dir",
        &test_dir,
        &tgz(&[member(b"dir", EntryType::Directory, 0, b"")]),
        "symbolic link",
    );
    refused("pipe", &test_dir, &tgz(&[file("pipe", "1")]), "FIFO");
}

#[test]
fn a_link_that_appears_meanwhile_is_not_followed() {
    let test_dir = TestDir::new();
    // Large enough for a call of `yield_now` in the second pass, which swaps the directory.
    let contents: String = (0..100_000).map(|nth| format!("{}", nth * 7_919)).collect();
    let part = test_dir.part(&tgz(&[file("old/secret", "new"), file("large", &contents)]));
    let staged = test_dir.path("in/.punchd-unpack/large");
    let mut swap = || {
        if staged.exists() && test_dir.path("in/old").is_dir() {
            let _ = fs::remove_dir_all(test_dir.path("in/old"));
            let _ = symlink(test_dir.path("out"), test_dir.path("in/old"));
        }
        Ok(())
    };
    unpack(&part, &test_dir.find("in/").unwrap(), &LIMITS, &mut swap).unwrap_err();
    assert!(test_dir.path("in/old").is_symlink());
    assert_eq!(fs::read_to_string(test_dir.path("out/secret")).unwrap(), "secret");
    assert!(!test_dir.path("in/.punchd-unpack").exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random bytes, plain, in a gzip, or as changes of a valid archive: no panic, and no file
    /// outside is changed.
    #[test]
    fn random_bytes_change_nothing_outside(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        changes in proptest::collection::vec((0..4_096usize, any::<u8>()), 0..4),
        form in 0..4,
    ) {
        let good = [
            member(b"@", EntryType::GNULongName, 4, b"l/x\0"),
            file("x", "1"),
            pax("12 path=l/y\n"),
            file("y", "2"),
        ];
        let mut good = tar(&good);
        for (at, value) in changes {
            let at = at % good.len();
            good[at] = value;
            // The checksum is corrected, so that the code behind its check is tested, too.
            let mut header = tar::Header::new_old();
            let start = at / 512 * 512;
            header.as_mut_bytes().copy_from_slice(&good[start..start + 512]);
            if start.is_multiple_of(1_024) {
                header.set_cksum();
            }
            good[start..start + 512].copy_from_slice(header.as_bytes());
        }
        let tgz = match form {
            0 => bytes,
            1 => gzip(&bytes),
            2 => [&[0x1f, 0x8b, 8, 0][..], &bytes].concat(),
            _ => gzip(&good),
        };
        let test_dir = TestDir::new();
        let before = test_dir.listing();
        let done = test_dir.unpack(&tgz, &LIMITS);
        let mut after = test_dir.listing();
        if done.is_ok() {
            after.retain(|path, _| !path.starts_with(test_dir.path("in")) || before.contains_key(path));
        }
        prop_assert_eq!(after, before);
        if let Ok(mut lines) = open_list(&test_dir.part(&tgz), &LIMITS) {
            let mut all = Vec::new();
            let _ = lines.read_to_end(&mut all);
        }
    }
}
