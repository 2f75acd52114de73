//! What comes from people and their programs: clients that are slow on purpose, configurations that are wrong.

use super::ear::{Ear, quantile};
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::daemon::Says;
use crate::program::{Home, sigmawatch};
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PLAZA: &str = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n";

/// Sends a byte a second on each until that time; gives when the other end had closed it, seconds after it was opened.
fn drip(slow: Vec<(TcpStream, Instant)>, until: Instant) -> Vec<Option<f64>> {
    let mut closed = vec![None; slow.len()];
    let mut dripped = Instant::now();
    while Instant::now() < until {
        let drips = dripped.elapsed() >= Duration::from_secs(1);
        if drips {
            dripped = Instant::now();
        }
        for ((stream, opened), closed) in slow.iter().zip(&mut closed).filter(|(_, closed)| closed.is_none())
        {
            let mut stream = stream;
            let open = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
            let gone = !stream.read(&mut [0; 512]).is_err_and(open);
            if gone || drips && !stream.write(b"a").map_or_else(open, |_| true) {
                *closed = Some(opened.elapsed().as_secs_f64());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    closed
}

/// Connections that send a byte a second: half of them a head, half of them a body.
pub fn slow(row: Row, scale: Scale) -> Vec<Finding> {
    let home = watched(Says::Difference, "", PLAZA);
    let daemon = home.start();
    let host = daemon.address("").trim_start_matches("http://").to_owned();
    let number = scale.pick(400, 2000);
    let open = |n: usize| {
        let mut stream = TcpStream::connect(&host).expect("connected");
        stream.set_nonblocking(true).expect("set");
        let _ = match n % 2 {
            0 => stream.write(b"GET /api/cameras HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
            _ => stream.write(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"),
        };
        stream
    };
    let ask = |took: &mut Vec<f64>| {
        let asked = Instant::now();
        assert_eq!(daemon.get("/api/cameras").status(), 200);
        took.push(asked.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_millis(40));
    };
    // The machine may have other things to do: what they cost is known from before.
    let (mut calm, began) = (vec![], Instant::now());
    while began.elapsed() < Duration::from_secs(8) {
        ask(&mut calm);
    }
    let calm = quantile(&calm, 0.99);
    let began = Instant::now();
    let slow: Vec<(TcpStream, Instant)> = (0..number).map(|n| (open(n), Instant::now())).collect();
    let dripping = std::thread::spawn(move || drip(slow, began + Duration::from_secs(16)));
    let mut took = vec![];
    while began.elapsed() < Duration::from_secs(16) {
        ask(&mut took);
    }
    let closed = dripping.join().expect("it panics nowhere");
    let heads: Vec<f64> = closed.iter().step_by(2).map(|at| at.unwrap_or(f64::INFINITY)).collect();
    let (p99, last) = (quantile(&took, 0.99), quantile(&heads, 1.0));
    vec![
        row.finding(
            format!("{number} slow connections: others' p99 < 200 ms, or less than twice that of before"),
            format!("{:.1} ms of {} requests, {:.1} ms before", p99 * 1e3, took.len(), calm * 1e3),
            p99 < 0.2_f64.max(2.0 * calm),
        ),
        row.finding(
            "a head that does not end is cut off <= 10 s (+ 2 s of measuring)",
            format!("{last:.1} s at most of {}", heads.len()),
            last <= 12.0,
        ),
    ]
}

#[test]
fn clients_that_are_slow_on_purpose_hold_up_nobody() {
    super::short(17);
}

pub fn configurations(row: Row, _: Scale) -> Vec<Finding> {
    let home = Home::new("", PLAZA);
    let good = std::fs::read_to_string(home.path("config.toml")).expect("read");
    let nested = format!("{good}\nx = {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let bad = [
        ("50 MiB", format!("{good}# {}\n", "x".repeat(50 << 20))),
        ("deep nesting", nested),
        ("a key twice", good.replace("workers = 1", "workers = 1\nworkers = 2")),
        ("a camera twice", format!("{good}\n{PLAZA}")),
        ("no UTF-8", format!("{good}\n# \u{FFFF}\n")),
        ("an unknown key", good.replace("workers", "wrokers")),
    ];
    let mut findings = vec![];
    for (what, text) in bad {
        let mut bytes = text.into_bytes();
        if what == "no UTF-8" {
            let end = bytes.len() - 3;
            bytes[end] = 0xFF;
        }
        std::fs::write(home.path("bad.toml"), &bytes).expect("written");
        let began = Instant::now();
        let said = sigmawatch(["check", "--config"]).arg(home.path("bad.toml")).output().expect("it runs");
        let took = began.elapsed().as_secs_f64();
        let text =
            format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        let line = text.lines().find(|line| line.contains("bad.toml")).unwrap_or_default();
        let line: String =
            line.replace(&*home.path("bad.toml").to_string_lossy(), "bad.toml").chars().take(90).collect();
        // Where one place is wrong it is named; of a file that is too large nothing is read.
        let placed = what == "50 MiB" || text.contains("line ") || text.contains(".toml:");
        findings.push(row.finding(
            format!("{what}: refused <= 1 s, with its place"),
            format!("{took:.2} s, code {}: {line}", said.status.code().unwrap_or(-1)),
            said.status.code() == Some(78) && took <= 1.0 && placed,
        ));
    }
    findings.extend(reloads(row));
    findings
}

/// Wrong configurations for a daemon that runs: by the signal, one after the other.
fn reloads(row: Row) -> Vec<Finding> {
    let home = watched(Says::Difference, "stride = 2", PLAZA);
    let path = home.path("config.toml");
    let good = std::fs::read_to_string(&path).expect("read");
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    ear.first(Instant::now(), LONG, |heard| heard.is_score_of("plaza")).expect("analysed");
    let in_force = daemon.json("/api/config");
    let line_of = |text: &str, what: &str| {
        let line = text.lines().position(|line| line.contains(what)).map_or(0, |line| line + 1);
        format!("config.toml:{line}:")
    };
    let wrong = |from: &str, to: &str| {
        let text = good.replace(from, to);
        let place = line_of(&text, to);
        (text, place)
    };
    let nested = format!("{good}\nx = {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let bad = [
        ("an unknown key", wrong("workers = 1", "wrokers = 1")),
        ("a wrong value", wrong("workers = 1", "workers = \"many\"")),
        ("deep nesting", (nested.clone(), line_of(&nested, "x = [["))),
        ("a model that is not there", wrong("always.onnx", "never.onnx")),
        ("50 MiB", (format!("{good}# {}\n", "x".repeat(50 << 20)), "config.toml".into())),
    ];
    let mut findings = vec![];
    for (what, (text, place)) in bad {
        let refusals = || daemon.log().matches("the configuration is not taken over").count();
        let before = refusals();
        std::fs::write(&path, text).expect("written");
        let began = Instant::now();
        daemon.signal(Signal::HUP);
        daemon.until("the refusal", || (refusals() > before).then_some(()));
        let took = began.elapsed().as_secs_f64();
        let log = daemon.log();
        let said = log.lines().rfind(|line| line.contains("not taken over")).unwrap_or_default();
        let goes_on = ear.first(Instant::now(), LONG, |heard| heard.is_score_of("plaza")).is_some();
        let plaza = daemon.camera("plaza");
        let untouched = plaza["reconnects"] == 0 && plaza["state"] == "live";
        let told = daemon.metric("config_last_reload_successful") == 0.0;
        findings.push(row.finding(
            format!("{what}, by SIGHUP: refused, with its place; all goes on as it was"),
            format!("{took:.2} s; {place} {}", if said.contains(&place) { "named" } else { "NOT NAMED" }),
            said.contains(&place) && goes_on && untouched && told && daemon.json("/api/config") == in_force,
        ));
    }
    std::fs::write(&path, good).expect("written");
    daemon.signal(Signal::HUP);
    let mended = || (daemon.metric("config_last_reload_successful") == 1.0).then_some(());
    daemon.until("the good configuration", mended);
    daemon.stop();
    findings
}

#[test]
fn configurations_that_are_wrong_are_refused_at_once_with_the_place() {
    super::short(18);
}
