//! Cables that are pulled, in a network of the test's own: packets are dropped, and nobody says goodbye.

use super::cameras::{Cameras, small_clip};
use super::ear::{Ear, Others, quantile};
use super::process::{self, Holds};
use super::stalls::{LONG, SLACK, watched};
use super::{Finding, Row, Scale, weather};
use crate::clips::render;
use crate::daemon::Says;
use rand::RngExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Changes what is dropped.
fn nft(rule: &str) {
    let done = Command::new("nft").arg(rule).status().expect("nft is there");
    assert!(done.success(), "nft {rule}");
}

/// Drops all to and from this port.
fn pull(port: u16) {
    nft("add table inet faults");
    nft("add chain inet faults in { type filter hook input priority 0; }");
    nft(&format!("add rule inet faults in tcp dport {port} drop"));
    nft(&format!("add rule inet faults in tcp sport {port} drop"));
}

/// A picture that stands still, over UDP, of whose packets some are lost.
pub fn loss(row: Row, scale: Scale) -> Vec<Finding> {
    let test = "faults::network::packets_that_are_lost_are_got_over";
    let lost = process::in_own_network(row, scale, test);
    // Their short form is a test of its own.
    let weather = if scale == Scale::Whole { weather::all(row, scale) } else { vec![] };
    [lost, weather].concat()
}

fn loss_inside(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = dir.path().join("still.mp4");
    render(&format!(
        "videotestsrc pattern=smpte num-buffers={} ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! \
         x264enc speed-preset=ultrafast key-int-max=10 bframes=0 ! h264parse ! mp4mux ! filesink location={}",
        scale.pick(600, 3000),
        clip.display()
    ));
    let gate = Cameras::serve(&clip, 1);
    let home = watched(Says::Difference, "stride = 2", &(gate.tables("gate") + "transport = \"udp\"\n"));
    let daemon = home.start();
    let (ear, mut findings) = (Ear::new(&daemon), vec![]);
    for percent in scale.pick(&[5][..], &[1, 5, 20]) {
        ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0")).expect("analysed");
        nft("add table inet faults");
        nft("add chain inet faults in { type filter hook input priority 0; }");
        nft(&format!("add rule inet faults in meta l4proto udp numgen random mod 100 < {percent} drop"));
        let from = Instant::now();
        std::thread::sleep(scale.pick(Duration::from_secs(6), Duration::from_secs(40)));
        nft("delete table inet faults");
        let mended = Instant::now();
        let again = ear.first(mended, LONG, |heard| heard.is_score_of("gate0"));
        let again = again.map_or(f64::INFINITY, |(after, _)| after.as_secs_f64());
        let scores = ear.all(from, |heard| heard.is_score_of("gate0") && heard.at < mended).len();
        findings.push(row.finding(
            format!("{percent} % lost: no crash; analysed <= 4 s after (2 groups, a segment)"),
            format!("{scores} scores meanwhile; analysed {again:.1} s after"),
            again <= 4.0,
        ));
    }
    findings
}

#[test]
fn packets_that_are_lost_are_got_over() {
    match process::inside() {
        Some(scale) => process::report(&loss_inside(super::row(5), scale)),
        None => super::short(5),
    }
}

pub fn cables(row: Row, scale: Scale) -> Vec<Finding> {
    let test = "faults::network::a_camera_whose_cable_is_pulled_is_told_and_is_analysed_when_it_is_back";
    process::in_own_network(row, scale, test)
}

fn cables_inside(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = small_clip(dir.path(), 10, scale.pick(60, 600));
    let (gate, others) = (Cameras::serve(&clip, 1), Cameras::serve(&clip, scale.pick(1, 4)));
    let home = watched(Says::Difference, "stride = 2", &(gate.tables("gate") + &others.tables("other")));
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    let (mut seen, mut back, mut late, mut before) = (vec![], vec![], Others::default(), None);
    for _ in 0..scale.pick(1, 12) {
        let scored = ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0"));
        scored.expect("the camera is analysed");
        let calm = Instant::now();
        std::thread::sleep(scale.pick(Duration::from_secs(1), Duration::from_secs(12)));
        before.get_or_insert(Holds::of(daemon.pid()));
        let pulled = Instant::now();
        late.calm(ear.lateness("other", calm, pulled));
        pull(gate.port);
        let stalled = ear.first(pulled, LONG, |heard| heard.says("gate0", "stalled"));
        seen.push(stalled.expect("a stall is told").0.as_secs_f64());
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..scale.pick(1000, 9000))));
        nft("delete table inet faults");
        let returned = Instant::now();
        let again = ear.first(returned, LONG, |heard| heard.is_score_of("gate0"));
        back.push(again.expect("analysed again").0.as_secs_f64());
        late.trouble(ear.lateness("other", pulled, Instant::now()));
    }
    // What is left of the last connection goes after its time.
    let settle = Instant::now();
    let before = before.expect("a round");
    while settle.elapsed() < Duration::from_secs(20) && !Holds::of(daemon.pid()).no_more_than(before).1 {
        std::thread::sleep(Duration::from_millis(100));
    }
    let (holds, no_more) = Holds::of(daemon.pid()).no_more_than(before);
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
            most <= 10.0 && (scale == Scale::Short || p95 <= 3.0),
        ),
        row.finding("no more open files and threads than before (+ 2)", holds, no_more),
    ];
    findings.extend(late.finding(row, scale));
    findings
}

#[test]
fn a_camera_whose_cable_is_pulled_is_told_and_is_analysed_when_it_is_back() {
    match process::inside() {
        Some(scale) => process::report(&cables_inside(super::row(2), scale)),
        None => super::short(2),
    }
}
