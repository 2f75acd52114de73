//! Execution providers: one that was asked for and is not there is said before anything starts; never another one.

use crate::program::{Home, onnxruntime, sigmawatch};
use serde_json::Value;
use std::process::Output;

/// Providers that the library for the tests, which is for CPUs, has not, and what brings each.
const MISSING: [(&str, &str); 3] =
    [("openvino", "onnxruntime-openvino"), ("cuda", "cuDNN 9"), ("tensorrt", "TensorRT 10")];

const CAMERA: &str = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that `message` names the library, the provider, what there is, and what to do.
fn assert_explained(message: &str, provider: &str, brings: &str) {
    let library = onnxruntime().canonicalize().expect("the library").display().to_string();
    for part in [
        library.as_str(),
        &format!("was built without the execution provider `{provider}` (it has: cpu)"),
        brings,
        "name its libonnxruntime.so as `runtime.onnxruntime`",
    ] {
        assert!(message.contains(part), "{part:?} is missing in {message}");
    }
}

#[test]
fn a_daemon_whose_provider_is_missing_does_not_start() {
    for (provider, brings) in MISSING {
        let home = Home::new(&format!("provider = \"{provider}\""), CAMERA);
        let refused = home.refusal();
        assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
        assert_explained(&said(&refused), provider, brings);
        assert!(said(&refused).contains("camera.plaza.detector.provider"), "{}", said(&refused));
        assert!(!home.path("data").exists(), "nothing was begun");
    }
}

#[test]
fn check_says_it_as_a_problem_of_the_key() {
    let home = Home::new("provider = \"cuda\"", CAMERA);
    let check = |config: &str| {
        let mut command = sigmawatch(["check", "--json", "--config"]);
        let output = command.arg(home.path(config)).output().expect("the program runs");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), answer)
    };
    let (code, answer) = check("config.toml");
    let problem = &answer["problems"][0];
    assert_eq!(
        (code, problem["key"].as_str()),
        (Some(78), Some("camera.plaza.detector.provider")),
        "{answer}"
    );
    assert_eq!(problem["line"], 10, "{problem}");
    home.configure("provider = \"cpu\"", CAMERA);
    let (code, answer) = check("config.toml");
    assert_eq!(code, Some(0), "{answer}");
    home.configure("provider = \"gpu\"", CAMERA);
    let (code, answer) = check("config.toml");
    let allowed = answer["problems"][0]["allowed"].as_str().expect("what is allowed");
    assert_eq!((code, allowed), (Some(78), r#""cpu", "openvino", "cuda", "tensorrt""#), "{answer}");
}

#[test]
fn commands_refuse_it_too() {
    for (provider, brings) in MISSING {
        let args = ["learn", "--from", "none.mp4", "--out", "none.onnx", "--provider", provider];
        let output = sigmawatch(args).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_explained(&said(&output), provider, brings);
    }
}
