//! Any bytes as the exchange of keys and as an encrypted answer: nothing is released that the server did not seal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::client::fuzzing::sealed(bytes));
