//! See `attempts::weights`.
#![no_main]

#[path = "../attempts.rs"]
#[allow(dead_code)]
mod attempts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| attempts::weights(data));
