//! What is to run, and what became of it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where programs are looked for.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The program, by its path or by its name in a fixed `PATH`, and its arguments.
    pub argv: Vec<OsString>,
    /// The environment besides `PATH`.
    pub env: Vec<(String, String)>,
    /// Most bytes of output; more ends the program.
    pub most_output: usize,
    /// How long it may run.
    pub time: Duration,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it. punchd sends one only by [`super::Processes::kill_all`].
    Killed(i32),
    /// It was killed because its time was over.
    TimedOut,
    /// It was killed because it wrote more than it may.
    TooMuch,
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    /// What it wrote to stdout and stderr, in one stream, up to its limit.
    pub output: Vec<u8>,
}

/// Whether a program could be started, by its path or by its name in the fixed `PATH`.
///
/// # Errors
/// For a person: it is not there, or nobody may execute it.
pub fn find(program: &str) -> Result<(), String> {
    let candidates: Vec<PathBuf> = match program.contains('/') {
        true => vec![Path::new("/").join(program)],
        false => PATH.split(':').map(|dir| Path::new(dir).join(program)).collect(),
    };
    let files: Vec<_> = candidates.iter().filter_map(|path| path.metadata().ok()).collect();
    if files.iter().any(|file| file.is_file() && file.permissions().mode() & 0o111 != 0) {
        return Ok(());
    }
    Err(match files.is_empty() {
        true if program.contains('/') => "is not there".into(),
        true => format!("is in none of the directories {PATH}"),
        false => "is not an executable file".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_it_would_be_started() {
        for program in ["sh", "/bin/sh", "bin/sh"] {
            assert_eq!(find(program), Ok(()), "{program}");
        }
        for (program, why) in [
            ("no-such-program", "is in none of the directories /usr/local/sbin:"),
            ("/no/such/program", "is not there"),
            ("/etc/passwd", "is not an executable file"),
            ("/etc", "is not an executable file"),
            ("", "is not an executable file"),
        ] {
            assert!(find(program).unwrap_err().starts_with(why), "{program}");
        }
    }
}
