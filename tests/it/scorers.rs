//! Every method of learning, through the program: learn from a short recording, describe, score.

use crate::clips;
use crate::program::sigmawatch;
use serde_json::Value;
use sigmawatch::config::Method;
use std::path::Path;

fn answer(args: &[&str]) -> String {
    let output = sigmawatch(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("the program runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[test]
fn every_method_learns_from_a_short_recording_and_scores_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = clips::mp4(dir.path(), "ball.mp4", 220, 10);
    for method in Method::in_place() {
        let model = dir.path().join(format!("{method}.onnx"));
        let small = ["--width", "128", "--height", "96", "--stride", "4", "--steps", "30", "--json"];
        let learn = ["learn", "--scorer", method.name(), "--from", text(&clip), "--out", text(&model)];
        let told = answer(&[&learn[..], &small[..]].concat());
        let done: Value = serde_json::from_str(told.lines().last().expect("a last line")).expect("JSON");
        let report = &done["done"]["report"];
        assert_eq!(report["config"]["method"], method.name(), "{done}");
        // 220 frames, one segment of 16 every 4.
        assert_eq!(report["segments"], 52, "{done}");
        let described = answer(&["models", "describe", text(&model)]);
        assert!(described.contains(method.name()), "{described}");
        let lines = answer(&["score", "--model", text(&model), text(&clip), "--json"]);
        let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.len(), 52);
        let unusual = lines.iter().filter(|line| line["unusual"] == true).count();
        assert!(unusual <= 5, "{method}: {unusual} of 52 that it was learned from");
    }
}

#[test]
fn a_method_that_there_is_not_is_refused_with_those_there_are() {
    let output = sigmawatch(["learn", "--scorer", "magic", "--from", "a.mp4", "--out", "m.onnx"]).output();
    let output = output.expect("the program runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(Method::NAMES.iter().all(|name| complaint.contains(name)), "{complaint}");
}
