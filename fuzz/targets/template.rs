//! See `attempts::template`.
#![no_main]

#[path = "../attempts.rs"]
#[allow(dead_code)]
mod attempts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| attempts::template(data));
