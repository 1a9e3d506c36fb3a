//! Any bytes as the store, and any change to a valid one: no crash and no hang, and damage is told.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::store::fuzzing::file(bytes));
