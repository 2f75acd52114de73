//! Machines that are too small: few files to open, no time on the processor, no memory.

use super::cameras::{Cameras, small_clip};
use super::disk::{alerting, new_alerts, nothing_lost, whole};
use super::ear::{Ear, quantile};
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::daemon::Says;
use crate::program::Daemon;
use std::io::Write;
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
    // Numbers that are alike differ by some roots of themselves all the same.
    let alike = 2.0 * (least as f64 + (most as f64).sqrt()) >= most as f64;
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
        least > 0 && alike && again <= 5.0,
    ));
    daemon.stop();
    findings.extend(memory(row, scale));
    findings
}

/// Caps the memory of a process at so many bytes more than it has; whether that can be done.
fn cap_memory(pid: u32, more: u64) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap_or_default();
    let Ok(has) = line.trim().trim_end_matches(" kB").parse::<u64>() else { return false };
    let limit = (has << 10) + more;
    let mut prlimit = Command::new("prlimit");
    prlimit.arg("--pid").arg(pid.to_string()).arg(format!("--as={limit}:"));
    prlimit.output().is_ok_and(|said| said.status.success())
}

/// Whether a process of this one has ended and nobody has asked how.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z'))
}

/// Connections that want much and read nothing.
fn greedy(host: &str, number: usize) -> Vec<TcpStream> {
    let head = "POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let ask = |n: usize| {
        let mut stream = TcpStream::connect(host).ok()?;
        stream.set_nonblocking(true).ok()?;
        let body = vec![b' '; 256 << 10];
        // Refused or not: what matters is what it costs the other side.
        let _ = match n % 2 {
            0 => stream.write_all(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            _ => stream
                .write_all(format!("{head}Content-Length: 60000000\r\n\r\n").as_bytes())
                .and_then(|()| stream.write_all(&body)),
        };
        Some(stream)
    };
    (0..number).filter_map(ask).collect()
}

/// Little memory, and then none.
fn memory(row: Row, scale: Scale) -> Vec<Finding> {
    const SPARE: u64 = 256 << 20;
    let home = alerting("");
    let daemon = home.start();
    let (ear, began) = (Ear::new(&daemon), Instant::now());
    daemon.until("alerts", || (daemon.events("").len() > 3).then_some(()));
    if !cap_memory(daemon.pid(), SPARE) {
        return vec![row.not_run("memory cap", "prlimit is not there, or may not (package util-linux)")];
    }
    let host = daemon.address("").trim_start_matches("http://").to_owned();
    let flooded = Instant::now();
    let flood = greedy(&host, 400);
    let seconds = scale.pick(6, 30);
    std::thread::sleep(Duration::from_secs(seconds));
    let alerts = new_alerts(&ear, flooded + Duration::from_secs(1), Instant::now()).len();
    drop(flood);
    let alive = !has_ended(daemon.pid());
    let (figure, none) = match alive {
        true => nothing_lost(&daemon, &home, &ear, began, Duration::from_secs(20)),
        false => ("it ended".into(), false),
    };
    let mut findings = vec![row.finding(
        format!("{} MiB more than it has at most, 400 greedy connections: it goes on", SPARE >> 20),
        format!("{alerts} alerts in {seconds} s; {figure}"),
        alive && alerts > 0 && none,
    )];
    if !alive {
        return findings;
    }
    // None at all: it goes on without, or ends and says why; it does not hang, and nothing that was told is lost.
    cap_memory(daemon.pid(), 0);
    let (starved, flood) = (Instant::now(), greedy(&host, 400));
    while !has_ended(daemon.pid()) && starved.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(flood);
    let after = starved.elapsed().as_secs_f64();
    let (what, well) = match has_ended(daemon.pid()) {
        true => {
            let (.., log) = daemon.wait();
            let why = log.lines().rfind(|line| line.contains("memory")).unwrap_or("it does not say why");
            (format!("it ended after {after:.1} s (\"{why}\")"), log.contains("memory"))
        }
        false => {
            let heard = ear.first(Instant::now(), Duration::from_secs(30), |heard| heard.topic == "score");
            daemon.signal(rustix::process::Signal::KILL);
            daemon.wait();
            (if heard.is_some() { "it goes on" } else { "it hangs" }.to_owned(), heard.is_some())
        }
    };
    let daemon = home.start();
    let (figure, none) = nothing_lost(&daemon, &home, &ear, began, Duration::from_secs(20));
    findings.push(row.finding(
        "no memory at all: no deadlock; started again, nothing is lost",
        format!("{what}; {figure}"),
        well && none,
    ));
    daemon.stop();
    findings.push(whole(row, &home.path("data")));
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
