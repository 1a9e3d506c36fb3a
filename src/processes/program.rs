//! What is to run, and what became of it.

use std::ffi::OsString;
use std::time::Duration;

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
