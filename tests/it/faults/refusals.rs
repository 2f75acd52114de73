//! Disks that refuse: fsync fails, or the file system can only be read; nothing is acknowledged that is not on disk.

use super::disk::{alerting, failing, meanwhile, new_alerts, nothing_lost, on_own_disk, recovered, whole};
use super::ear::Ear;
use super::{Finding, Row, Scale, root};
use crate::program::{Daemon, Home};
use rustix::process::Signal;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The daemon on a disk that refuses what it is told to refuse.
struct Refusing {
    home: Home,
    daemon: Daemon,
}

impl Refusing {
    /// `None` where the library that refuses cannot be had.
    fn start(camera: &str) -> Option<Self> {
        let home = alerting(camera);
        std::fs::create_dir(home.path("refused")).expect("a new folder");
        let library = home.path("refusing.so");
        let source = root().join("tests/it/faults/refusing_disk.c");
        let mut built = Command::new("cc");
        built.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        if !built.stdin(Stdio::null()).output().is_ok_and(|built| built.status.success()) {
            return None;
        }
        let mut command = home.command();
        command.env("LD_PRELOAD", library).env("REFUSING_FOLDER", home.path("data"));
        command.env("REFUSING_SAYS", home.path("refused"));
        Some(Self { daemon: Daemon::start(command), home })
    }

    fn refuse(&self, what: &str) {
        File::create(self.home.path("refused").join(what)).expect("made");
    }

    fn take(&self, what: &str) {
        std::fs::remove_file(self.home.path("refused").join(what)).expect("it refused");
    }

    fn sink(&self) -> String {
        std::fs::read_to_string(self.home.path("told.jsonl")).unwrap_or_default()
    }
}

/// How long so many fsyncs take on this disk now, seconds.
fn fsyncs(home: &Home, number: u64) -> f64 {
    let mut file = File::create(home.path("ballast")).expect("made");
    let began = Instant::now();
    for _ in 0..number {
        file.write_all(&[0; 8192]).and_then(|()| file.sync_data()).expect("written");
    }
    began.elapsed().as_secs_f64()
}

/// Refuses for a while; what is told meanwhile, to whom, and what is there afterwards.
fn refused(row: Row, scale: Scale, what: &str, says: &str) -> Vec<Finding> {
    let Some(disk) = Refusing::start("clips = true\nclip_before = \"1s\"\nclip_after = \"1s\"\n") else {
        return vec![row.not_run("it can be tried", "no library is built (cc is not installed)")];
    };
    let Refusing { home, daemon } = &disk;
    let (ear, began) = (Ear::new(daemon), Instant::now());
    daemon.until("alerts that a sink was told", || (disk.sink().lines().count() > 3).then_some(()));
    let mut findings = vec![];
    for _ in 0..scale.pick(1, 3) {
        disk.refuse(what);
        daemon.until("a store that fails", || failing(daemon));
        // What was on its way was told meanwhile.
        std::thread::sleep(Duration::from_secs(1));
        let (from, told) = (Instant::now(), disk.sink());
        std::thread::sleep(scale.pick(Duration::from_secs(6), Duration::from_secs(30)));
        findings = meanwhile(row, daemon, &ear, from, says);
        let alerts = new_alerts(&ear, from, Instant::now());
        let early = disk.sink()[told.len()..].lines().count();
        findings.push(row.finding(
            format!("{what}: sinks are told of nothing that is not on disk"),
            format!("{early} lines of {} alerts", alerts.len()),
            early == 0 && alerts.len() > 1,
        ));
        let waiting = daemon.json("/api/store")["waiting"].as_u64().unwrap_or(0);
        let lifted = Instant::now();
        disk.take(what);
        let took = recovered(daemon, lifted);
        // Each change is made safe by itself: on a disk that has much to do that takes its time.
        let patience = 5.0_f64.max(3.0 * fsyncs(home, waiting));
        let (figure, none) = nothing_lost(daemon, home, &ear, began, Duration::from_secs(20));
        findings.push(row.finding(
            format!("{what} ends: all is written without a restart, <= 5 s, or what so many fsyncs take"),
            format!("after {took:.1} s of {patience:.1} s, {waiting} changes; {figure}"),
            none && took <= patience,
        ));
        if findings.iter().any(|finding| finding.outcome == super::Outcome::Fail) {
            return findings;
        }
    }
    // Killed while it lasts: what was told as stored is there, and the file is whole.
    disk.refuse(what);
    daemon.until("a store that fails", || failing(daemon));
    std::thread::sleep(Duration::from_secs(2));
    let stored: Vec<String> = (new_alerts(&ear, began, Instant::now()).iter())
        .filter(|alert| alert["stored"] == true)
        .map(|alert| alert["id"].as_str().expect("an id").to_owned())
        .collect();
    daemon.signal(Signal::KILL);
    let Refusing { home, daemon } = disk;
    daemon.wait();
    findings.push(whole(row, &home.path("data")));
    let daemon = home.start();
    let there = |id: &&String| daemon.get(&format!("/api/events/{id}")).status() == 200;
    let kept = stored.iter().filter(there).count();
    findings.push(row.finding(
        "killed meanwhile: what was told as stored is there",
        format!("{kept} of {}", stored.len()),
        kept == stored.len() && kept > 1,
    ));
    daemon.stop();
    findings
}

pub fn fsync(row: Row, scale: Scale) -> Vec<Finding> {
    refused(row, scale, "fsync", "fsync")
}

pub fn read_only(row: Row, scale: Scale) -> Vec<Finding> {
    let mut findings = refused(row, scale, "read-only", "can only be read");
    findings.push(started(row));
    findings
}

/// Started on a disk that can only be read.
fn started(row: Row) -> Finding {
    let expectation = "started on a read-only disk: refused, with cause and remedy";
    let home = alerting("");
    let Some(mut command) = on_own_disk(&home, "ro", &home.command()) else {
        return row.not_run(expectation, "no disk of its own (unshare -rm, or tmpfs in it, fails)");
    };
    let said = command.output().expect("the program runs");
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    let figure = text.trim().replace(&*home.path("").to_string_lossy(), "");
    let named = text.contains("Read-only file system") && text.contains("mount it for writing");
    row.finding(expectation, figure, named && !said.status.success())
}

#[test]
fn a_disk_whose_fsync_fails_has_nothing_acknowledged() {
    super::short(11);
}

#[test]
fn a_disk_that_can_only_be_read_takes_no_alert() {
    super::short_of(10, read_only);
}
