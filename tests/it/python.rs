//! Model files in plain `onnxruntime` from Python: what was learned here gives the same scores there.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use sigmawatch::config::Method;
use sigmawatch::features::Features;
use sigmawatch::infer::{Grid, Session, init};
use sigmawatch::score::{OnnxScorer, Scorer};
use sigmawatch::train::{
    Clip, Flow, LabelledSet, LearnConfig, Learned, Sample, TrainingSet, learn, learn_labelled,
};
use std::path::{Path, PathBuf};
use std::process::Command;

const GRID: Grid = Grid { rows: 3, cols: 4 };
const DIMS: usize = 6;

/// A Python of the version that the packages in `runtime/python` are for.
fn python() -> Option<&'static str> {
    let is_3_11 = |python: &&str| {
        let asked = ["-I", "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 11))"];
        Command::new(python).args(asked).status().is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3", "python3.11"].into_iter().find(is_3_11)
}

/// Numbers that have something in common, so that a network has something to learn.
fn segment(rng: &mut StdRng) -> Features {
    let mut values = Vec::new();
    for _ in 0..GRID.regions() {
        let common: f32 = rng.random_range(-1.0..1.0);
        values.extend((0..DIMS).map(|d| 2.0 + common * d as f32 + rng.random_range(-0.3..0.3f32)));
    }
    Features { regions: GRID.regions(), dims: DIMS, values }
}

fn library() -> PathBuf {
    let named = std::env::var_os("SIGMAWATCH_ORT_LIB").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so"))
}

/// Every output of the model, flat, as Python has it.
fn in_python(python: &str, model: &Path, segments: &[Features], dir: &Path) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let nested: Vec<Vec<&[f32]>> = segments.iter().map(|f| f.values.chunks_exact(f.dims).collect()).collect();
    let features = dir.join("features.json");
    std::fs::write(&features, serde_json::to_string(&nested).expect("JSON")).expect("written");
    let output = Command::new(python)
        .args(["-I".as_ref(), root.join("tests/onnxruntime_scores.py").as_os_str()])
        .args([&root.join("runtime/python"), model, &features])
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn flat(value: &Value) -> Vec<f32> {
    match value.as_array() {
        Some(parts) => parts.iter().flat_map(flat).collect(),
        None => vec![value.as_f64().expect("a number") as f32],
    }
}

fn learned(method: Method, samples: &[Sample]) -> Learned {
    let config = LearnConfig { steps: 40, batch: 128, memory: 200, ..LearnConfig::of(method) };
    let mut go_on = |_| Flow::Continue;
    if method.needs_labels() {
        let clip = |(i, part): (usize, &[Sample])| Clip {
            unusual: i % 2 == 1,
            segments: part.iter().map(|sample| sample.features.clone()).collect(),
        };
        let clips = samples.chunks(5).enumerate().map(clip).collect();
        let set = LabelledSet { extractor: "toy 1".into(), grid: GRID, sampling: None, clips };
        return learn_labelled(&set, &LearnConfig { batch: 8, ..config }, &mut go_on).expect("learns");
    }
    let set = TrainingSet {
        extractor: "toy 1".into(),
        grid: GRID,
        sampling: None,
        channels: vec![],
        wall_clock: false,
        samples: samples.to_vec(),
    };
    learn(set, &config, &mut go_on).expect("learns")
}

#[test]
fn plain_onnxruntime_gives_the_same_scores() {
    let Some(python) = python() else {
        println!("not checked: there is no Python 3.11 here");
        return;
    };
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/python/onnxruntime");
    assert!(packages.is_dir(), "runtime/python is not there: `make test` brings it");
    init(&library()).expect("ONNX Runtime");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut rng = StdRng::seed_from_u64(3);
    let samples = (0..90)
        .map(|i| Sample { time: f64::from(i), run: 0, features: segment(&mut rng) })
        .collect::<Vec<_>>();
    let fresh: Vec<Features> = (0..12).map(|_| segment(&mut rng)).collect();
    for method in Method::ALL {
        let learned = learned(method, &samples);
        let file = dir.path().join(format!("{method}.onnx"));
        std::fs::write(&file, &learned.bytes).expect("written");
        let mut scorer = OnnxScorer::new(Session::load(&file).expect("loads")).expect("a scorer");
        let here = scorer.score_run(&fresh.iter().collect::<Vec<_>>()).expect("scores");
        let there = in_python(python, &file, &fresh, dir.path());
        let worst = |name: &str, here: Vec<f32>| {
            let there = flat(&there[name]);
            assert_eq!(here.len(), there.len(), "{method}: {name}");
            let apart = here.iter().zip(&there).map(|(h, t)| (h - t).abs() / h.abs().max(1.0));
            let worst = apart.fold(0.0, f32::max);
            println!("{method}: {name} of {} numbers differs by {worst:e} at most", here.len());
            assert!(worst < 1e-5, "{method}: {name} differs by {worst:e}");
        };
        worst("score", here.iter().map(|s| s.value).collect());
        worst("regions", here.iter().flat_map(|s| s.regions.clone()).collect());
        if method == Method::BetaVae {
            worst("factors", here.iter().flat_map(|s| s.factors.clone()).collect());
        }
    }
}
