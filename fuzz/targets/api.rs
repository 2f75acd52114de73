//! See `attempts::api`.
#![no_main]

#[path = "../attempts.rs"]
#[allow(dead_code)]
mod attempts;
#[path = "../../tests/it/desk.rs"]
#[allow(dead_code)]
mod desk;

use std::sync::OnceLock;

static DESK: OnceLock<desk::Desk> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| attempts::api(DESK.get_or_init(desk::Desk::start).addr(), data));
