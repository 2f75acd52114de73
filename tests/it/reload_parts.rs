//! What changes beside the cameras while the daemon runs: sinks, cameras that are switched off, and the memory it takes.

use crate::daemon::{Says, write_scorer};
use crate::faults::process::Holds;
use crate::program::{Daemon, Home};
use crate::reload::{DETECTOR, reload, synthetic};
use crate::sink_place::{OK, hook, lines, web};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What says what a message is, and is the same in each delivery of it.
fn delivery(message: &Value) -> String {
    message["delivery"].as_str().expect("a delivery").to_owned()
}

fn deliveries(file: &Path) -> Vec<String> {
    // The last line may be being written.
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| delivery(&serde_json::from_str(line).expect("a line"))).collect()
}

fn sinks(daemon: &Daemon) -> Vec<String> {
    let sinks = daemon.json("/api/sinks");
    let name = |sink: &Value| sink["name"].as_str().expect("a name").to_owned();
    sinks.as_array().expect("a list").iter().map(name).collect()
}

#[test]
fn sinks_come_change_and_go_while_alerts_are_told_and_none_is_lost() {
    let home = Home::new("", "");
    write_scorer(&home.path("either.onnx"), 96, 64, Says::Either);
    let rule = "width = 96\nheight = 64\nstride = 2\nscorer = \"either.onnx\"\nopen_n = 1\nopen_m = 1\n\
                close_after = \"100ms\"\ncool_down = \"0s\"";
    let log = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n";
    let configure = |hook: &str| {
        home.configure(rule, &format!("{}{log}{hook}", synthetic("plaza", "scene_change = \"ignore\"")));
    };
    let (log_file, refuses) = (home.path("log.jsonl"), Arc::new(AtomicBool::new(false)));
    let (first, taken) = {
        let (refuses, taken) = (refuses.clone(), Arc::new(std::sync::Mutex::new(vec![])));
        let takes = taken.clone();
        // Notes what it took, by its place among all that it was given.
        let (url, seen) = web(move |number, stream| {
            let refused = b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            let refuses = refuses.load(Relaxed);
            if stream.write_all(if refuses { &refused[..] } else { OK }).is_ok() && !refuses {
                takes.lock().expect("held").push(number);
            }
        });
        (url, (seen, taken))
    };
    let (second, seen_by_second) = web(|_, stream| drop(stream.write_all(OK)));
    let parse = |body: &str| delivery(&serde_json::from_str(body).expect("JSON"));
    let at_first = || -> Vec<String> {
        let (seen, taken) = (taken.0.lock().expect("held"), taken.1.lock().expect("held"));
        taken.iter().filter_map(|number| Some(parse(&seen.get(*number)?.1))).collect()
    };
    let at_second = || -> Vec<String> {
        seen_by_second.lock().expect("held").iter().map(|(_, body)| parse(body)).collect()
    };

    configure("");
    let daemon = home.start();
    daemon.until("alerts", || (deliveries(&log_file).len() > 4).then_some(()));
    let take_over = |what: &str, named: &[&str]| {
        let (status, answer) = reload(&daemon);
        assert_eq!((status, &answer["unchanged"]), (200, &json!(["plaza"])), "{what}: {answer}");
        assert_eq!(answer["needs_restart"], json!([]), "{what}");
        assert_eq!(sinks(&daemon), named, "{what}");
    };
    configure(&hook(&first, ""));
    take_over("added", &["log", "hook"]);
    daemon.until("the new sink is told", || (at_first().len() > 4).then_some(()));
    refuses.store(true, Relaxed);
    let behind = || {
        let sinks = daemon.json("/api/sinks");
        (sinks[1]["state"] == "failing" && sinks[1]["waiting"].as_u64() > Some(3)).then_some(())
    };
    daemon.until("the sink is behind", behind);
    configure(&hook(&second, ""));
    take_over("changed", &["log", "hook"]);
    daemon.until("the other server is told", || (at_second().len() > 10).then_some(()));
    configure("");
    take_over("removed", &["log"]);
    let (told, ends) = (at_second(), deliveries(&log_file).len());
    daemon.until("more alerts", || (deliveries(&log_file).len() > ends + 4).then_some(()));
    assert!(at_second().len() <= told.len() + 1, "who is gone is told nothing but what was on its way");
    let metrics = daemon.text("/metrics");
    assert!(
        !metrics.contains("sink_up{sink=\"hook\"") && metrics.contains("sink_up{sink=\"log\""),
        "{metrics}"
    );
    let camera = daemon.camera("plaza");
    assert_eq!((&camera["reconnects"], &camera["state"]), (&json!(0), &json!("live")));
    daemon.stop();

    let logged = deliveries(&log_file);
    assert_eq!(lines(&log_file).len(), logged.iter().collect::<BTreeSet<_>>().len(), "each of them once");
    let (by_first, last) = (at_first(), told.last().expect("some").clone());
    let place = |delivery: &str| logged.iter().position(|d| d == delivery).expect("the log has all");
    let wanted: BTreeSet<&String> = logged[place(&by_first[0])..=place(&last)].iter().collect();
    let there: BTreeSet<&String> = by_first.iter().chain(&told).collect();
    let missing: Vec<_> = wanted.difference(&there).collect();
    println!("{} by the first server, {} by the second, {} in all", by_first.len(), told.len(), wanted.len());
    assert!(missing.is_empty(), "lost between the two servers: {missing:?}");
}

#[test]
fn a_camera_that_is_switched_off_is_told_as_that_and_comes_by_a_reload() {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    let log = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\ncamera_states = true\n";
    let configure = |on: bool| {
        let gate = synthetic("gate", &format!("enabled = {on}\nhold = \"0s\""));
        home.configure(DETECTOR, &format!("{gate}{}{log}", synthetic("yard", "")));
    };
    let in_state = |daemon: &Daemon, state: &str| {
        daemon.until(state, || (daemon.camera("gate")["state"] == state).then_some(()));
        let listed = daemon.json("/api/cameras");
        assert_eq!(
            (&listed[0]["name"], &listed[0]["state"]),
            (&json!("gate"), &json!(state)),
            "as the page shows it"
        );
        for one in ["disabled", "live", "lost"] {
            let sample = format!("camera_state{{camera=\"gate\",state=\"{one}\"}}");
            let value = f64::from(u8::from(one == state));
            daemon.until(&sample, || (daemon.metric(&format!("{sample} ")) == value).then_some(()));
        }
    };
    configure(false);
    let daemon = home.start();
    daemon.until("the other camera's frames", || {
        (daemon.camera("yard")["frames"].as_u64() > Some(5)).then_some(())
    });
    in_state(&daemon, "disabled");
    let gate = daemon.camera("gate");
    assert_eq!((&gate["frames"], &gate["problem"]), (&json!(0), &json!(null)), "{gate}");
    assert_eq!(daemon.metric("camera_up{camera=\"gate\"} "), 0.0);
    let ready = daemon.json("/readyz");
    assert_eq!(
        (&ready["status"], &ready["cameras_well"]),
        (&json!("healthy"), &json!(2)),
        "as it is meant to be"
    );
    let told = |state: &str| {
        let all = lines(&home.path("log.jsonl"));
        all.iter().any(|line| line["camera"] == "gate" && line["state"] == state).then_some(())
    };
    daemon.until("sinks are told", || told("disabled"));

    configure(true);
    let heard = daemon.stream();
    let (status, answer) = reload(&daemon);
    assert_eq!((status, &answer["changed"], &answer["unchanged"]), (200, &json!(["gate"]), &json!(["yard"])));
    in_state(&daemon, "live");
    daemon
        .until("an alert", || daemon.camera("gate")["detectors"][0]["open_event"].is_string().then_some(()));
    let streamed = |state: &str| {
        heard
            .try_iter()
            .any(|(topic, data)| topic == "camera.state" && data["name"] == "gate" && data["state"] == state)
    };
    daemon.until("the stream says so", || streamed("live").then_some(()));

    configure(false);
    assert_eq!(reload(&daemon).1["changed"], json!(["gate"]));
    in_state(&daemon, "disabled");
    daemon.until("the stream says so", || streamed("disabled").then_some(()));
    assert_eq!(daemon.camera("gate")["detectors"][0]["open_event"], json!(null), "what was open is over");
    daemon.stop();
}

/// Reloads, each of which has one camera go and come again; what the daemon holds after the first `warm` and at the end.
fn many_reloads(warm: u32, more: u32) -> (Holds, Holds) {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    home.configure(DETECTOR, &synthetic("dock", "seed = 0"));
    let mut command = home.command();
    // Each thread of glibc's has a heap of its own, which keeps what it once had: in one heap a leak is seen at once.
    command.env("MALLOC_ARENA_MAX", "1");
    let daemon = Daemon::start(command);
    let mut seed = 0;
    let mut change = |times: u32| {
        for _ in 0..times {
            seed += 1;
            home.configure(DETECTOR, &synthetic("dock", &format!("seed = {seed}")));
            assert_eq!(reload(&daemon).1["changed"], json!(["dock"]));
            assert_eq!(reload(&daemon).1["unchanged"], json!(["dock"]));
        }
        Holds::of(daemon.pid())
    };
    let before = change(warm);
    let after = change(more);
    daemon.stop();
    (before, after)
}

#[test]
fn reloads_leave_no_memory_behind() {
    let number = std::env::var("SIGMAWATCH_RELOADS").map_or(150, |n| n.parse().expect("a number of reloads"));
    let (before, after) = many_reloads(number / 3, number);
    let each = (after.resident - before.resident) / f64::from(number);
    println!(
        "{number} reloads that change and as many that do not: {each:.1} KiB each; {before:?} {after:?}"
    );
    // Pages of the file of alerts, which grows meanwhile, are among them.
    assert!(each < 60.0, "{each:.1} KiB each");
    assert!(after.files <= before.files + 8 && after.threads <= before.threads + 4, "{before:?} {after:?}");
}
