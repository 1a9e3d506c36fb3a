//! Any bytes as an archive of `PutFile`: nothing is written elsewhere, and all of it or nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::client::fuzzing::archive(bytes));
