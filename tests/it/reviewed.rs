//! What operators said of events teaches a scorer: `learn --reviewed` beside a running daemon's store.

use crate::clips::render;
use crate::fixture::event;
use crate::program::{Home, sigmawatch};
use sigmawatch::alert::{Clip, Label};
use sigmawatch::base::SystemClock;
use sigmawatch::store::Store;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

/// Three seconds of a ball that flies, or of a still picture; no two alike.
fn film(path: &Path, n: u64, flies: bool) {
    let motion = ["wavy", "sweep", "hsweep"][n as usize % 3];
    let pattern = match flies {
        true => format!("ball motion={motion} flip={}", n.is_multiple_of(2)),
        false => format!("gradient foreground-color={}", 0xff00_0000_u32 + 0x0008_0808 * n as u32),
    };
    render(&format!(
        "videotestsrc pattern={pattern} num-buffers=30 ! video/x-raw,format=I420,width=192,height=128,framerate=10/1 ! \
         x264enc key-int-max=10 bframes=0 ! mp4mux ! filesink location={}",
        path.display()
    ));
}

/// Events 1 to 16, even ones at the gate and odd ones in the yard; of each camera the first half show the ball.
fn filled(dir: &Path, label: impl Fn(bool) -> Label) -> Store {
    let store = Store::open(dir, Arc::new(SystemClock::default())).expect("opened");
    for n in 1..=16 {
        let event = event(n);
        store.put_event(&event).expect("written");
        let files = store.clip_files(&event.id).expect("an id");
        film(files.part(), n, n <= 8);
        let clip = Clip {
            start: event.start_time,
            seconds: 3.0,
            bytes: 0,
            codec: "H.264".into(),
            encoded_here: false,
            lacks: vec![],
        };
        store.put_clip(files, clip).expect("taken");
        store.review(&event.id, Some(label(n <= 8)), "", None).expect("reviewed");
    }
    store
}

fn learn(home: &Home, more: &[&str]) -> Output {
    let config = home.path("config.toml");
    let out = home.path("balls.onnx");
    let mut command =
        sigmawatch(["learn", "--scorer", "rtfm", "--reviewed", "--width", "96", "--height", "64"]);
    command.args(["--stride", "2", "--steps", "40", "--config"]).arg(config).arg("--out").arg(out).args(more);
    command.output().expect("the program runs")
}

fn error(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The highest score of a clip.
fn top(home: &Home, clip: &Path) -> f64 {
    let mut command = sigmawatch(["score", "--json", "--model"]);
    let output = command.arg(home.path("balls.onnx")).arg(clip).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let scores = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["score"].as_f64());
    scores.fold(f64::MIN, f64::max)
}

const CAMERAS: &str = "[[camera]]\nname = \"gate\"\nsource = \"synthetic\"\n[[camera]]\nname = \"yard\"\nsource = \"synthetic\"\n";

#[test]
fn reviewed_events_teach_what_a_true_alarm_is() {
    let home = Home::new("width = 96\nheight = 64\nstride = 2", CAMERAS);
    let _daemons = filled(&home.path("data"), |ball| if ball { Label::TrueAlarm } else { Label::FalseAlarm });
    let done = learn(&home, &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let unseen = |flies| -> PathBuf {
        let path = home.path(if flies { "flies.mp4" } else { "still.mp4" });
        film(&path, 20, flies);
        path
    };
    let (flies, still) = (top(&home, &unseen(true)), top(&home, &unseen(false)));
    assert!(flies > still + 0.5, "{flies} where a ball flies, {still} where nothing does");
    // One camera's alone are too few of each; that is said with both numbers.
    let few = error(&learn(&home, &["--camera", "gate"]));
    assert!(few.contains("4 normal") && few.contains("4 unusual"), "{few}");
    let strange = error(&learn(&home, &["--camera", "gat"]));
    assert!(strange.contains("there is no camera gat") && strange.contains("gate, yard"), "{strange}");
}

#[test]
fn without_reviews_or_for_a_scorer_without_labels_it_says_what_to_do() {
    let home = Home::new("", CAMERAS);
    let nothing = error(&learn(&home, &[]));
    assert!(nothing.contains("there is no such database"), "{nothing}");
    drop(filled(&home.path("data"), |_| Label::Unsure));
    let unsure = error(&learn(&home, &[]));
    assert!(unsure.contains("no event with a clip was reviewed as a true or a false alarm"), "{unsure}");
    let mut plain = sigmawatch(["learn", "--scorer", "knn", "--reviewed", "--config"]);
    plain.arg(home.path("config.toml")).arg("--out").arg(home.path("k.onnx"));
    let plain = error(&plain.output().expect("the program runs"));
    assert!(plain.contains("--reviewed is for --scorer rtfm"), "{plain}");
}
