//! Cameras that hang: how soon that is seen, how soon they are analysed again, and whether others notice.

use super::cameras::{Cameras, small_clip};
use super::ear::{Ear, Others, quantile};
use super::{Finding, Row, Scale};
use crate::daemon::{Says, write_scorer};
use crate::program::Home;
use rand::RngExt;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What measuring itself may add, seconds: the last frame came before the fault, and the message takes its way.
pub const SLACK: f64 = 0.3;
pub const LONG: Duration = Duration::from_secs(60);

/// A home whose cameras are watched by a scorer that needs no learning; `more`: lines of `[detector]`, `cameras`: their
/// tables.
pub fn watched(says: Says, more: &str, cameras: &str) -> Home {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, says);
    home.configure(&format!("width = 96\nheight = 64\nscorer = \"always.onnx\"\n{more}"), cameras);
    home
}

/// A process that lies still for ten seconds and more, again and again.
pub fn hangs(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = small_clip(dir.path(), 10, scale.pick(60, 600));
    let (gate, others) = (Cameras::serve(&clip, 1), Cameras::serve(&clip, scale.pick(1, 4)));
    let home = watched(Says::Difference, "stride = 2", &(gate.tables("gate") + &others.tables("other")));
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    let (mut seen, mut back, mut late) = (vec![], vec![], Others::default());
    let mut random = rand::rng();
    for _ in 0..scale.pick(1, 12) {
        let scored = ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0"));
        scored.expect("the camera is analysed");
        let calm = Instant::now();
        std::thread::sleep(scale.pick(Duration::from_secs(1), Duration::from_secs(12)));
        let stopped = Instant::now();
        late.calm(ear.lateness("other", calm, stopped));
        gate.signal(Signal::STOP);
        let stalled = ear.first(stopped, LONG, |heard| heard.says("gate0", "stalled"));
        seen.push(stalled.expect("a stall is told").0.as_secs_f64());
        std::thread::sleep(Duration::from_millis(random.random_range(0..scale.pick(1000, 9000))));
        gate.signal(Signal::CONT);
        let returned = Instant::now();
        let again = ear.first(returned, LONG, |heard| heard.is_score_of("gate0"));
        back.push(again.expect("analysed again").0.as_secs_f64());
        late.trouble(ear.lateness("other", stopped, Instant::now()));
    }
    let (stall, p95, most) = (quantile(&seen, 1.0), quantile(&back, 0.95), quantile(&back, 1.0));
    let mut findings = vec![
        row.finding(
            format!("told as stalled <= 5 s (+ {SLACK} s of measuring)"),
            format!("{stall:.2} s at most, of {} stalls", seen.len()),
            stall <= 5.0 + SLACK,
        ),
        row.finding(
            "analysed again after its return: p95 <= 3 s, all <= 10 s",
            format!("p50 {:.2} s, p95 {p95:.2} s, {most:.2} s at most", quantile(&back, 0.5)),
            // Of one round there is no percentile.
            most <= 10.0 && (scale == Scale::Short || p95 <= 3.0),
        ),
    ];
    findings.extend(late.finding(row, scale));
    findings
}

#[test]
fn a_camera_that_hangs_is_told_and_is_analysed_when_it_returns() {
    super::short(1);
}
