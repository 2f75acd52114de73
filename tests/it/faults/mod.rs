//! Faults made on purpose: the real daemon, real cameras, brokers and files; `make faults` prints what came of each.
//!
//! A row is a function that makes a fault and says what it found. The short form of most is a test of its own; all of
//! them, at length, are one run of [`the_matrix`] with `SIGMAWATCH_FAULTS=all` (or some numbers: `1,12`).

mod cameras;
mod churn;
mod clients;
mod clocks;
mod datagrams;
mod disk;
mod ear;
mod machine;
mod models;
mod network;
pub mod process;
mod proxy;
mod refusals;
mod sights;
mod stalls;
mod storm;
mod streams;
mod weather;
mod workers;

use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// How much of a row is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Beside the other tests.
    Short,
    /// `make faults`.
    Whole,
}

impl Scale {
    pub fn pick<T>(self, short: T, whole: T) -> T {
        if self == Scale::Short { short } else { whole }
    }
}

/// What came of an expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pass,
    Fail,
    /// This machine lacks what the fault is made with.
    NotRun(String),
}

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// Its number in the list of faults.
    pub row: u8,
    pub fault: String,
    pub expectation: String,
    /// What was measured, in words.
    pub figure: String,
    pub outcome: Outcome,
}

/// What the findings of one row have in common.
#[derive(Clone, Copy)]
pub struct Row {
    number: u8,
    fault: &'static str,
    make: fn(Row, Scale) -> Vec<Finding>,
}

impl Row {
    pub fn finding(&self, expectation: impl Into<String>, figure: impl Into<String>, pass: bool) -> Finding {
        let outcome = if pass { Outcome::Pass } else { Outcome::Fail };
        let (expectation, figure) = (expectation.into(), figure.into());
        Finding { row: self.number, fault: self.fault.into(), expectation, figure, outcome }
    }

    pub fn not_run(&self, expectation: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding { outcome: Outcome::NotRun(why.into()), ..self.finding(expectation, "", false) }
    }

    /// A panic on the way is a finding, too: the other rows are still wanted.
    fn run(self, scale: Scale) -> Vec<Finding> {
        let ran = catch_unwind(AssertUnwindSafe(|| (self.make)(self, scale)));
        ran.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_default();
            vec![self.finding("it can be tried", text.lines().next().unwrap_or_default(), false)]
        })
    }
}

/// The rows, in the order of the list.
const ROWS: &[Row] = &[
    Row { number: 1, fault: "camera hangs (SIGSTOP)", make: stalls::hangs },
    Row { number: 2, fault: "cable pulled (packets dropped)", make: network::cables },
    Row { number: 3, fault: "all cameras reboot at once", make: storm::reboots },
    Row { number: 4, fault: "camera refuses a second session", make: streams::refuses },
    Row { number: 5, fault: "packets lost, late, damaged (UDP)", make: network::loss },
    Row { number: 6, fault: "damaged H.264", make: streams::damaged },
    Row { number: 7, fault: "picture frozen or black", make: sights::blind },
    Row { number: 8, fault: "daemon killed at random", make: disk::kills },
    Row { number: 9, fault: "process beside the daemon hangs or dies", make: workers::all },
    Row { number: 10, fault: "disk full, read-only", make: disk::full_or_read_only },
    Row { number: 11, fault: "fsync fails", make: refusals::fsync },
    Row { number: 12, fault: "database locked, damaged", make: disk::database },
    Row { number: 13, fault: "clock set by an hour, a day", make: clocks::steps },
    Row { number: 17, fault: "slow clients", make: clients::slow },
    Row { number: 18, fault: "wrong configurations", make: clients::configurations },
    Row { number: 19, fault: "model files that are wrong", make: models::files },
    Row { number: 20, fault: "scores that mean nothing", make: models::scores },
    Row { number: 22, fault: "few files, memory, processor time", make: machine::limits },
    Row { number: 23, fault: "a week of reconnects", make: churn::soak },
];

pub fn row(number: u8) -> Row {
    *ROWS.iter().find(|row| row.number == number).expect("a row of the list")
}

/// The short form of a row, as a test: fails where a finding does.
pub fn short(number: u8) {
    short_of(number, row(number).make);
}

/// The short form of a part of a row.
pub fn short_of(number: u8, make: fn(Row, Scale) -> Vec<Finding>) {
    let findings = Row { make, ..row(number) }.run(Scale::Short);
    findings.iter().for_each(|finding| println!("{}", line(finding)));
    let failed: Vec<_> = findings.iter().filter(|finding| finding.outcome == Outcome::Fail).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => "pass".into(),
        Outcome::Fail => "FAILED".into(),
        Outcome::NotRun(why) => format!("not run: {why}"),
    }
}

fn line(finding: &Finding) -> String {
    let Finding { row, fault, expectation, figure, outcome } = finding;
    format!("{row:>3}  {fault:<34} {expectation:<58} {figure:<58} {}", said(outcome))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// What was found by this run and, of the rows that it left out, by runs before.
fn merged(before: Vec<Finding>, findings: &[Finding], ran: &[u8]) -> Vec<Finding> {
    let mut all: Vec<Finding> = before.into_iter().filter(|finding| !ran.contains(&finding.row)).collect();
    all.extend_from_slice(findings);
    all.sort_by_key(|finding| finding.row);
    all
}

/// Without the temporary folders in it, whose names say nothing.
fn without_temporary(text: &str) -> String {
    let mut parts = text.split("/tmp/.tmp");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('/').map_or("", |(_, path)| path))
}

/// A row of the table in Markdown.
fn table_line(finding: &Finding) -> String {
    let Finding { row, fault, expectation, figure, outcome } = finding;
    let cell = |text: &str| without_temporary(text).replace('|', "\\|").replace('\n', " ");
    format!("| {row} | {fault} | {} | {} | {} |\n", cell(expectation), cell(figure), cell(&said(outcome)))
}

/// Puts them into the table of docs/ref/figures.md, where the other figures are; what other rows say there stays.
fn document(findings: &[Finding], ran: &[u8]) {
    let path = root().join("docs/ref/figures.md");
    let text = std::fs::read_to_string(&path).expect("there");
    let (before, rest) = text.split_once("<!-- faults -->\n").expect("a mark for this table");
    let (old, after) = rest.split_once("<!-- end -->").expect("the table's end");
    let number = |line: &str| line.split('|').nth(1).and_then(|cell| cell.trim().parse::<u8>().ok());
    let kept = old.lines().filter_map(|line| Some((number(line)?, format!("{line}\n"))));
    let kept = kept.filter(|(number, _)| !ran.contains(number));
    let mut lines: Vec<(u8, String)> = kept.collect();
    lines.extend(findings.iter().map(|finding| (finding.row, table_line(finding))));
    lines.sort_by_key(|(number, _)| *number);
    let lines: String = lines.into_iter().map(|(_, line)| line).collect();
    let table = format!("| | fault | expectation | figure | |\n|---|---|---|---|---|\n{lines}");
    std::fs::write(&path, format!("{before}<!-- faults -->\n{table}<!-- end -->{after}")).expect("written");
}

#[test]
fn rows_that_are_made_again_replace_their_own_and_no_others() {
    let found =
        |row: u8, figure: &str| Row { number: row, ..self::row(1) }.finding("all is well", figure, true);
    let before = vec![found(1, "old"), found(2, "old"), found(2, "older")];
    let all = merged(before, &[found(2, "new"), found(3, "new")], &[2, 3]);
    let seen: Vec<_> = all.iter().map(|finding| (finding.row, finding.figure.as_str())).collect();
    assert_eq!(seen, [(1, "old"), (2, "new"), (3, "new")]);
    assert_eq!(
        table_line(&found(4, "/tmp/.tmpX1/a|b")),
        "| 4 | camera hangs (SIGSTOP) | all is well | a\\|b | pass |\n"
    );
}

#[test]
fn the_matrix() {
    let wanted = std::env::var("SIGMAWATCH_FAULTS").unwrap_or_default();
    let numbers: Vec<u8> = ROWS.iter().map(|row| row.number).collect();
    assert!(numbers.is_sorted(), "the table is in the order of the list: {numbers:?}");
    if wanted.is_empty() {
        println!("`make faults` runs the rows {numbers:?} at length");
        return;
    }
    let some: Vec<u8> = wanted.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    assert!(wanted == "all" || !some.is_empty(), "SIGMAWATCH_FAULTS is `all` or numbers, not {wanted:?}");
    let mut findings = vec![];
    for row in ROWS.iter().filter(|row| wanted == "all" || some.contains(&row.number)) {
        let began = std::time::Instant::now();
        for finding in row.run(Scale::Whole) {
            println!("{}", line(&finding));
            findings.push(finding);
        }
        println!("     ({:.0} s)", began.elapsed().as_secs_f64());
    }
    println!("\nfaults");
    findings.iter().for_each(|finding| println!("{}", line(finding)));
    let ran: Vec<u8> =
        ROWS.iter().map(|row| row.number).filter(|n| wanted == "all" || some.contains(n)).collect();
    let path = root().join("target/faults.json");
    let before = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let json = serde_json::to_string_pretty(&merged(before.unwrap_or_default(), &findings, &ran));
    std::fs::write(path, json.expect("findings are plain data")).expect("written");
    println!("written to target/faults.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        document(&findings, &ran);
        println!("written to docs/ref/figures.md");
    }
    let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Fail).count();
    assert_eq!(failed, 0, "of {} expectations so many were not met", findings.len());
}
