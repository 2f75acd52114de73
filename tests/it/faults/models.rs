//! Models that fail: files that are none, scores that are no numbers or always the same.

use super::stalls::watched;
use super::{Finding, Row, Scale};
use crate::daemon::{Says, write_scorer};
use crate::program::{Daemon, Home};
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

const PLAZA: &str = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n";

/// Makes a file.
type Make<'a> = &'a dyn Fn(&Path);

/// What the program says of a scorer, and whether a signal ended it; it is stopped where it takes the file.
fn started(home: &Home) -> (String, bool) {
    let mut child = home.command().stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let errors = child.stderr.take().expect("piped");
    let began = Instant::now();
    let reader = std::thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default());
    let status = loop {
        if let Some(status) = child.try_wait().expect("asked") {
            break status;
        }
        if began.elapsed() > Duration::from_secs(4) {
            kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
            break child.wait().expect("it ends");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = reader.join().expect("reading does not panic");
    (said, std::os::unix::process::ExitStatusExt::signal(&status).is_some())
}

pub fn files(row: Row, scale: Scale) -> Vec<Finding> {
    let home = watched(Says::Difference, "", PLAZA);
    let file = home.path("always.onnx");
    let good = std::fs::read(&file).expect("read");
    let mut findings = vec![];
    let wrong_shape = |file: &Path| write_scorer(file, 160, 128, Says::Difference);
    let huge =
        |file: &Path| std::fs::File::create(file).and_then(|file| file.set_len(3 << 30)).expect("sparse");
    let cases: [(&str, Make); 5] = [
        ("no ONNX at all", &|file| std::fs::write(file, b"not a model").expect("written")),
        ("cut in the middle", &|file| std::fs::write(file, &good[..good.len() / 2]).expect("written")),
        ("empty", &|file| std::fs::write(file, b"").expect("written")),
        ("other shapes", &wrong_shape),
        ("3 GiB of nothing", &huge),
    ];
    for (what, make) in cases {
        make(&file);
        let began = Instant::now();
        let (said, crashed) = started(&home);
        let line = said.lines().rfind(|line| line.contains("always.onnx")).unwrap_or_default();
        let line: String = line.replace(&*file.to_string_lossy(), "always.onnx").chars().take(90).collect();
        let refused = !line.is_empty() && !said.contains("open http://");
        findings.push(row.finding(
            format!("{what}: refused with the reason, no crash"),
            format!("{:.1} s: {line}", began.elapsed().as_secs_f64()),
            refused && !crashed,
        ));
    }
    let (rounds, mut crashes, mut refusals) = (scale.pick(4, 40), 0, 0);
    let mut random = rand::rng();
    for _ in 0..rounds {
        let mut bytes = good.clone();
        for _ in 0..8 {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        std::fs::write(&file, bytes).expect("written");
        let (said, crashed) = started(&home);
        crashes += u32::from(crashed);
        refusals += u32::from(!said.contains("open http://"));
    }
    findings.push(row.finding(
        "random bytes changed: refused or run, no crash",
        format!("{crashes} crashes of {rounds}, {refusals} refused"),
        crashes == 0,
    ));
    findings
}

#[test]
fn model_files_that_are_wrong_are_refused_and_crash_nothing() {
    super::short(19);
}

pub fn scores(row: Row, scale: Scale) -> Vec<Finding> {
    let mut findings = vec![];
    let home = watched(Says::NotANumber, "", PLAZA);
    let (began, daemon) = (Instant::now(), home.start());
    let unhealthy = |daemon: &Daemon| daemon.metric("detectors_unhealthy ") == 1.0;
    daemon.until("a detector that is unhealthy", || unhealthy(&daemon).then_some(()));
    let after = began.elapsed().as_secs_f64();
    std::thread::sleep(scale.pick(Duration::from_secs(1), Duration::from_secs(20)));
    let (alerts, camera) = (daemon.events("").len(), daemon.camera("plaza"));
    findings.push(row.finding(
        "scores that are no numbers: no alert; unhealthy <= 5 s",
        format!("{alerts} alerts, unhealthy {after:.1} s after the start: {}", camera["problem"]),
        alerts == 0 && after <= 5.0 && camera["healthy"] == false,
    ));
    daemon.stop();
    let home = watched(Says::Unusual, "stride = 1", PLAZA);
    let (began, daemon) = (Instant::now(), home.start());
    let end = began + Duration::from_secs(30);
    while !unhealthy(&daemon) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = began.elapsed().as_secs_f64();
    let problem = daemon.camera("plaza")["problem"].as_str().unwrap_or_default().to_owned();
    findings.push(row.finding(
        "scores that are always the same: unhealthy <= 10 s at 10 scores a second",
        format!("{after:.1} s after the start: {problem}"),
        after <= 10.0 && problem.contains("same score"),
    ));
    findings
}

#[test]
fn scores_that_mean_nothing_are_no_alerts_and_are_said() {
    super::short(20);
}
