//! Cameras that refuse a second session, and streams that arrive damaged: the daemon comes back, and stays.

use super::cameras::{Cameras, small_clip};
use super::ear::{Ear, quantile};
use super::process::Holds;
use super::proxy::{Mode, Proxy};
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::daemon::Says;
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
    findings.push(row.not_run("an SPS of 16k x 16k pixels", "no such stream is made here"));
    findings
}

#[test]
fn damaged_streams_crash_nothing_and_are_analysed_when_they_are_whole() {
    super::short(6);
}
