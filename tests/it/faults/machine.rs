//! Machines that are too small: few files to open, no time on the processor.

use super::cameras::{Cameras, small_clip};
use super::ear::{Ear, quantile};
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::daemon::Says;
use crate::program::Daemon;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The daemon with so few files.
fn with_few_files(command: &Command, files: u32) -> Command {
    let mut wrapped = Command::new("prlimit");
    wrapped.arg(format!("--nofile={files}:{files}")).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| wrapped.env(name, value));
    }
    wrapped.stdin(Stdio::null());
    wrapped
}

pub fn limits(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cameras = Cameras::serve(&small_clip(dir.path(), 10, 120), 4);
    let home = watched(Says::Difference, "stride = 2", &cameras.tables("gate"));
    let mut findings = vec![];
    if Command::new("prlimit").arg("--version").output().is_err() {
        findings.push(row.not_run("256 files at most", "prlimit is not installed (package util-linux)"));
    } else {
        let daemon = Daemon::start(with_few_files(&home.command(), 256));
        let ear = Ear::new(&daemon);
        ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate3")).expect("analysed");
        let host = daemon.address("").trim_start_matches("http://").to_owned();
        let flooded = Instant::now();
        let flood: Vec<_> = (0..400).filter_map(|_| TcpStream::connect(&host).ok()).collect();
        std::thread::sleep(scale.pick(Duration::from_secs(4), Duration::from_secs(20)));
        let scores = ear.all(flooded + Duration::from_secs(1), |heard| heard.topic == "score").len();
        let late = quantile(&ear.lateness("gate", flooded, Instant::now()), 1.0);
        let connections = flood.len();
        drop(flood);
        let asked = Instant::now();
        daemon.until("an answer", || (daemon.get("/healthz").status() == 200).then_some(()));
        let answered = asked.elapsed().as_secs_f64();
        let seconds = scale.pick(3.0, 19.0);
        findings.push(row.finding(
            "256 files, 400 connections: analysis goes on, answers <= 5 s after",
            format!(
                "{:.1} of 20 scores a second, {late:.2} s late at most; {connections} connections, answered after {answered:.1} s",
                scores as f64 / seconds
            ),
            scores as f64 / seconds > 15.0 && answered <= 5.0,
        ));
        daemon.stop();
    }
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate3")).expect("analysed");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
    let loaded = Instant::now();
    let mut load: Vec<_> = (0..8 * cores).map(|_| busy()).collect();
    std::thread::sleep(scale.pick(Duration::from_secs(6), Duration::from_secs(60)));
    let each: Vec<usize> =
        (0..4).map(|n| ear.all(loaded, |heard| heard.is_score_of(&format!("gate{n}"))).len()).collect();
    for child in &mut load {
        child.kill().expect("it ran");
        child.wait().expect("a child of this process");
    }
    let (least, most) = (each.iter().min().copied().unwrap_or(0), each.iter().max().copied().unwrap_or(0));
    let eased = Instant::now();
    let again =
        ear.first(eased + Duration::from_secs(1), LONG, |heard| heard.topic == "score" && heard.late < 0.5);
    let again = again.map_or(f64::INFINITY, |(after, _)| after.as_secs_f64() + 1.0);
    findings.push(row.finding(
        "8 busy processes a core: all cameras alike, no deadlock, in time again <= 5 s after",
        format!(
            "{least} to {most} scores a camera; in time {again:.1} s after; reconnects {}",
            reconnects(&daemon)
        ),
        least > 0 && least * 2 >= most && again <= 5.0,
    ));
    findings.push(row.not_run("memory cap", "no cgroup of its own to cap memory with"));
    findings
}

fn reconnects(daemon: &Daemon) -> u64 {
    let list = daemon.json("/api/cameras");
    list.as_array().expect("a list").iter().filter_map(|camera| camera["reconnects"].as_u64()).sum()
}

#[test]
fn a_machine_that_is_too_small_slows_all_alike_and_stops_nothing() {
    super::short(22);
}
