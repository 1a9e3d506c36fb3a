//! What is made before the program is built: the words of `--version`, and the table of GB18030's
//! characters of two and four bytes, as the library `encoding_rs` has them: the program carries this table
//! alone, and not those of all other encodings.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use encoding_rs::GB18030;

/// Sequences of four bytes for the characters below U+10000.
const FOUR_BYTES: u32 = 39_420;

/// Ideographs, from U+4E00 on.
const IDEOGRAPHS: usize = 20_902;

/// Whether a place is of those that GBK added: the ideographs that GB2312 does not have, in the order
/// of Unicode.
fn is_ordered(lead: u8, trail: u8) -> bool {
    match lead {
        0x81..=0xA0 => true,
        0xAA..=0xFC => trail <= 0xA0,
        0xFD => trail <= 0x9B,
        _ => false,
    }
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=PUNCHD_BUILD={}", build());
    // For tests of an upgrade that is taken back: its store is of a later version.
    println!("cargo:rustc-check-cfg=cfg(later_schema)");
    println!("cargo:rerun-if-env-changed=PUNCHD_LATER_SCHEMA");
    if env::var_os("PUNCHD_LATER_SCHEMA").is_some() {
        println!("cargo:rustc-cfg=later_schema");
    }
    println!("cargo:rustc-env=PUNCHD_TARGET={}", env::var("TARGET").unwrap_or_default());
    write_gb18030();
}

/// Of what and for what the program is built. `PUNCHD_COMMIT` names the commit where there is no git.
fn build() -> String {
    println!("cargo:rerun-if-env-changed=PUNCHD_COMMIT");
    let variable = |name| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    // A program for tests is not built again for each commit.
    let commit = match env::var("PUNCHD_COMMIT") {
        Ok(commit) => format!("commit {commit}"),
        Err(_) if variable("PROFILE") != "release" => "debug build".into(),
        Err(_) => git_commit().map_or("commit not known".into(), |it| format!("commit {it}")),
    };
    let tls = if env::var_os("CARGO_FEATURE_TLS").is_some() { "with TLS" } else { "without TLS" };
    format!("{target}, {commit}, {tls}")
}

/// The commit that is checked out.
fn git_commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = output.status.success().then_some(output.stdout)?;
        Some(String::from_utf8(text).ok()?.trim().to_owned())
    };
    // It changes with each commit.
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn write_gb18030() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let write = |name: &str, values: Vec<u16>| {
        let bytes: Vec<u8> = values.into_iter().flat_map(u16::to_le_bytes).collect();
        fs::write(out.join(name), bytes).expect("OUT_DIR can be written");
    };
    let two = (0x81..=0xFE).flat_map(|lead| {
        let trails = (0x40..=0xFE).filter(|trail| *trail != 0x7F);
        trails.map(move |trail| (lead, trail, code_point(&[lead, trail]).unwrap_or(0)))
    });
    let (ordered, others): (Vec<_>, Vec<_>) =
        two.partition(|(lead, trail, _)| is_ordered(*lead, *trail));
    assert!(ordered.is_sorted_by(|before, after| before.2 < after.2), "they are in order");
    let mut bits = vec![0_u16; IDEOGRAPHS / 16 + 1];
    for (.., code) in ordered {
        let nth = usize::from(code) - 0x4E00;
        bits[nth / 16] |= 1 << (nth % 16);
    }
    write("gb18030-ordered.bin", bits);
    write("gb18030-others.bin", others.into_iter().map(|(.., code)| code).collect());
    // Of four bytes most follow one another: where a row of characters begins, and with which.
    let mut rows = Vec::new();
    let mut next = 0;
    for pointer in 0..FOUR_BYTES {
        let [a, b, c, d] =
            [pointer / 12_600, pointer / 1260 % 10, pointer / 10 % 126, pointer % 10];
        let bytes = [0x81 + a as u8, 0x30 + b as u8, 0x81 + c as u8, 0x30 + d as u8];
        let found = code_point(&bytes).unwrap_or(0);
        if u32::from(found) != next {
            rows.extend([pointer as u16, found]);
        }
        next = u32::from(found) + 1;
    }
    write("gb18030-four.bin", rows);
}

/// The character of these bytes, if they are one below U+10000.
fn code_point(bytes: &[u8]) -> Option<u16> {
    let text = GB18030.decode_without_bom_handling_and_without_replacement(bytes)?;
    let mut characters = text.chars();
    let first = characters.next()?;
    characters.next().is_none().then(|| u32::from(first).try_into().ok())?
}
