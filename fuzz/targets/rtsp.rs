//! See `attempts::rtsp`.
#![no_main]

use sigmawatch_fuzz::attempts;
use std::sync::OnceLock;

static CAMERA: OnceLock<attempts::Camera> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    attempts::rtsp(CAMERA.get_or_init(attempts::Camera::start), data);
});
