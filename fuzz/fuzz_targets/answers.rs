//! Any bytes as an HTTP answer, in pieces of any size, on connections that are kept, closed or reset: no
//! crash, no hang, nothing that was cut off is complete, and no byte becomes a part of the next answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punchd::client::fuzzing::answers(bytes));
