//! What a process holds, and this test in namespaces of its own.

use super::{Finding, Row, Scale};
use std::process::{Command, Stdio};

/// Open files, threads and memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Holds {
    pub files: usize,
    pub threads: usize,
    /// KiB in memory.
    pub resident: f64,
}

impl Holds {
    pub fn of(pid: u32) -> Self {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        let resident = line.trim().trim_end_matches(" kB").parse().expect("a number");
        Self { files: count("fd"), threads: count("task"), resident }
    }

    /// Names of its threads and of its open files, for whoever wonders.
    pub fn names(pid: u32) -> String {
        let list = |what: &str| {
            let entries = std::fs::read_dir(format!("/proc/{pid}/{what}")).into_iter().flatten().flatten();
            let name = |path: std::path::PathBuf| match what {
                "task" => std::fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned(),
                _ => std::fs::read_link(path).unwrap_or_default().display().to_string(),
            };
            let mut names: Vec<String> = entries.map(|entry| name(entry.path())).collect();
            names.sort();
            names.join(", ")
        };
        format!("threads {}; files {}", list("task"), list("fd"))
    }

    /// The lesser of each, and the later's memory.
    pub fn at_least(self, later: Self) -> Self {
        let (files, threads) = (self.files.min(later.files), self.threads.min(later.threads));
        Self { files, threads, resident: later.resident }
    }

    /// Whether there are at most two files and threads more than in `before`, and in words.
    pub fn no_more_than(self, before: Self) -> (String, bool) {
        let figure = format!(
            "files {} -> {}, threads {} -> {}",
            before.files, self.files, before.threads, self.threads
        );
        (figure, self.files <= before.files + 2 && self.threads <= before.threads + 2)
    }
}

/// How long a row is that runs in a process of its own.
const INSIDE: &str = "SIGMAWATCH_FAULTS_INSIDE";

/// Within a row's own process: how much of it is wanted.
pub fn inside() -> Option<Scale> {
    match std::env::var(INSIDE).ok()?.as_str() {
        "whole" => Some(Scale::Whole),
        _ => Some(Scale::Short),
    }
}

/// Tells the process outside.
pub fn report(findings: &[Finding]) {
    for finding in findings {
        println!("finding {}", serde_json::to_string(finding).expect("plain data"));
    }
}

/// Runs a test of this program in a network of its own, where packets may be dropped at will; gives what it found.
pub fn in_own_network(row: Row, scale: Scale, test: &str) -> Vec<Finding> {
    let expectation = "it can be tried";
    for (tool, trial) in [
        ("unshare", &["unshare", "-rn", "true"][..]),
        ("nft", &["unshare", "-rn", "nft", "add", "table", "inet", "trial"]),
        ("ip", &["unshare", "-rn", "ip", "link", "set", "lo", "up"]),
    ] {
        let tried = Command::new(trial[0]).args(&trial[1..]).stdin(Stdio::null()).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            return vec![row.not_run(expectation, format!("no network of its own ({tool} fails)"))];
        }
    }
    let ran = Command::new("unshare")
        .args(["-rn", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, scale.pick("short", "whole"))
        .stdin(Stdio::null())
        .output()
        .expect("unshare was there");
    let said = String::from_utf8_lossy(&ran.stdout);
    let findings: Vec<Finding> =
        (said.lines()).filter_map(|line| serde_json::from_str(line.split_once("finding ")?.1).ok()).collect();
    if !ran.status.success() || findings.is_empty() {
        let errors = String::from_utf8_lossy(&ran.stderr);
        let panic = errors
            .lines()
            .skip_while(|line| !line.contains("panicked"))
            .take(3)
            .collect::<Vec<_>>()
            .join(" ");
        return vec![row.finding(expectation, panic, false)];
    }
    findings.into_iter().map(|f| Finding { row: row.number, fault: row.fault.into(), ..f }).collect()
}
