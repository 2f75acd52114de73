//! Model files from outside: one's own extractor runs, what does not fit is refused, the manual tells the truth.

use sigmawatch::base::Timestamp;
use sigmawatch::config;
use sigmawatch::features::{ExtractorModel, v1::V1Params};
use sigmawatch::frame::Stamp;
use sigmawatch::infer::{self, Dim, Graph, Manifest};
use sigmawatch::segment::Segment;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const MANUAL: &str = include_str!("../../docs/ref/models.md");

/// Loads ONNX Runtime: `SIGMAWATCH_ORT_LIB`, else the library that `make` fetches.
fn load_runtime() {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so");
    let lib = std::env::var_os("SIGMAWATCH_ORT_LIB").map_or(fetched, PathBuf::from);
    infer::init(&lib).expect("ONNX Runtime for the tests: `make test` fetches it");
}

/// The manual's examples: an extractor and a scorer.
fn examples() -> Vec<Manifest> {
    let blocks = MANUAL.split("```json\n").skip(1).map(|rest| rest.split("```").next().expect("a block"));
    blocks.map(|json| Manifest::parse("the manual", json).expect("an example that is right")).collect()
}

/// An extractor like the manual's that takes about a second, or several, for a segment.
pub fn slow_extractor() -> Vec<u8> {
    let [manifest, _] = examples().try_into().expect("two examples");
    mean_colour_after(&manifest, 120)
}

/// The manual's example extractor: the mean colour of the segment.
fn mean_colour(manifest: &Manifest) -> Vec<u8> {
    mean_colour_after(manifest, 0)
}

/// The same, after some products of large matrices whose result is not used up.
fn mean_colour_after(manifest: &Manifest, products: usize) -> Vec<u8> {
    let mut g = Graph::new("mean-colour");
    let dims = [Dim::Symbol("segments"), Dim::Fixed(16), Dim::Fixed(180), Dim::Fixed(320), Dim::Fixed(3)];
    let frames = g.input_u8("frames", &dims);
    let floats = g.op("Cast", &[&frames], &[("to", 1.into())]);
    let mean = g.op("ReduceMean", &[&floats], &[("axes", [1usize, 2, 3].into()), ("keepdims", 0.into())]);
    let mean = match products {
        0 => mean,
        _ => {
            const SIDE: usize = 700;
            let (zero, all) = (g.scalar(0.0), g.op("ReduceMean", &[&mean], &[("keepdims", 0.into())]));
            let nothing = g.op("Mul", &[&all, &zero], &[]);
            let mean_of = g.constant(&[SIDE, SIDE], &vec![1.0 / SIDE as f32; SIDE * SIDE]);
            // What depends on the pictures cannot be worked out beforehand.
            let mut big = g.op("Add", &[&mean_of, &nothing], &[]);
            for _ in 0..products {
                big = g.op("MatMul", &[&mean_of, &big], &[]);
            }
            let one = g.op("ReduceMean", &[&big], &[("keepdims", 0.into())]);
            let none = g.op("Mul", &[&one, &zero], &[]);
            g.op("Add", &[&mean, &none], &[])
        }
    };
    let shape = g.ints(&[-1, 1, 3]);
    let features = g.op("Reshape", &[&mean, &shape], &[]);
    g.output_f32("features", &features, &[Dim::Symbol("segments"), Dim::Fixed(1), Dim::Fixed(3)]);
    g.finish(manifest)
}

/// Writes `bytes` as a model file and prepares it as an extractor.
fn prepare(bytes: &[u8]) -> Result<ExtractorModel, infer::InferError> {
    load_runtime();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("m.onnx");
    sigmawatch::base::write_atomically(&path, bytes).expect("written");
    ExtractorModel::prepare(&config::Extractor::File(path))
}

#[test]
fn an_extractor_of_ones_own_runs() {
    let [manifest, _] = examples().try_into().expect("two examples");
    let mut extractor = prepare(&mean_colour(&manifest)).expect("fits").open().expect("opens");
    let picture: Arc<[u8]> = [10u8, 20, 30].repeat(320 * 180).into();
    let zero = Duration::ZERO;
    let stamp = Stamp { seq: 0, pts: zero, wall: Timestamp::UNIX_EPOCH, received: zero };
    let mut segment = Segment {
        index: 0,
        run: 0,
        start: stamp,
        end: stamp,
        unsettled: false,
        damaged: false,
        frames: vec![picture; 16],
    };
    let features = extractor.extract(&[&segment, &segment]).expect("features");
    assert_eq!(features.len(), 2);
    assert_eq!((features[1].regions, features[1].dims), (1, 3));
    assert_eq!(features[1].values, [10.0, 20.0, 30.0]);
    segment.frames.pop();
    let short = extractor.extract(&[&segment]).expect_err("fifteen frames").to_string();
    assert!(short.contains("a segment of 15 frames"), "{short}");
}

#[test]
fn extractors_that_do_not_fit_are_refused_with_file_and_cause() {
    let [manifest, scorer] = examples().try_into().expect("two examples");
    let mut other_grid = manifest.clone();
    if let infer::ModelSpec::Extractor(spec) = &mut other_grid.spec {
        spec.grid.rows = 4;
    }
    let refusal = |bytes: &[u8]| prepare(bytes).expect_err("refused").to_string();
    let message = refusal(&mean_colour(&other_grid));
    assert!(message.contains("its manifest means f32 [segments, 4, 3]"), "{message}");
    let message = refusal(&mean_colour(&scorer));
    assert!(message.contains("m.onnx: its inputs are frames, and should be features"), "{message}");
    let message = refusal(include_bytes!("../../Cargo.toml"));
    assert!(message.contains("m.onnx: is not an ONNX model: it holds text"), "{message}");
    let missing =
        ExtractorModel::prepare(&config::Extractor::File("no/such.onnx".into())).expect_err("refused");
    assert!(missing.to_string().contains("no/such.onnx: there is no such file"), "{missing}");
}

#[test]
fn a_generated_bank_written_to_a_file_is_the_same_model() {
    load_runtime();
    let generated = ExtractorModel::generate(&V1Params::new(64, 48, 10.0, true)).expect("a model");
    let read = prepare(generated.bytes()).expect("fits");
    assert_eq!((read.manifest(), read.sha256()), (generated.manifest(), generated.sha256()));
}

/// Every key of a manifest as the manual writes it, `spec.` left out.
fn keys(prefix: &str, value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(object) => {
            for (key, value) in object {
                match (prefix, key.as_str()) {
                    ("", "spec") => keys("", value, into),
                    ("", "kind") => _ = into.insert("spec.kind".into()),
                    ("", _) => keys(key, value, into),
                    _ => keys(&format!("{prefix}.{key}"), value, into),
                }
            }
        }
        None => _ = into.insert(prefix.into()),
    }
}

#[test]
fn the_manual_lists_every_key_of_the_manifest_and_no_other() {
    let mut written = BTreeSet::new();
    for manifest in examples() {
        keys("", &serde_json::to_value(&manifest).expect("JSON"), &mut written);
    }
    let rows = MANUAL.split("## The manifest").nth(1).expect("a chapter").split("## Your own").next();
    let first_cells = rows.expect("an end").lines().filter_map(|l| l.strip_prefix("| `")?.split(" |").next());
    let listed: BTreeSet<String> =
        first_cells.flat_map(|cell| cell.split(", ")).map(|key| key.trim_matches('`').to_string()).collect();
    assert_eq!(listed, written);
    assert!(MANUAL.contains(infer::MANIFEST_KEY), "the manual names the metadata key");
}
