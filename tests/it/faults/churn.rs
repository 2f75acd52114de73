//! Weeks of reconnects in minutes: cameras whose streams end after a second, again and again.

use super::cameras::{Cameras, small_clip};
use super::process::Holds;
use super::stalls::watched;
use super::{Finding, Row, Scale};
use crate::daemon::Says;
use crate::program::Daemon;
use std::time::{Duration, Instant};

/// A week of hourly reconnects of 64 cameras.
const WEEK: u64 = 10_752;

fn reconnects(daemon: &Daemon) -> u64 {
    let cameras = daemon.json("/api/cameras");
    let list = cameras["cameras"].as_array().or(cameras.as_array()).expect("a list");
    list.iter().map(|camera| camera["reconnects"].as_u64().expect("a number")).sum()
}

/// Lets so many reconnects happen; then what the daemon holds while nobody is connected. Where that is more than
/// `before`, it has some time to let go.
fn churn(daemon: &Daemon, cameras: &mut Cameras, number: u64, before: Option<Holds>) -> (u64, Holds) {
    let begun = reconnects(daemon);
    daemon.until("reconnects", || (reconnects(daemon) >= begun + number).then_some(()));
    cameras.kill();
    let counted = reconnects(daemon) - begun;
    // It goes on trying, and each trial holds something for a moment: what counts is what is always held.
    let (mut holds, ended) = (Holds::of(daemon.pid()), Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(50));
        holds = holds.at_least(Holds::of(daemon.pid()));
        let more = before.is_some_and(|before| !holds.no_more_than(before).1);
        if ended.elapsed() >= Duration::from_secs(if more { 30 } else { 4 }) {
            if more {
                println!("{}", Holds::names(daemon.pid()));
            }
            break;
        }
    }
    cameras.restart();
    (counted, holds)
}

pub fn soak(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let paths = scale.pick(24, 128);
    let mut cameras = Cameras::serve(&small_clip(dir.path(), 5, 1), paths);
    let home = watched(Says::Difference, "stride = 16", &cameras.tables("gate"));
    let mut command = home.command();
    command.env("SIGMAWATCH_LOG", "info,ort=warn,sigmawatch::frame::gst::stream=debug");
    let daemon = Daemon::start(command);
    let (_, before) = churn(&daemon, &mut cameras, scale.pick(24, 512), None);
    let began = Instant::now();
    let (mut counted, mut after) = (0, before);
    let wanted = scale.pick(40, WEEK);
    while counted < wanted {
        // In parts, so that none outlasts what a wait may.
        let (more, holds) = churn(&daemon, &mut cameras, (wanted - counted).min(1500), Some(before));
        (counted, after) = (counted + more, holds);
    }
    let (holds, no_more) = after.no_more_than(before);
    let log = daemon.log();
    let said = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    let (helped, left) = (said("had to be helped to let go"), said("leaving it behind"));
    let each = (after.resident - before.resident) / counted as f64;
    let mut findings = vec![row.finding(
        "open files and threads as before (+ 2)",
        format!("{holds}, {counted} reconnects; {helped} pipelines were freed, {left} left behind"),
        no_more,
    )];
    if scale == Scale::Whole {
        let figure = format!(
            "{each:.2} KiB each of {counted} in {:.0} s ({:.0} -> {:.0} MiB)",
            began.elapsed().as_secs_f64(),
            before.resident / 1024.0,
            after.resident / 1024.0
        );
        findings.push(row.finding("memory: <= 2 KiB a reconnect", figure, each <= 2.0));
    }
    findings
}

#[test]
fn reconnects_leave_nothing_behind() {
    super::short(23);
}
