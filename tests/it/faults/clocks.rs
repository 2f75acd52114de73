//! Clocks that are set under the running daemon, with libfaketime: nothing is lost, and alerts say that times are in doubt.

use super::cameras::{Cameras, small_clip};
use super::ear::Ear;
use super::stalls::{LONG, watched};
use super::{Finding, Row, Scale};
use crate::daemon::Says;
use crate::program::Daemon;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn library() -> Option<PathBuf> {
    let folders =
        ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime"];
    folders.iter().map(|folder| PathBuf::from(folder).join("libfaketimeMT.so.1")).find(|file| file.exists())
}

pub fn steps(row: Row, scale: Scale) -> Vec<Finding> {
    let Some(library) = library() else {
        return vec![row.not_run("it can be tried", "libfaketime is not installed (package faketime)")];
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let gate = Cameras::serve(&small_clip(dir.path(), 10, 300), 1);
    let plaza = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\nscene_change = \"ignore\"\n";
    let rule = "stride = 2\nopen_n = 1\nopen_m = 1\nclose_after = \"100ms\"\ncool_down = \"0s\"";
    let home = watched(Says::Either, rule, &(gate.tables("gate") + plaza));
    let set = |to: &str| {
        // At once, as a whole: it is read all the time.
        std::fs::write(home.path("time.new"), to).expect("written");
        std::fs::rename(home.path("time.new"), home.path("time")).expect("there");
    };
    set("+0");
    let mut command = home.command();
    command.env("LD_PRELOAD", library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_TIMESTAMP_FILE", home.path("time"));
    let daemon = Daemon::start(command);
    let ear = Ear::new(&daemon);
    let alert = |since: Instant| {
        let found = ear.first(since, LONG, |heard| heard.topic == "alert.new" && heard.of("plaza"));
        found.expect("alerts go on").1.data
    };
    ear.first(Instant::now(), LONG, |heard| heard.is_score_of("gate0")).expect("analysed");
    assert_eq!(alert(Instant::now())["clock_suspect"], false, "before any step");
    let began = Instant::now();
    let (mut suspect, mut tried, mut gap) = (0, 0, Duration::ZERO);
    for step in ["+1h", "+0", "-1h", "+0", "+1d", "+0", "-1d", "+0"].into_iter().take(scale.pick(4, 8)) {
        set(step);
        let stepped = Instant::now();
        std::thread::sleep(Duration::from_secs(2));
        let after = alert(Instant::now());
        tried += 1;
        suspect += u32::from(after["clock_suspect"] == true);
        let scores = ear.all(stepped, |heard| heard.is_score_of("gate0"));
        let first = scores.first().map_or(Duration::MAX, |heard| heard.at - stepped);
        gap = gap.max(first);
    }
    let reconnects = daemon.camera("gate0")["reconnects"].as_u64().expect("a number");
    let told: Vec<String> = (ear.all(began, |heard| heard.topic == "alert.new").iter())
        .map(|heard| heard.data["id"].as_str().expect("an id").to_owned())
        .collect();
    let listed: Vec<String> = (daemon.events("").iter())
        .filter_map(|event| event["id"].as_str().map(str::to_owned))
        .filter(|id| told.contains(id))
        .collect();
    let figure = format!("{reconnects} reconnects; analysed at most {:.1} s after a step", gap.as_secs_f64());
    vec![
        row.finding(
            "no reconnect, analysis goes on",
            figure,
            reconnects == 0 && gap < Duration::from_secs(3),
        ),
        row.finding("alerts are marked clock_suspect", format!("{suspect} of {tried}"), suspect == tried),
        row.finding(
            "listed in the order they happened",
            format!("{} alerts over {tried} steps", told.len()),
            told == listed && !told.is_empty(),
        ),
    ]
}

#[test]
fn a_clock_that_is_set_costs_no_connection_and_is_said_of_alerts() {
    super::short(13);
}
