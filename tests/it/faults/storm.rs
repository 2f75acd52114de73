//! All cameras reboot at once: how soon the last is back, and how many knock at a time.

use super::cameras::{Cameras, small_clip};
use super::ear::{Ear, Others, quantile};
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::daemon::Says;
use std::time::{Duration, Instant};

/// When each of so many cameras of that name was first scored after `since`, seconds; `None` where one was not.
fn analysed(ear: &Ear, name: &str, cameras: usize, since: Instant) -> Option<Vec<f64>> {
    let wait = |camera: usize| {
        let name = format!("{name}{camera}");
        ear.first(since, LONG, |heard| heard.is_score_of(&name)).map(|(after, _)| after.as_secs_f64())
    };
    (0..cameras).map(wait).collect()
}

pub fn reboots(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (number, rounds) = (scale.pick(12, 64), scale.pick(1, 3));
    let clip = small_clip(dir.path(), 5, scale.pick(60, 300));
    let (mut gates, others) = (Cameras::serve(&clip, number), Cameras::serve(&clip, 2));
    let tables = gates.tables("gate") + &others.tables("other");
    let home = watched(Says::Difference, "stride = 4", &tables);
    let began = Instant::now();
    let daemon = home.start();
    let ready = began.elapsed().as_secs_f64();
    let ear = Ear::new(&daemon);
    let (mut back, mut most, mut late) = (vec![], 0, Others::default());
    for _ in 0..rounds {
        analysed(&ear, "gate", number, Instant::now()).expect("all are analysed");
        let calm = Instant::now();
        // As long as the trouble.
        std::thread::sleep(scale.pick(Duration::from_secs(1), Duration::from_secs(40)));
        let killed = Instant::now();
        late.calm(ear.lateness("other", calm, killed));
        gates.kill();
        std::thread::sleep(scale.pick(Duration::from_secs(3), Duration::from_secs(30)));
        gates.restart();
        let returned = Instant::now();
        let all = analysed(&ear, "gate", number, returned).expect("all come back");
        back.extend(all);
        most = most.max(gates.most_waiting());
        late.trouble(ear.lateness("other", killed, Instant::now()));
    }
    let last = quantile(&back, 1.0);
    let mut findings = vec![
        row.finding(
            format!("cold start with {} cameras: ready <= 5 s", number + 2),
            format!("{ready:.2} s"),
            ready <= 5.0,
        ),
        row.finding(
            format!("all {number} analysed again <= 15 s after the last server is up"),
            format!("p50 {:.2} s, {last:.2} s at most, of {rounds} storms", quantile(&back, 0.5)),
            last <= 15.0,
        ),
        row.finding("16 at most connect at a time", format!("{most} at most"), most <= 16),
    ];
    findings.extend(late.finding(row, scale));
    findings
}

#[test]
fn cameras_that_reboot_at_once_are_all_back_soon() {
    super::short(3);
}
