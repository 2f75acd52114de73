//! Cameras that refuse a second session, and streams that arrive damaged: the daemon comes back, and stays.

use super::cameras::{Cameras, small_clip};
use super::ear::{Ear, quantile};
use super::process::Holds;
use super::proxy::{Mode, Proxy};
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::clips::render;
use crate::daemon::Says;
use crate::rtsp_camera::RtspCamera;
use std::time::{Duration, Instant};

fn through(proxy: &Proxy) -> String {
    format!(
        "[[camera]]\nname = \"gate0\"\nsource = \"rtsp\"\nlocation = \"rtsp://127.0.0.1:{}/0\"\nscene_change = \
         \"ignore\"\n",
        proxy.port
    )
}

/// A camera with room for one session: it frees that at a goodbye, else half a minute after the connection has gone.
pub fn refuses(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let camera = Cameras::serve(&small_clip(dir.path(), 10, 300), 1);
    let proxy = Proxy::before(camera.port, true);
    let home = watched(Says::Difference, "stride = 2", &through(&proxy));
    let daemon = home.start();
    let (ear, mut back) = (Ear::new(&daemon), vec![]);
    for _ in 0..scale.pick(1, 5) {
        ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0")).expect("analysed");
        // A connection that did not last is not made again at once.
        std::thread::sleep(scale.pick(Duration::ZERO, Duration::from_secs(12)));
        let silent = Instant::now();
        proxy.set(Mode::Silent);
        ear.first(silent, LONG, |heard| heard.says("gate0", "stalled")).expect("a stall is told");
        let told = Instant::now();
        proxy.set(Mode::Pass);
        let again = ear.first(told, LONG, |heard| heard.is_score_of("gate0"));
        back.push(again.map_or(f64::INFINITY, |(after, _)| after.as_secs_f64()));
    }
    let most = quantile(&back, 1.0);
    vec![row.finding(
        "TEARDOWN before the next session; analysed again <= 10 s",
        format!(
            "{} TEARDOWNs, {} refusals, back {most:.1} s at most of {}",
            proxy.teardowns(),
            proxy.refused(),
            back.len()
        ),
        proxy.teardowns() >= back.len() && most <= 10.0,
    )]
}

#[test]
fn a_camera_with_room_for_one_session_is_said_goodbye_to() {
    super::short(4);
}

/// Packets whose payload is damaged or cut short, for a while.
pub fn damaged(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let camera = Cameras::serve(&small_clip(dir.path(), 10, 600), 1);
    let proxy = Proxy::before(camera.port, false);
    let home = watched(Says::Difference, "stride = 2", &through(&proxy));
    let daemon = home.start();
    let (ear, mut findings) = (Ear::new(&daemon), vec![]);
    for (mode, what) in [(Mode::Damage, "payload damaged"), (Mode::Cut, "packets cut short")] {
        ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0")).expect("analysed");
        let before = Holds::of(daemon.pid());
        let lost = daemon.camera("gate0")["reconnects"].as_u64().unwrap_or(0);
        proxy.set(mode);
        std::thread::sleep(scale.pick(Duration::from_secs(5), Duration::from_secs(120)));
        proxy.set(Mode::Pass);
        let mended = Instant::now();
        // A group of pictures is a second, a segment one and a half.
        let again = ear.first(mended, LONG, |heard| heard.is_score_of("gate0"));
        let again = again.map_or(f64::INFINITY, |(after, _)| after.as_secs_f64());
        let after = Holds::of(daemon.pid());
        let grown = (after.resident - before.resident) / 1024.0;
        let lost = daemon.camera("gate0")["reconnects"].as_u64().unwrap_or(0) - lost;
        findings.push(row.finding(
            format!("{what}: no crash, <= 64 MiB more, analysed <= 5 s after"),
            format!("{lost} reconnects, {grown:+.0} MiB, analysed {again:.1} s after"),
            again <= 5.0 && grown <= 64.0,
        ));
    }
    findings.push(huge(row, scale));
    findings
}

/// A camera whose parameter sets claim 16384 x 16384 pixels, beside a good one.
fn huge(row: Row, scale: Scale) -> Finding {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = Cameras::serve(&small_clip(dir.path(), 10, 300), 1);
    let stream = dir.path().join("huge.h264");
    render(&format!(
        "videotestsrc num-buffers=600 ! video/x-raw,format=I420,width=160,height=120,framerate=10/1 ! \
         x264enc tune=zerolatency key-int-max=10 ! video/x-h264,stream-format=byte-stream,profile=baseline ! \
         filesink location={}",
        stream.display()
    ));
    let claims = claiming(&std::fs::read(&stream).expect("just written"), 16384 / 16);
    std::fs::write(&stream, claims).expect("written");
    // The set that claims so much says nothing of the rate.
    let pay = "video/x-h264,stream-format=byte-stream,framerate=10/1 ! h264parse ! rtph264pay name=pay0 pt=96 \
               config-interval=-1";
    let bad = RtspCamera::launch(&format!("filesrc location={} ! {pay}", stream.display()), 0);
    let table = format!("[[camera]]\nname = \"huge\"\nsource = \"rtsp\"\nlocation = \"{}\"\n", bad.url());
    let home = watched(Says::Difference, "stride = 2", &good.tables("gate"));
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0")).expect("analysed");
    std::thread::sleep(Duration::from_secs(5));
    let before = Holds::of(daemon.pid()).resident;
    let with = std::fs::read_to_string(home.path("config.toml")).expect("readable") + &table;
    std::fs::write(home.path("config.toml"), with).expect("written");
    daemon.signal(rustix::process::Signal::HUP);
    let says = || daemon.text("/api/cameras").contains("16384 x 16384 pixels are too large");
    let told = Instant::now();
    while !says() && told.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let named = says();
    let (mut most, from): (f64, _) = (0.0, Instant::now());
    while from.elapsed() < scale.pick(Duration::from_secs(5), Duration::from_secs(60)) {
        most = most.max(Holds::of(daemon.pid()).resident);
        std::thread::sleep(Duration::from_millis(20));
    }
    let scores = ear.all(from, |heard| heard.is_score_of("gate0")).len();
    let (grown, tries) =
        ((most - before) / 1024.0, daemon.camera("huge")["reconnects"].as_u64().unwrap_or(0));
    row.finding(
        "an SPS of 16k x 16k pixels: named, <= 64 MiB more, others analysed",
        format!("named: {named}, given up {tries} times, {grown:+.0} MiB at most, {scores} scores of another camera"),
        named && grown <= 64.0 && scores > 0,
    )
}

/// An H.264 byte stream with every sequence parameter set replaced by one of the baseline profile that claims so many
/// macroblocks each way (ITU-T H.264, 7.3.2.1.1).
fn claiming(stream: &[u8], macroblocks: u32) -> Vec<u8> {
    // Exp-Golomb (9.1): as many zeros as there are digits after the first, then the digits.
    let code = |value: u32| {
        let digits = (value + 1).ilog2();
        let zeros = std::iter::repeat_n(false, digits as usize);
        zeros.chain((0..=digits).rev().map(move |digit| (value + 1) >> digit & 1 == 1))
    };
    // Number 0, 16 frames in a cycle, picture order of type 2, one reference; no gaps; width, height.
    let mut bits: Vec<bool> = [0, 0, 2, 1].into_iter().flat_map(code).collect();
    bits.push(false);
    bits.extend([macroblocks - 1; 2].into_iter().flat_map(code));
    // Frames only, direct_8x8_inference, no cropping, no VUI; then the end mark.
    bits.extend([true, true, false, false, true]);
    let mut set = vec![0x67, 66, 0xc0, 62];
    for byte in bits.chunks(8) {
        let byte = byte.iter().enumerate().fold(0_u8, |all, (at, bit)| all | u8::from(*bit) << (7 - at));
        // Nothing in a unit may look like a start code (7.4.1.1).
        if byte <= 3 && set.ends_with(&[0, 0]) {
            set.push(3);
        }
        set.push(byte);
    }
    let mut out = vec![];
    let starts: Vec<_> = (0..stream.len() - 3).filter(|at| stream[*at..].starts_with(&[0, 0, 1])).collect();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).map_or(stream.len(), |end| *end);
        let nal = &stream[start + 3..end];
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(if nal[0] & 0x1f == 7 { &set } else { nal });
    }
    out
}

#[test]
fn damaged_streams_crash_nothing_and_are_analysed_when_they_are_whole() {
    super::short(6);
}
