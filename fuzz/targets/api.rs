//! See `attempts::api`.
#![no_main]

use sigmawatch_fuzz::{attempts, desk};
use std::sync::OnceLock;

static DESK: OnceLock<desk::Desk> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| attempts::api(DESK.get_or_init(desk::Desk::start).addr(), data));
