//! The program `iclock-emulator`.
fn main() {}
