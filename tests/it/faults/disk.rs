//! Disks: the daemon killed, a full one, a locked and a damaged database; alerts go on, and none of them is lost.

use super::ear::{Ear, quantile};
use super::stalls::watched;
use super::{Finding, Row, Scale};
use crate::daemon::Says;
use crate::program::{Daemon, Home};
use rand::RngExt;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A plaza that is unusual now and then, short events, and a file that is told of them.
const CAMERA: &str = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\nscene_change = \"ignore\"\n";
const SINK: &str = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"told.jsonl\"\n";
const RULE: &str = "stride = 2\nopen_n = 1\nopen_m = 1\nclose_after = \"100ms\"\ncool_down = \"0s\"";

pub fn alerting(camera: &str) -> Home {
    watched(Says::Either, RULE, &format!("{CAMERA}{camera}{SINK}"))
}

pub fn new_alerts(ear: &Ear, from: Instant, to: Instant) -> Vec<Value> {
    let heard = ear.all(from, |heard| heard.topic == "alert.new" && heard.at <= to);
    heard.into_iter().map(|heard| heard.data).collect()
}

fn unstored(alerts: &[Value]) -> usize {
    alerts.iter().filter(|alert| alert["stored"] == false).count()
}

/// Whether every alert that was told is stored, is told to the sink, and is told as stored; what is not, in words.
fn lost(daemon: &Daemon, home: &Home, ear: &Ear, since: Instant) -> Result<usize, String> {
    let told: HashSet<String> = new_alerts(ear, since, Instant::now())
        .iter()
        .map(|alert| alert["id"].as_str().expect("an id").to_owned())
        .collect();
    let missing = |what: &str, there: HashSet<String>| {
        let missing = told.difference(&there).count();
        (missing > 0).then(|| format!("{missing} of {} alerts are not {what}", told.len()))
    };
    let ids = |events: &[Value]| -> HashSet<String> {
        events.iter().filter_map(|event| Some(event["id"].as_str()?.to_owned())).collect()
    };
    let mut stored = HashSet::new();
    let mut cursor = String::new();
    loop {
        let page = daemon.json(&format!("/api/events?limit=500{cursor}"));
        stored.extend(ids(page["events"].as_array().expect("a list")));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    if let Some(missing) = missing("stored", stored) {
        return Err(missing);
    }
    let whole = |line: &str| serde_json::from_str::<Value>(line).ok();
    let said: Vec<Value> = std::fs::read_to_string(home.path("told.jsonl"))
        .unwrap_or_default()
        .lines()
        .filter_map(whole)
        .collect();
    match missing("told to the sink", ids(&said)) {
        Some(missing) => Err(missing),
        None => Ok(told.len()),
    }
}

/// Waits until nothing is lost, `patience` at most; what is said of it, and whether it is so.
pub fn nothing_lost(
    daemon: &Daemon,
    home: &Home,
    ear: &Ear,
    since: Instant,
    patience: Duration,
) -> (String, bool) {
    let began = Instant::now();
    loop {
        match lost(daemon, home, ear, since) {
            Ok(number) => return (format!("0 of {number} lost"), number > 0),
            Err(missing) if began.elapsed() > patience => return (missing, false),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

pub fn failing(daemon: &Daemon) -> Option<String> {
    daemon.json("/api/store")["problem"].as_str().map(str::to_owned)
}

/// Until the store is well again, seconds.
pub fn recovered(daemon: &Daemon, since: Instant) -> f64 {
    daemon.until("a store that is well", || failing(daemon).is_none().then_some(()));
    since.elapsed().as_secs_f64()
}

/// That alerts are told while the fault lasts, and that it is said.
pub fn meanwhile(row: Row, daemon: &Daemon, ear: &Ear, from: Instant, says: &str) -> Vec<Finding> {
    let alerts = new_alerts(ear, from, Instant::now());
    let late = quantile(&ear.lateness("plaza", from, Instant::now()), 1.0);
    let problem = failing(daemon).unwrap_or_default();
    let ready = daemon.json("/readyz");
    vec![
        row.finding(
            "detection and live alerts go on, told as not stored",
            format!(
                "{} alerts, {} not stored; scores {:.0} ms late at most",
                alerts.len(),
                unstored(&alerts),
                late * 1e3
            ),
            alerts.len() > 1 && unstored(&alerts) + 1 >= alerts.len() && late < 2.0,
        ),
        row.finding(
            "health says so (API, /readyz, metrics)",
            format!("\"{problem}\", {}", ready["status"]),
            problem.contains(says) && ready["store_well"] == false && daemon.metric("store_up ") == 0.0,
        ),
    ]
}

/// Row 8 is a test and a target of its own: run as they are.
pub fn kills(row: Row, scale: Scale) -> Vec<Finding> {
    let expectation = "no told alert lost, no half picture, integrity_check ok";
    let number = scale.pick("3", "200");
    let ran = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "kills::no_kill_loses_or_corrupts_anything", "--nocapture"])
        .env("SIGMAWATCH_KILLS", number)
        .stdin(Stdio::null())
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    let figure =
        said.lines().find_map(|line| Some(line[line.find(" kills in ")? - number.len()..].to_owned()));
    vec![row.finding(expectation, figure.unwrap_or_else(|| "it failed".into()), ran.status.success())]
}

/// A command whose store is on a disk of its own, with these options, of which nobody else sees anything; `None` where
/// that cannot be had.
pub fn on_own_disk(home: &Home, options: &str, command: &Command) -> Option<Command> {
    let data = home.path("data");
    std::fs::create_dir_all(&data).expect("made");
    let script = format!("mount -t tmpfs -o {options} none \"$0\" && exec \"$@\"");
    let wrapped = |command: &Command| {
        let mut wrapped = Command::new("unshare");
        wrapped.args(["-rm", "sh", "-c", &script]).arg(&data).arg(command.get_program());
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| wrapped.env(name, value));
        }
        wrapped.stdin(Stdio::null());
        wrapped
    };
    let tried = wrapped(&Command::new("true")).output();
    tried.is_ok_and(|output| output.status.success()).then(|| wrapped(command))
}

/// The daemon on a small disk of its own, and where that is.
fn on_a_small_disk(home: &Home) -> Option<(Daemon, PathBuf)> {
    let daemon = Daemon::start(on_own_disk(home, "size=24m", &home.command())?);
    let inside = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), home.path("data").display()));
    Some((daemon, inside))
}

/// Writes until nothing more fits but `leave` bytes.
fn fill(file: &mut File, disk: &Path, leave: u64) {
    let free = || {
        let found = rustix::fs::statvfs(disk).expect("asked");
        found.f_bavail * found.f_frsize
    };
    while free() > leave {
        let part = (free() - leave).min(1 << 20) as usize;
        if file.write(&vec![0; part]).is_err() {
            break;
        }
    }
}

pub fn full_or_read_only(row: Row, scale: Scale) -> Vec<Finding> {
    let mut findings = full(row, scale);
    findings.extend(super::refusals::read_only(row, scale));
    findings
}

fn full(row: Row, scale: Scale) -> Vec<Finding> {
    let home = alerting("clips = true\nclip_before = \"1s\"\nclip_after = \"1s\"\n");
    let config = std::fs::read_to_string(home.path("config.toml")).expect("read");
    let config = config.replace("dir = \"data\"\n", "dir = \"data\"\nmin_free = \"6MB\"\n");
    std::fs::write(home.path("config.toml"), config).expect("written");
    let Some((daemon, disk)) = on_a_small_disk(&home) else {
        return vec![
            row.not_run("it can be tried", "no disk of its own (unshare -rm, or tmpfs in it, fails)"),
        ];
    };
    let (ear, began) = (Ear::new(&daemon), Instant::now());
    let clips = || {
        let events = daemon.events("");
        events.iter().filter(|event| event["clip"].is_string()).count()
    };
    daemon.until("clips", || (clips() >= 2).then_some(()));
    // Nearly full: clips are the first to go, and their events stay.
    let events = daemon.events("").len();
    let mut ballast = File::create(disk.join("ballast")).expect("made");
    fill(&mut ballast, &disk, 3 << 20);
    let (pressed, shed) = (Instant::now(), "store_removed_total{reason=\"clips\"}");
    while daemon.metric(shed) == 0.0 && pressed.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let (gone, after) = (daemon.metric(shed), pressed.elapsed().as_secs_f64());
    let mut findings = vec![row.finding(
        "less free than min_free: clips go first, events stay",
        format!("{gone} clips after {after:.1} s, {events} -> {} events", daemon.events("").len()),
        gone > 0.0 && daemon.events("").len() >= events,
    )];
    // Full: whatever is freed is filled again.
    let from = Instant::now();
    let end = from + scale.pick(Duration::from_secs(6), Duration::from_secs(60));
    while Instant::now() < end {
        fill(&mut ballast, &disk, 0);
        std::thread::sleep(Duration::from_millis(5));
    }
    findings.extend(meanwhile(row, &daemon, &ear, from + Duration::from_secs(2), "disk is full"));
    let freed = Instant::now();
    ballast.set_len(0).expect("emptied");
    let took = recovered(&daemon, freed);
    let (figure, none) = nothing_lost(&daemon, &home, &ear, began, Duration::from_secs(20));
    findings.push(row.finding(
        "room again: all is written without a restart, <= 5 s",
        format!("after {took:.1} s; {figure}"),
        none && took <= 5.0,
    ));
    findings.push(whole(row, &disk));
    findings
}

pub fn whole(row: Row, data: &Path) -> Finding {
    let database = Connection::open(data.join("sigmawatch.sqlite3")).expect("opened");
    let said: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("asked");
    row.finding("integrity_check", said.clone(), said == "ok")
}

pub fn database(row: Row, scale: Scale) -> Vec<Finding> {
    let home = alerting("");
    let path = home.path("data/sigmawatch.sqlite3");
    let daemon = home.start();
    let (ear, began) = (Ear::new(&daemon), Instant::now());
    daemon.until("an alert", || (!daemon.events("").is_empty()).then_some(()));
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let from = Instant::now();
    std::thread::sleep(scale.pick(Duration::from_secs(6), Duration::from_secs(60)));
    let mut findings = meanwhile(row, &daemon, &ear, from + Duration::from_secs(2), "another program");
    drop(other);
    let took = recovered(&daemon, Instant::now());
    let (figure, none) = nothing_lost(&daemon, &home, &ear, began, Duration::from_secs(20));
    findings.push(row.finding(
        "lock gone: all is written, <= 5 s",
        format!("after {took:.1} s; {figure}"),
        none && took <= 5.0,
    ));
    findings.push(whole(row, &home.path("data")));

    // Damaged under the running daemon, as a disk does it: in place.
    Connection::open(&path)
        .expect("opened")
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("written back");
    let length = std::fs::metadata(&path).expect("there").len();
    let mut file = File::options().write(true).open(&path).expect("opened");
    file.write_all(&vec![0xA5; length as usize]).expect("overwritten");
    let damaged = Instant::now();
    daemon.until("what was put aside", || {
        // Somebody looks.
        drop(daemon.get("/api/events?limit=500"));
        let aside = daemon.json("/api/store")["put_aside"].as_array().map_or(0, Vec::len);
        (aside == 1).then_some(())
    });
    recovered(&daemon, damaged);
    let took = damaged.elapsed().as_secs_f64();
    let (after, _) = ear
        .first(damaged, Duration::from_secs(30), |heard| {
            let id = heard.data["id"].as_str().unwrap_or_default();
            let begun = heard.topic == "alert.new" && heard.at > damaged + Duration::from_secs_f64(took);
            begun && daemon.get(&format!("/api/events/{id}")).status() == 200
        })
        .expect("an alert that is stored");
    findings.push(row.finding(
        "damaged while it runs: put aside, alerts stored without a restart",
        format!("put aside after {took:.1} s; a new alert is stored after {:.1} s", after.as_secs_f64()),
        took <= 10.0,
    ));
    drop(daemon);
    findings.extend(damaged_at_rest(row, scale, &home));
    findings
}

/// Kills the daemon, damages what it left, and starts it again.
fn damaged_at_rest(row: Row, scale: Scale, home: &Home) -> Vec<Finding> {
    let path = home.path("data/sigmawatch.sqlite3");
    let mut random = rand::rng();
    let rounds = scale.pick(4, 40);
    let (mut ready, mut aside, mut served) = (vec![], 0, true);
    for round in 0..rounds {
        let daemon = home.start();
        daemon.until("an alert", || (!daemon.events("").is_empty()).then_some(()));
        let before = daemon.json("/api/store")["put_aside"].as_array().map_or(0, Vec::len);
        daemon.signal(Signal::KILL);
        daemon.wait();
        let log = home.path("data/sigmawatch.sqlite3-wal");
        if round % 2 == 0 {
            // Some bits anywhere, in the file or in its log.
            for target in [&path, &log] {
                let mut bytes = std::fs::read(target).unwrap_or_default();
                for _ in 0..if bytes.is_empty() { 0 } else { 20 } {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] ^= 1 << random.random_range(0..8);
                }
                std::fs::write(target, bytes).expect("written");
            }
        } else {
            let length = std::fs::metadata(&log).map_or(0, |log| log.len());
            let cut = random.random_range(0..=length);
            File::options().write(true).open(&log).and_then(|log| log.set_len(cut)).expect("cut");
        }
        let began = Instant::now();
        let daemon = home.start();
        ready.push(began.elapsed().as_secs_f64());
        let ear = Ear::new(&daemon);
        let alert = ear.first(began, Duration::from_secs(30), |heard| {
            heard.topic == "alert.new" && heard.data["stored"] == true
        });
        served &= alert.is_some() && failing(&daemon).is_none();
        aside += daemon.json("/api/store")["put_aside"].as_array().map_or(0, Vec::len) - before;
        daemon.stop();
    }
    let most = quantile(&ready, 1.0);
    vec![row.finding(
        "bits flipped, log cut: ready <= 5 s, alerts stored; damage is put aside",
        format!("{most:.2} s at most of {rounds}; {aside} put aside, the others were whole enough"),
        most <= 5.0 && served,
    )]
}

#[test]
fn a_full_disk_takes_clips_first_and_no_alert() {
    super::short_of(10, full);
}

#[test]
fn a_database_that_is_locked_or_damaged_takes_no_alert() {
    super::short(12);
}
