//! `learn`, `score` and `eval` from end to end on a few real recordings (`../shared/data/ped2`).

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Footage that is never in the repository.
fn ped2() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ped2");
    let there = root.join("test/labels.json").is_file();
    if !there {
        eprintln!("skipped: the footage {} is not there", root.display());
    }
    there.then_some(root)
}

fn sigmawatch(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigmawatch"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().expect("the program runs")
}

fn answer(args: &[&str]) -> String {
    let output = sigmawatch(args);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Two train recordings and one test recording, laid out as the whole.
fn small_set(ped2: &Path, dir: &Path) {
    for part in ["train", "test"] {
        fs::create_dir_all(dir.join(part)).expect("a folder");
    }
    for file in ["train/01.mp4", "train/02.mp4", "train/06.mp4", "test/01.mp4", "test/01.masks.npz"] {
        fs::copy(ped2.join(file), dir.join(file)).expect("copied");
    }
    let labels: Value =
        serde_json::from_str(&fs::read_to_string(ped2.join("test/labels.json")).expect("labels"))
            .expect("JSON");
    let one = serde_json::json!({ "01": labels["01"] });
    fs::write(dir.join("test/labels.json"), one.to_string()).expect("written");
}

#[test]
fn a_small_dataset_is_learned_and_measured() {
    let Some(ped2) = ped2() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    small_set(&ped2, dir.path());
    let found: Value =
        serde_json::from_str(&answer(&["eval", text(dir.path()), "--json", "--steps", "60", "--seed", "3"]))
            .expect("JSON");
    for key in [
        "frame_auc_micro",
        "frame_auc_macro",
        "eer",
        "average_precision",
        "region_hit_rate",
        "false_alarms_per_hour",
        "cpu_seconds_per_video_second",
        "learn_seconds",
        "seed",
    ] {
        assert!(found[key].is_number(), "{key} in {found}");
    }
    assert!(found.get("detection_delay_seconds").is_some(), "{found}");
    // A cyclist comes in: even the little that three clips teach tells it apart, and says where.
    assert!(found["frame_auc_micro"].as_f64() > Some(0.8), "{found}");
    assert!(found["region_hit_rate"].as_f64() > Some(0.5), "{found}");
}

#[test]
fn clips_that_are_labelled_by_their_folders_are_told_apart_fold_by_fold() {
    let Some(ped2) = ped2() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (folder, from) in [("normal", "train"), ("unusual", "test")] {
        fs::create_dir(dir.path().join(folder)).expect("a folder");
        for clip in ["01.mp4", "02.mp4", "03.mp4", "04.mp4"] {
            fs::copy(ped2.join(from).join(clip), dir.path().join(folder).join(clip)).expect("copied");
        }
    }
    let folds = ["eval", text(dir.path()), "--json", "--scorer", "mahalanobis", "--folds", "2"];
    let found: Value = serde_json::from_str(&answer(&folds)).expect("JSON");
    assert_eq!((&found["clips"], &found["folds"], &found["too_short"]), (&8.into(), &2.into(), &0.into()));
    // All are of one camera, so what the others have taught holds.
    assert!(found["clip_auc"].as_f64() >= Some(0.75), "{found}");
    let few = sigmawatch(&["eval", text(dir.path()), "--folds", "9"]);
    let complaint = String::from_utf8_lossy(&few.stderr).into_owned();
    assert!(complaint.contains("4 clips cannot be divided into 9 folds"), "{complaint}");
}

#[test]
fn what_was_learned_from_recordings_scores_recordings() {
    let Some(ped2) = ped2() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    small_set(&ped2, dir.path());
    let [model, lines, plot] = ["m.onnx", "lines.jsonl", "plot.png"].map(|name| dir.path().join(name));
    let (train, video) = (dir.path().join("train"), dir.path().join("test/01.mp4"));
    let told = answer(&["learn", "--from", text(&train), "--out", text(&model), "--steps", "20", "--json"]);
    let told: Vec<Value> = told.lines().map(|l| serde_json::from_str(l).expect("a line of JSON")).collect();
    assert!(told[0]["progress"].is_number() && told[0]["step"].is_string(), "{}", told[0]);
    // 120, 150 and 150 frames: 27 + 34 + 34 segments.
    assert_eq!(told[told.len() - 1]["done"]["report"]["segments"], 95, "{told:?}");
    answer(&["score", "--model", text(&model), text(&video), "--out", text(&lines), "--plot", text(&plot)]);
    let lines = fs::read_to_string(lines).expect("written");
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).expect("a line of JSON")).collect();
    // 180 frames, one segment of 16 every 4.
    assert_eq!(lines.len(), 42);
    assert_eq!((&lines[1]["first_frame"], &lines[1]["last_frame"]), (&4.into(), &19.into()));
    let above = lines[30]["score"].as_f64() > lines[30]["threshold"].as_f64();
    assert_eq!(lines[30]["unusual"].as_bool(), Some(above));
    assert_eq!(image::open(plot).expect("a picture").width(), 1200);
}

#[test]
fn bad_input_is_one_clear_message() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refusal = |args: &[&str]| {
        let output = sigmawatch(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let nothing = refusal(&["eval", text(dir.path())]);
    assert!(nothing.contains("train: there is no such folder (wanted: DIR/train/*.mp4"), "{nothing}");
    let notes = dir.path().join("notes.onnx");
    fs::write(&notes, "just text").expect("written");
    let no_model = refusal(&["score", "--model", text(&notes), "a.mp4"]);
    assert!(no_model.contains("notes.onnx: is not an ONNX model: it holds text"), "{no_model}");
    let out = dir.path().join("m.onnx");
    let no_video = refusal(&["learn", "--from", text(&notes), "--out", text(&out)]);
    assert!(no_video.contains("notes.onnx"), "{no_video}");
    assert!(!out.exists());
    let empty = refusal(&["learn", "--from", text(dir.path()), "--out", text(&out)]);
    assert!(empty.contains("there is no recording in this folder"), "{empty}");
}
