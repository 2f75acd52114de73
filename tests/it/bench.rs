//! `sigmawatch bench` on small numbers of small cameras: what it measures, what it refuses, and what it leaves behind.

use crate::clips::{encoded, mp4};
use crate::program::{Home, sigmawatch};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sigmawatch::frame::record_plaza;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The command, with its temporary files in `dir`.
fn bench(dir: &Path, args: &[&str]) -> Command {
    let mut command = sigmawatch(["bench", "--pipelines", concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines")]);
    command.args(args).env("TMPDIR", dir);
    command
}

/// What it said on standard error; it must have failed with `code`.
fn refused(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&output.stdout));
    said
}

/// What the command has left in a folder; ONNX Runtime keeps a file of its own there.
fn left_in(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).expect("a folder").flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("sigmawatch")).count()
}

#[test]
fn it_measures_one_and_two_cameras_and_says_how_many_fit() {
    let (dir, temporary) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (clip, json) = (dir.path().join("yard.mp4"), dir.path().join("bench.json"));
    record_plaza(&clip, (320, 180), 10.0, Duration::from_secs(25), &mut || Ok(())).expect("a recording");
    let [clip, file] = [&clip, &json].map(|path| path.to_str().expect("text"));
    let args = ["--clip", clip, "--cameras", "2,1", "--seconds", "4", "--stride", "8", "--json", file];
    let output = bench(temporary.path(), &args).output().expect("the program runs");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("H.264, 320x180, 10.0 frames a second"), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("This machine ")), "{said}");
    assert!(errors.contains("\n1 camera: ") && errors.contains("\n2 cameras: "), "{errors}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("JSON");
    assert_eq!(report["clip"]["codec"], "H.264");
    assert!((report["clip"]["analysed_fps"].as_f64().expect("a number") - 10.0).abs() < 0.2, "{report}");
    let steps = report["steps"].as_array().expect("a list");
    let numbers: Vec<u64> = steps.iter().filter_map(|step| step["cameras"].as_u64()).collect();
    assert!(numbers.starts_with(&[1]) && numbers.contains(&2) && numbers.is_sorted(), "{numbers:?}");
    for step in steps {
        let of = |key: &str| step[key].as_f64().unwrap_or_else(|| panic!("{key} of {step}"));
        assert!(of("cores") > 0.0 && of("memory_mib") > 10.0 && of("scored_per_second") > 0.0, "{step}");
        assert!(of("latency_p50_ms") <= of("latency_p99_ms"), "{step}");
        // On a machine that has the time, 10 frames are a segment and a quarter of each camera.
        let wanted = 1.25 * of("cameras");
        let calm = step["trouble"].is_null();
        assert!(!calm || (of("scored_per_second") / wanted - 1.0).abs() < 0.4, "{step}");
    }
    assert!(report["decoding_cores"].as_f64().expect("a number") > 0.0, "{report}");
    assert_eq!(left_in(temporary.path()), 0, "temporary files are removed");
}

#[test]
fn what_cannot_be_replayed_is_refused_with_a_remedy() {
    let (dir, temporary) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let run = |args: &[&str], code: i32| {
        refused(&bench(temporary.path(), args).output().expect("the program runs"), code)
    };
    let said = run(&["--clip", "/nowhere/gate.mp4"], 1);
    assert!(said.contains("/nowhere/gate.mp4: there is no such file (give a recording)"), "{said}");
    let short = mp4(dir.path(), "short.mp4", 20, 10);
    let said = run(&["--clip", short.to_str().expect("text")], 1);
    assert!(said.contains("s of video are too little to measure with (give 20 s or more)"), "{said}");
    let stills = encoded(dir.path(), "stills.avi", 230, 10, "jpegenc ! avimux");
    let said = run(&["--clip", stills.to_str().expect("text")], 1);
    assert!(said.contains("neither H.264 nor H.265"), "{said}");
    let text = dir.path().join("notes.mp4");
    std::fs::write(&text, "no video").expect("written");
    let said = run(&["--clip", text.to_str().expect("text")], 1);
    assert!(said.contains("no video"), "{said}");
    for (args, word) in [
        (&["--size", "640"][..], "two even numbers"),
        (&["--fps", "0"], "a number from 1 to 60"),
        (&["--cameras", "0"], "0 is not in 1..=1024"),
        (&["--clip", "a.mp4", "--size", "640x360"], "cannot be used with"),
    ] {
        let said = run(args, 2);
        assert!(said.contains(word), "{said}");
    }
    let home = Home::new("", "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n");
    let config = home.path("config.toml");
    let config = config.to_str().expect("text");
    let said = run(&["--camera", "gate", "--config", config], 1);
    assert!(said.contains("there is no camera gate (there are: plaza)"), "{said}");
    let said = run(&["--camera", "plaza", "--config", config], 1);
    assert!(said.contains("plaza: this camera is rendered here, not decoded (leave --camera out)"), "{said}");
    assert_eq!(left_in(temporary.path()), 0, "temporary files are removed");
}

#[test]
fn an_interrupted_one_ends_its_children_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("a folder");
    let args = ["--size", "320x180", "--fps", "10", "--stride", "8"];
    let mut child =
        bench(temporary.path(), &args).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut errors = BufReader::new(child.stderr.take().expect("piped above"));
    let mut line = String::new();
    while !line.contains("learning what is normal") {
        line.clear();
        assert!(errors.read_line(&mut line).expect("text") > 0, "it ended before it learned");
    }
    let pid = Pid::from_raw(child.id() as i32).expect("a process");
    kill_process(pid, Signal::INT).expect("it runs");
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{rest}");
    assert!(rest.contains("interrupted (nothing was kept"), "{rest}");
    assert_eq!(left_in(temporary.path()), 0, "temporary files are removed");
}
