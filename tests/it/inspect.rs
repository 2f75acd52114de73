//! `models inspect`: the picture and the numbers of a first layer, and what has none to show.

use crate::program::sigmawatch;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn inspect(folder: &Path, args: &[&str]) -> Output {
    let mut command = sigmawatch(["models", "inspect"]);
    command.args(args).current_dir(folder).output().expect("the program runs")
}

/// The kernels of a model in `folder`, which is drawn into `picture.png` beside it.
pub fn inspected(folder: &Path, model: &str) -> Vec<Value> {
    let output = inspect(folder, &[model, "--json", "--out", "picture.png"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    serde_json::from_value(answer["kernels"].take()).expect("a list")
}

#[test]
fn the_built_in_bank_and_its_file_show_the_same_kernels() {
    let folder = tempfile::tempdir().expect("a folder");
    let built_in = inspected(folder.path(), "v1");
    assert_eq!(built_in.len(), 120);
    let fast = &built_in[6];
    assert_eq!(fast["name"], "4 px, heading 0 deg at 1 px/frame, even");
    assert_eq!((&fast["frames"], &fast["height"], &fast["width"]), (&9.into(), &11.into(), &11.into()));
    let speed = fast["gabor"]["speed_pixels_per_second"].as_f64().expect("a speed");
    assert!((speed - 10.0).abs() < 0.1, "{fast}");
    let picture = image::open(folder.path().join("picture.png")).expect("a picture");
    // Two kernels beside each other, of nine frames and a slice, each of 44 pixels.
    assert_eq!((picture.width(), picture.height()), (944, 60 * 64 + 8));
    let export = ["models", "export", "v1", "--out", "bank.onnx", "--width", "96", "--height", "64"];
    let output = sigmawatch(export).current_dir(folder.path()).output().expect("the program runs");
    assert!(output.status.success());
    assert_eq!(inspected(folder.path(), "bank.onnx"), built_in);
    let table = inspect(folder.path(), &["v1"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("v1 3-360x240@10-16px: 120 kernels, the first of 1 x 9 x 11 x 11"), "{table}");
}

#[test]
fn what_has_no_first_layer_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("notes.onnx"), "text").expect("written");
    for (model, part) in [("notes.onnx", "is not an ONNX model"), ("none.onnx", "there is no such file")] {
        let output = inspect(folder.path(), &[model]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(part), "{said}");
    }
    let output = inspect(folder.path(), &["v1", "--out", "no/such/folder.png"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no/such/folder.png cannot be written"), "{said}");
}
