//! Any bytes as a record of `DATA UPDATE`: no crash, and what was taken is one row.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::protocol::fuzzing::records(bytes));
