//! See `attempts::config`.
#![no_main]

use sigmawatch_fuzz::attempts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| attempts::config(data));
