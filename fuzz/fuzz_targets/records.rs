//! Any bytes as a record of `DATA UPDATE`, or as the parts of a row: no crash, what was taken is one row,
//! and read again it is the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::protocol::fuzzing::records(bytes));
