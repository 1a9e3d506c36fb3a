//! Any bytes as a command list: no crash, and the same commands however it is cut into chunks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::protocol::fuzzing::commands(bytes));
