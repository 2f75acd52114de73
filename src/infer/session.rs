//! One model loaded into ONNX Runtime and checked against its own manifest.

use super::InferError;
use super::manifest::{MANIFEST_KEY, Manifest, ModelSpec, StateSpec};
use super::provider::Room;
use super::runtime::{Runner, TensorIn, TensorOut};
use crate::config::Provider;
use ort::value::{Outlet, TensorElementType, ValueType};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;

/// A model in memory, run by one thread: give every worker a session of its own.
#[derive(Debug)]
pub struct Session {
    runner: Runner,
    manifest: Manifest,
    sha256: String,
}

impl Session {
    /// Loads a model file that describes itself.
    pub fn load(path: &Path) -> Result<Self, InferError> {
        Self::from_bytes(&path.display().to_string(), &read_model(path)?)
    }

    /// Loads a model file's bytes; `model` names it in messages. Between runs it takes no more memory than the model:
    /// every camera has a scorer.
    pub fn from_bytes(model: &str, bytes: &[u8]) -> Result<Self, InferError> {
        Self::made(Provider::Cpu, Room::GivenBack, model, bytes)
    }

    /// Loads a model file's bytes, to be run by `provider`, again and again: what a run takes is kept for the next one.
    pub fn on(provider: Provider, model: &str, bytes: &[u8]) -> Result<Self, InferError> {
        Self::made(provider, Room::Kept, model, bytes)
    }

    fn made(provider: Provider, room: Room, model: &str, bytes: &[u8]) -> Result<Self, InferError> {
        if bytes.is_empty() {
            return Err(InferError::new(model, "the file is empty", "copy the model file again"));
        }
        let runner = Runner::load(provider, room, model, bytes, |error| not_a_model(model, bytes, &error))?;
        let json = runner.inner.metadata().ok().and_then(|m| m.custom(MANIFEST_KEY)).ok_or_else(|| {
            InferError::new(
                model,
                format!("it is an ONNX model, but does not describe itself (no metadata `{MANIFEST_KEY}`)"),
                "add a manifest as docs/ref/models.md shows",
            )
        })?;
        let manifest = Manifest::parse(model, &json)?;
        check_signature(model, &runner.inner, &manifest.spec)?;
        Ok(Self { runner, manifest, sha256: sha256_hex(bytes) })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// File or name of the model.
    pub fn model(&self) -> &str {
        &self.runner.model
    }

    /// Of the model file, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Runs the model on its one input; the outputs come in the order of the graph.
    pub fn run(&mut self, input: TensorIn<'_>) -> Result<Vec<TensorOut>, InferError> {
        self.runner.run(&[input])
    }

    /// Runs a model that remembers: its first input, then its state in the manifest's order.
    pub fn run_remembering(&mut self, inputs: &[TensorIn<'_>]) -> Result<Vec<TensorOut>, InferError> {
        self.runner.run(inputs)
    }

    /// The same session, whose runs are stopped after `deadline` (at the next operator). A model that has to be stopped
    /// time and again is left alone for more and more runs, which fail at once.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.runner.limit(deadline);
        self
    }
}

/// No ONNX file is larger (protobuf's limit): a recording named by mistake is not read into memory.
const LARGEST: u64 = 2 << 30;

/// Reads a model file whole.
pub fn read_model(path: &Path) -> Result<Vec<u8>, InferError> {
    let refuse = |problem: String| InferError::new(path.display().to_string(), problem, "check the path");
    let read = || {
        let length = std::fs::metadata(path)?.len();
        if length > LARGEST { Ok(Err(length)) } else { std::fs::read(path).map(Ok) }
    };
    match read() {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(length)) => Err(refuse(format!("is not an ONNX model: it has {length} bytes"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(refuse("there is no such file".into())),
        Err(e) => Err(refuse(format!("cannot be read: {e}"))),
    }
}

/// A model file's manifest and SHA-256, once it has passed every check that loading makes.
pub fn describe(path: &Path) -> Result<(Manifest, String), InferError> {
    let session = Session::load(path)?;
    Ok((session.manifest, session.sha256))
}

fn not_a_model(model: &str, bytes: &[u8], error: &str) -> InferError {
    let remedy = "name a model file, made by `sigmawatch learn` or exported as docs/ref/models.md shows";
    if std::str::from_utf8(bytes).is_ok() {
        return InferError::new(model, "is not an ONNX model: it holds text", remedy);
    }
    if error.to_lowercase().contains("protobuf") || error.contains("No graph was found") {
        return InferError::new(
            model,
            "is not an ONNX model, or a damaged one",
            "copy or make the file again",
        );
    }
    InferError::new(model, format!("ONNX Runtime refuses it: {error}"), remedy)
}

/// Checks that the graph takes and gives what the manifest says.
fn check_signature(model: &str, session: &ort::session::Session, spec: &ModelSpec) -> Result<(), InferError> {
    // -1 is the number of segments, which the caller chooses.
    let (input, mut outputs) = match spec {
        ModelSpec::Extractor(spec) => {
            let frame = &spec.frame;
            let channels = frame.format.bytes_per_pixel();
            let frames = [spec.frames, frame.height as usize, frame.width as usize, channels];
            (
                ("frames", TensorElementType::Uint8, batched(&frames)),
                vec![("features", batched(&[spec.grid.regions(), spec.dims]))],
            )
        }
        ModelSpec::Scorer(spec) => {
            let regions = spec.grid.regions();
            (
                ("features", TensorElementType::Float32, batched(&[regions, spec.dims])),
                vec![("score", batched(&[])), ("regions", batched(&[regions]))],
            )
        }
    };
    let state = match spec {
        ModelSpec::Extractor(_) => &[],
        ModelSpec::Scorer(spec) => spec.state.as_slice(),
    };
    let names: Vec<&str> = session.inputs().iter().map(Outlet::name).collect();
    let wanted: Vec<&str> = std::iter::once(input.0).chain(state.iter().map(|s| s.name.as_str())).collect();
    if names.len() != wanted.len() || (!state.is_empty() && names != wanted) {
        let problem = format!("its inputs are {}, and should be {}", names.join(", "), wanted.join(", "));
        return Err(InferError::new(model, problem, "export it as docs/ref/models.md shows"));
    }
    check_outlet(model, "input", session.inputs(), input.0, input.1, &input.2)?;
    let next: Vec<String> = state.iter().map(StateSpec::next).collect();
    for (state, next) in state.iter().zip(&next) {
        let dims = batched(&state.shape);
        check_outlet(model, "input", session.inputs(), &state.name, TensorElementType::Float32, &dims)?;
        outputs.push((next, dims));
    }
    for (name, dims) in &outputs {
        check_outlet(model, "output", session.outputs(), name, TensorElementType::Float32, dims)?;
    }
    Ok(())
}

fn batched(dims: &[usize]) -> Vec<i64> {
    std::iter::once(-1).chain(dims.iter().map(|&d| d as i64)).collect()
}

/// Checks one input or output. A dimension that the graph leaves open fits; the first one must be open.
fn check_outlet(
    model: &str,
    side: &str,
    outlets: &[Outlet],
    name: &str,
    element: TensorElementType,
    dims: &[i64],
) -> Result<(), InferError> {
    let remedy = "export it as docs/ref/models.md shows, with a manifest that says the truth";
    let Some(outlet) = outlets.iter().find(|o| o.name() == name) else {
        let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
        let problem = format!("it has no {side} `{name}` (it has: {})", names.join(", "));
        return Err(InferError::new(model, problem, remedy));
    };
    let fits = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            *ty == element
                && shape.len() == dims.len()
                && shape.iter().zip(dims).all(|(&is, &wanted)| is == -1 || is == wanted)
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let is = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => format!("{ty} {}", show_dims(shape)),
        other => format!("{other}"),
    };
    let problem =
        format!("its {side} `{name}` is {is}, and its manifest means {element} {}", show_dims(dims));
    Err(InferError::new(model, problem, remedy))
}

fn show_dims(dims: &[i64]) -> String {
    let dims: Vec<String> =
        dims.iter().map(|&d| if d < 0 { "segments".into() } else { d.to_string() }).collect();
    format!("[{}]", dims.join(", "))
}

/// SHA-256 of a model file's bytes, lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::manifest::tests::{extractor_manifest, scorer_manifest};
    use crate::infer::{Dim, Graph, init_for_tests};

    const N: Dim = Dim::Symbol("segments");

    /// A scorer graph: region score = sum of its numbers, score = the largest.
    fn scorer_graph(dims: usize) -> Graph {
        let mut g = Graph::new("toy");
        let x = g.input_f32("features", &[N, Dim::Fixed(6), Dim::Fixed(dims)]);
        let last = g.ints(&[2]);
        let regions = g.op("ReduceSum", &[&x, &last], &[("keepdims", 0.into())]);
        let score = g.op("ReduceMax", &[&regions], &[("axes", [1i64].into()), ("keepdims", 0.into())]);
        g.output_f32("score", &score, &[N]);
        g.output_f32("regions", &regions, &[N, Dim::Fixed(6)]);
        g
    }

    fn refusal(bytes: &[u8]) -> String {
        init_for_tests();
        Session::from_bytes("m.onnx", bytes).expect_err("refused").to_string()
    }

    #[test]
    fn a_model_runs_and_knows_itself() {
        init_for_tests();
        let bytes = scorer_graph(2).finish(&scorer_manifest());
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("m.onnx");
        crate::base::write_atomically(&path, &bytes).expect("written");
        let mut session = Session::load(&path).expect("loads");
        assert_eq!(session.manifest(), &scorer_manifest());
        assert_eq!(session.sha256(), sha256_hex(&bytes));
        assert_eq!(describe(&path).expect("described"), (scorer_manifest(), sha256_hex(&bytes)));
        let features: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let out = session.run(TensorIn::F32 { dims: &[2, 6, 2], data: &features }).expect("runs");
        assert_eq!((out[0].name.as_str(), out[0].dims.as_slice()), ("score", [2usize].as_slice()));
        assert_eq!(out[0].data, [21.0, 45.0]);
        assert_eq!(out[1].dims, [2, 6]);
        session = session.within(Duration::from_secs(60));
        let again = session.run(TensorIn::F32 { dims: &[2, 6, 2], data: &features });
        assert_eq!(again.expect("runs"), out);
        let wrong = session.run(TensorIn::F32 { dims: &[2, 5, 2], data: &features[..20] });
        assert!(wrong.expect_err("another shape").to_string().contains("cannot be run"));
    }

    #[test]
    fn files_that_are_no_models_are_refused_in_words() {
        assert!(refusal(b"").contains("the file is empty"));
        assert!(refusal(b"[camera.a]\nurl = 'x'\n").contains("m.onnx: is not an ONNX model: it holds text"));
        let noise = refusal(&[0xff; 300]);
        assert!(noise.contains("is not an ONNX model, or a damaged one"), "{noise}");
        let whole = scorer_graph(2).finish(&scorer_manifest());
        assert!(refusal(&whole[..whole.len() / 2]).contains("m.onnx: "));
        let missing = Session::load(Path::new("no/such.onnx")).expect_err("refused").to_string();
        assert!(missing.contains("no/such.onnx: there is no such file"), "{missing}");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let sparse = dir.path().join("recording.mp4");
        std::fs::File::create(&sparse).and_then(|f| f.set_len(LARGEST + 1)).expect("a sparse file");
        let huge = Session::load(&sparse).expect_err("refused").to_string();
        assert!(huge.contains("recording.mp4: is not an ONNX model: it has 2147483649 bytes"), "{huge}");
        let folder = Session::load(dir.path()).expect_err("refused").to_string();
        assert!(folder.contains("cannot be read: "), "{folder}");
    }

    #[test]
    fn models_that_do_not_describe_themselves_truly_are_refused() {
        use onnx_protobuf::{Message, ModelProto};
        let whole = scorer_graph(2).finish(&scorer_manifest());
        let mut bare = ModelProto::parse_from_bytes(&whole).expect("parses");
        bare.metadata_props.clear();
        assert!(refusal(&bare.write_to_bytes().expect("bytes")).contains("does not describe itself"));
        let other = refusal(&scorer_graph(3).finish(&scorer_manifest()));
        assert!(
            other.contains("`features` is f32 [segments, 6, 3], and its manifest means f32 [segments, 6, 2]"),
            "{other}"
        );
        let kind = refusal(&scorer_graph(2).finish(&extractor_manifest()));
        assert!(kind.contains("it has no input `frames` (it has: features)"), "{kind}");
    }

    #[test]
    fn the_state_must_be_there_and_in_order() {
        let mut manifest = scorer_manifest();
        let ModelSpec::Scorer(spec) = &mut manifest.spec else { unreachable!("a scorer's manifest") };
        spec.state = vec![StateSpec { name: "sum".into(), shape: vec![3] }];
        let stateless = refusal(&scorer_graph(2).finish(&manifest));
        assert!(stateless.contains("its inputs are features, and should be features, sum"), "{stateless}");
        let mut g = scorer_graph(2);
        g.input_f32("sum", &[N, Dim::Fixed(3)]);
        let forgetful = refusal(&g.finish(&manifest));
        assert!(forgetful.contains("it has no output `sum_next`"), "{forgetful}");
        let mut g = scorer_graph(2);
        g.input_f32("sum", &[N, Dim::Fixed(4)]);
        let wide = refusal(&g.finish(&manifest));
        assert!(wide.contains("its input `sum` is f32 [segments, 4]"), "{wide}");
    }

    #[test]
    fn a_run_past_its_deadline_is_stopped() {
        init_for_tests();
        let mut g = Graph::new("slow");
        let x = g.input_f32("features", &[N, Dim::Fixed(6), Dim::Fixed(2)]);
        let mut big = g.constant(&[512, 512], &vec![1e-3; 512 * 512]);
        let small = g.op("ReduceSum", &[&x], &[("keepdims", 0.into())]);
        big = g.op("Mul", &[&big, &small], &[]);
        for _ in 0..2000 {
            big = g.op("MatMul", &[&big, &big], &[]);
        }
        let total = g.op("ReduceSum", &[&big], &[("keepdims", 0.into())]);
        let last = g.ints(&[2]);
        let regions = g.op("ReduceSum", &[&x, &last], &[("keepdims", 0.into())]);
        let regions = g.op("Add", &[&regions, &total], &[]);
        let score = g.op("ReduceMax", &[&regions], &[("axes", [1i64].into()), ("keepdims", 0.into())]);
        g.output_f32("score", &score, &[N]);
        g.output_f32("regions", &regions, &[N, Dim::Fixed(6)]);
        let session = Session::from_bytes("slow", &g.finish(&scorer_manifest())).expect("loads");
        let mut session = session.within(Duration::from_millis(5));
        let mut said = || {
            let run = session.run(TensorIn::F32 { dims: &[1, 6, 2], data: &[0.0; 12] });
            run.expect_err("stopped").to_string()
        };
        let messages = [said(), said(), said()];
        assert!(messages[1].contains("a run took longer than 5 ms and was stopped"), "{messages:?}");
        assert!(messages[2].contains("2 runs in a row took longer than 5 ms"), "{messages:?}");
    }
}
