//! Extractors as ONNX models: the generated V1 bank, or any file that describes itself.

use super::v1::{self, Parts, V1Params};
use super::{Extractor, Features};
use crate::config::{self, Provider};
use crate::infer::{ExtractorSpec, InferError, Manifest, Session, TensorIn};
use crate::segment::Segment;
use std::sync::Arc;
use std::time::Duration;

/// An extractor's run on a segment is stopped after this: what comes later is out of date anyway.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// An extractor as bytes, checked once, to be opened by every worker that needs it.
#[derive(Debug, Clone)]
pub struct ExtractorModel {
    name: String,
    bytes: Arc<[u8]>,
    manifest: Manifest,
    sha256: String,
    /// What runs it.
    provider: Provider,
    /// The program's own bank runs as two halves, which is faster.
    parts: Option<Arc<Parts>>,
}

impl ExtractorModel {
    /// Generates or reads what the configuration asks for, and checks it by opening it.
    pub fn prepare(extractor: &config::Extractor) -> Result<Self, InferError> {
        Self::prepare_on(Provider::Cpu, extractor)
    }

    /// Prepares an extractor to be run by `provider`, and opens it there.
    pub fn prepare_on(provider: Provider, extractor: &config::Extractor) -> Result<Self, InferError> {
        // Before anything is read, since nothing can come of it.
        crate::infer::require(provider)?;
        let prepared = Self { provider, ..Self::read(extractor)? };
        if provider != Provider::Cpu {
            prepared.open()?;
        }
        Ok(prepared)
    }

    fn read(extractor: &config::Extractor) -> Result<Self, InferError> {
        match extractor {
            config::Extractor::V1 { width, height, fps, whole_frame } => {
                let params = V1Params::new(*width as usize, *height as usize, *fps, *whole_frame);
                Self::generate(&params)
            }
            config::Extractor::File(path) => {
                let bytes = crate::infer::read_model(path)?;
                Self::check(path.display().to_string(), bytes)
            }
        }
    }

    /// Generates a V1 bank.
    pub fn generate(params: &V1Params) -> Result<Self, InferError> {
        if let Some(problem) = params.problem() {
            return Err(InferError::new("v1", problem, "choose a larger `width` and `height`"));
        }
        let (manifest, bytes) = v1::build(params);
        let whole = Self::check(manifest.id(), bytes)?;
        Ok(Self { parts: Some(Arc::new(Parts::new(params))), ..whole })
    }

    /// Checks the bytes of a model file by opening them; `name` is for messages.
    pub fn check(name: String, bytes: Vec<u8>) -> Result<Self, InferError> {
        let session = Session::from_bytes(&name, &bytes)?;
        session.manifest().extractor(&name)?;
        let (manifest, sha256) = (session.manifest().clone(), session.sha256().to_string());
        Ok(Self { name, bytes: bytes.into(), manifest, sha256, provider: Provider::Cpu, parts: None })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What runs it.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// What it takes and gives.
    pub fn spec(&self) -> &ExtractorSpec {
        self.manifest.extractor(&self.name).expect("checked when it was prepared")
    }

    /// Of the model's bytes, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The model file itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// An extractor for one thread.
    pub fn open(&self) -> Result<Box<dyn Extractor>, InferError> {
        if let Some(parts) = &self.parts {
            return Ok(Box::new(parts.open(self.provider, self.spec())?));
        }
        let session = Session::on(self.provider, &self.name, &self.bytes)?.within(DEADLINE);
        Ok(Box::new(OnnxExtractor { session, spec: self.spec().clone(), pixels: Vec::new() }))
    }
}

/// An extractor run by ONNX Runtime.
#[derive(Debug)]
pub struct OnnxExtractor {
    session: Session,
    spec: ExtractorSpec,
    /// The segment's frames, one after the other; kept to save the allocation.
    pixels: Vec<u8>,
}

impl Extractor for OnnxExtractor {
    fn spec(&self) -> &ExtractorSpec {
        &self.spec
    }

    fn extract(&mut self, segments: &[&Segment]) -> Result<Vec<Features>, InferError> {
        // One at a time: batches of convolutions gain nothing on a CPU, and cost memory.
        segments.iter().map(|segment| self.extract_one(segment)).collect()
    }
}

impl OnnxExtractor {
    fn extract_one(&mut self, segment: &Segment) -> Result<Features, InferError> {
        let ExtractorSpec { frame, frames, grid, dims, .. } = &self.spec;
        let (regions, dims) = (grid.regions(), *dims);
        let refuse = |session: &Session, problem: String| {
            InferError::new(session.model(), problem, "this is a fault of the program or of the model file")
        };
        self.pixels.clear();
        self.pixels.extend(segment.frames.iter().flat_map(|f| f.iter()));
        if segment.frames.len() != *frames || self.pixels.len() != frames * frame.frame_bytes() {
            let (count, bytes) = (segment.frames.len(), self.pixels.len());
            let wanted = frames * frame.frame_bytes();
            let problem = format!("a segment of {count} frames and {bytes} bytes, not {frames} and {wanted}");
            return Err(refuse(&self.session, problem));
        }
        let channels = frame.format.bytes_per_pixel();
        let shape = [1, *frames, frame.height as usize, frame.width as usize, channels];
        let input = TensorIn::U8 { dims: &shape, data: &self.pixels };
        let outputs = self.session.run(input)?;
        let Some(features) = outputs.into_iter().find(|o| o.name == "features") else {
            return Err(refuse(&self.session, "it gave no `features`".into()));
        };
        if features.dims != [1, regions, dims] {
            let problem = format!("it gave features of {:?}, not [1, {regions}, {dims}]", features.dims);
            return Err(refuse(&self.session, problem));
        }
        Ok(Features { regions, dims, values: features.data })
    }
}
