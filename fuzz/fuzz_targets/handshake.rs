//! Any bytes as a handshake reply: no crash, and no option outside its limits.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::protocol::fuzzing::handshake(bytes));
