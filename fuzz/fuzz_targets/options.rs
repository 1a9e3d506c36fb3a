//! Any bytes as options, one a line: no crash, each within its limits, and what is answered 0 holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::protocol::fuzzing::options(bytes));
