//! Processes beside the daemon: those that decode isolated cameras crash or hang, the one that learns hangs.

use super::cameras::{Cameras, small_clip};
use super::ear::{Ear, Others, quantile};
use super::process::Holds;
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::daemon::{Says, write_scorer};
use crate::program::{Daemon, Home};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

pub fn all(row: Row, scale: Scale) -> Vec<Finding> {
    [learner(row), decoders(row, scale)].concat()
}

fn learner(row: Row) -> Vec<Finding> {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Difference);
    home.configure(
        "width = 96\nheight = 64\nwatch_for = \"60s\"",
        "[[camera]]\nname = \"pupil\"\nsource = \"synthetic\"\nreal_time = false\n\
         [[camera]]\nname = \"other\"\nsource = \"synthetic\"\nscene_change = \"ignore\"\n\
         detector.scorer = \"always.onnx\"\ndetector.stride = 2\n",
    );
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    let first = daemon.until("the learning process", || daemon.children().first().copied());
    let pid = Pid::from_raw(first).expect("a process");
    kill_process(pid, Signal::STOP).expect("it runs");
    let stopped = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    let meanwhile = ear.all(stopped, |heard| heard.is_score_of("other")).len();
    kill_process(pid, Signal::KILL).expect("it was there");
    let killed = Instant::now();
    let gone = daemon.until("the next learning process", || {
        let now = daemon.children();
        let armed = daemon.camera("pupil")["detectors"][0]["learning"]["state"] == "armed";
        (armed || now.iter().any(|child| *child != first)).then_some(killed.elapsed())
    });
    let scores = ear.first(killed, LONG, |heard| heard.is_score_of("other"));
    vec![row.finding(
        "the learning process hangs, is killed: others go on, it is tried again <= 60 s",
        format!("{meanwhile} scores in the 3 s that it hung; tried again after {:.1} s", gone.as_secs_f64()),
        meanwhile >= 5 && scores.is_some() && gone <= Duration::from_secs(60),
    )]
}

/// The process that decodes the camera at this address.
fn decoder(daemon: &Daemon, url: &str) -> Option<Pid> {
    let of = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == url.as_bytes())
    };
    daemon.children().into_iter().find(of).and_then(Pid::from_raw)
}

/// KiB of its own that a process has in memory: what is shared with others counts in parts.
fn proportional(pid: Pid) -> f64 {
    let text =
        std::fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero())).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn decoders(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = small_clip(dir.path(), 10, scale.pick(60, 600));
    let (gate, others) = (Cameras::serve(&clip, 1), Cameras::serve(&clip, scale.pick(1, 4)));
    let home = watched(
        Says::Difference,
        "stride = 2",
        &(gate.tables("gate") + "isolate = true\n" + &others.tables("other")),
    );
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    let (mut findings, mut late) = (vec![], Others::default());
    let mut before = None;
    for (signal, what, most) in [
        // What Rust does at SIGSEGV waits for the fault to come again, which from outside it does not.
        (Signal::ABORT, "crashes: analysed again <= 3 s", 3.0),
        (Signal::STOP, "hangs: killed, analysed again <= 10 s", 10.0),
    ] {
        let mut back = vec![];
        for _ in 0..scale.pick(1, 10) {
            let scored = ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0"));
            scored.expect("the camera is analysed");
            let calm = Instant::now();
            // A connection that did not last is not made again at once.
            std::thread::sleep(scale.pick(Duration::from_secs(1), Duration::from_secs(12)));
            before.get_or_insert(Holds::of(daemon.pid()));
            let pid = decoder(&daemon, &gate.url(0)).expect("a process that decodes it");
            late.calm(ear.lateness("other", calm, Instant::now()));
            kill_process(pid, signal).expect("it runs");
            let killed = Instant::now();
            let lost = if signal == Signal::STOP { "stalled" } else { "lost" };
            let told = ear.first(killed, LONG, |heard| heard.says("gate0", lost));
            let (told, _) = told.expect("that it is lost is told");
            let again = ear.first(killed + told, LONG, |heard| heard.is_score_of("gate0"));
            back.push((told + again.expect("analysed again").0).as_secs_f64());
            assert!(decoder(&daemon, &gate.url(0)).is_some_and(|now| now != pid), "a new process");
            late.trouble(ear.lateness("other", killed, Instant::now()));
        }
        let (p50, last) = (quantile(&back, 0.5), quantile(&back, 1.0));
        findings.push(row.finding(
            format!("a process that decodes {what}"),
            format!("p50 {p50:.2} s, {last:.2} s at most, of {}", back.len()),
            last <= most,
        ));
    }
    let pid = decoder(&daemon, &gate.url(0)).expect("a process that decodes it");
    let (holds, no_more) = Holds::of(daemon.pid()).no_more_than(before.expect("a round"));
    findings.push(row.finding(
        "no more open files and threads than before (+ 2)",
        format!("{holds}; the process has {:.1} MiB of its own", proportional(pid) / 1024.0),
        no_more,
    ));
    findings.extend(late.finding(row, scale));
    findings
}

#[test]
fn processes_that_hang_or_die_harm_nobody_and_are_started_again() {
    super::short(9);
}
