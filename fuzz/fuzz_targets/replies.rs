//! Any bytes as the reply to a command, and as the answer to it: one line each, and only OK is success.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::protocol::fuzzing::replies(bytes));
