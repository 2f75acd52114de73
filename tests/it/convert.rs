//! `models convert`: what is refused, by name, and that nothing in a file is run.

use crate::program::sigmawatch;
use std::path::Path;

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/checkpoints");

/// Runs the command in `folder`; asserts that it gave up with every one of `parts`, and wrote nothing.
fn assert_refused(folder: &Path, arguments: &[&str], code: i32, parts: &[&str]) {
    let command = [&["models", "convert"], arguments].concat();
    let output = sigmawatch(command).current_dir(folder).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0, "{said}");
}

#[test]
fn files_that_are_no_weights_of_the_network_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| format!("{WEIGHTS}/{name}");
    for (net, name, parts) in [
        ("r3d18", "evil.pth", ["evil.pth: it wants to run `posix.system`", "a weight file may run nothing"]),
        ("vit-b16", "evil-legacy.pth", ["it wants to run `posix.system`", "torch.save(model.state_dict()"]),
        ("resnext101", "network.pth", ["it wants to run `__main__.Network`", "save the weights alone"]),
        (
            "r3d18",
            "training.pth",
            ["`conv1.weight` is missing", "more (name a checkpoint of r3d18 in the layout"],
        ),
        ("r50-vit-b16", "weights.safetensors", ["`cls_token` is missing", "in the layout timm"]),
        ("vit-b16", "none.pth", ["none.pth: cannot be read: ", "check the path"]),
    ] {
        assert_refused(folder.path(), &[net, "--from", &file(name)], 1, &parts);
    }
}

#[test]
fn choices_that_do_not_exist_are_refused_with_those_that_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |more: &[&'static str]| [&["r3d18", "--from", "w.pth"], more].concat();
    let networks = ["r3d18, resnext101, vit-b16, r50-vit-b16"];
    assert_refused(folder.path(), &["alexnet", "--from", "w.pth"], 2, &networks);
    assert_refused(folder.path(), &of(&["--layout", "caffe"]), 2, &["torchvision, hara, timm"]);
    let scalings = ["torchvision-video, hara, hara-2017, imagenet, half"];
    assert_refused(folder.path(), &of(&["--normalisation", "none"]), 2, &scalings);
    assert_refused(folder.path(), &of(&["--fps", "0"]), 2, &["not from 1 to 60"]);
    assert_refused(folder.path(), &of(&["--int8"]), 2, &["--calibrate"]);
}
