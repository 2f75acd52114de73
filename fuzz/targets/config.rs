//! See `attempts::config`.
#![no_main]

#[path = "../attempts.rs"]
#[allow(dead_code)]
mod attempts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| attempts::config(data));
