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

/// Lets so many reconnects happen; then what the daemon holds while nobody is connected.
fn churn(daemon: &Daemon, cameras: &mut Cameras, number: u64) -> (u64, Holds) {
    let begun = reconnects(daemon);
    daemon.until("reconnects", || (reconnects(daemon) >= begun + number).then_some(()));
    cameras.kill();
    // Connections end at once, and those that were being made soon.
    std::thread::sleep(Duration::from_secs(4));
    let counted = reconnects(daemon) - begun;
    let holds = Holds::of(daemon.pid());
    cameras.restart();
    (counted, holds)
}

pub fn soak(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let paths = scale.pick(24, 128);
    let mut cameras = Cameras::serve(&small_clip(dir.path(), 5, 1), paths);
    let home = watched(Says::Difference, "stride = 16", &cameras.tables("gate"));
    let daemon = home.start();
    let (_, before) = churn(&daemon, &mut cameras, scale.pick(24, 512));
    let began = Instant::now();
    let (mut counted, mut after) = (0, before);
    let wanted = scale.pick(40, WEEK);
    while counted < wanted {
        // In parts, so that none outlasts what a wait may.
        let (more, holds) = churn(&daemon, &mut cameras, (wanted - counted).min(1500));
        (counted, after) = (counted + more, holds);
    }
    let (holds, no_more) = after.no_more_than(before);
    let each = (after.resident - before.resident) / counted as f64;
    let mut findings = vec![row.finding(
        "open files and threads as before (+ 2)",
        format!("{holds}, {counted} reconnects"),
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
