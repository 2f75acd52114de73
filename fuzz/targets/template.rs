//! See `attempts::template`.
#![no_main]

use sigmawatch_fuzz::attempts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| attempts::template(data));
