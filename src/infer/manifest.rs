//! What a model file says of itself, kept in the ONNX metadata so that one file is all there is.

use super::{InferError, NormalSpec};
use crate::frame::FrameSpec;
use crate::segment::SEGMENT_FRAMES;
use serde::{Deserialize, Serialize};

/// Metadata key that holds the [`Manifest`] as JSON.
pub const MANIFEST_KEY: &str = "sigmawatch.manifest";
/// Version of the layout below; a file with another one is refused.
pub const MANIFEST_FORMAT: u32 = 1;

/// A model file's description of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// For example `v1` or `diffusion`.
    pub name: String,
    pub version: String,
    /// SPDX expression of the weights.
    pub licence: String,
    /// Where the weights come from.
    pub provenance: String,
    pub spec: ModelSpec,
}

impl Manifest {
    /// Name and version in one: what a scorer keeps of the extractor that it was learned from.
    pub fn id(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Reads a manifest from the JSON of the metadata of `model`, and checks that it makes sense in itself.
    pub fn parse(model: &str, json: &str) -> Result<Self, InferError> {
        let refuse = |problem: String, remedy: &str| Err(InferError::new(model, problem, remedy));
        let parsed: serde_json::Value = match serde_json::from_str(json) {
            Ok(value) => value,
            Err(e) => return refuse(format!("its manifest is not JSON: {e}"), REWRITE),
        };
        // The format comes first: another format may well have other fields.
        match parsed.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(MANIFEST_FORMAT) => {}
            Some(format) => {
                let problem =
                    format!("its manifest has format {format}, this program reads format {MANIFEST_FORMAT}");
                return refuse(problem, "use a file written by this version, or learn again");
            }
            None => return refuse("its manifest does not say its format".into(), REWRITE),
        }
        let manifest: Manifest = match serde_json::from_value(parsed) {
            Ok(manifest) => manifest,
            Err(e) => return refuse(format!("its manifest is incomplete: {e}"), REWRITE),
        };
        match manifest.spec.nonsense() {
            Some(problem) => refuse(format!("its manifest makes no sense: {problem}"), REWRITE),
            None => Ok(manifest),
        }
    }

    /// The description of an extractor; an error about `model` where this is another kind.
    pub fn extractor(&self, model: &str) -> Result<&ExtractorSpec, InferError> {
        match &self.spec {
            ModelSpec::Extractor(spec) => Ok(spec),
            ModelSpec::Scorer(_) => Err(InferError::new(
                model,
                format!("it is a scorer ({}), and an extractor is wanted here", self.id()),
                "name a scorer file as `scorer`, and `v1` or an extractor file as `extractor`",
            )),
        }
    }

    /// The description of a scorer; an error about `model` where this is another kind.
    pub fn scorer(&self, model: &str) -> Result<&ScorerSpec, InferError> {
        match &self.spec {
            ModelSpec::Scorer(spec) => Ok(spec),
            ModelSpec::Extractor(_) => Err(InferError::new(
                model,
                format!("it is an extractor ({}), and a scorer is wanted here", self.id()),
                "name an extractor file as `extractor`, and a file made by `sigmawatch learn` as `scorer`",
            )),
        }
    }

    /// Checks that the scorer `model`, described by `self`, was learned from what `extractor` gives.
    pub fn check_learned_from(&self, model: &str, extractor: &Manifest) -> Result<(), InferError> {
        let spec = self.scorer(model)?;
        let features = extractor.extractor(&extractor.name)?;
        let remedy = "learn again with this extractor, or configure the extractor it was learned from";
        if spec.grid != features.grid {
            let problem = format!(
                "it scores a grid of {} regions, and the extractor {} gives {}",
                spec.grid,
                extractor.id(),
                features.grid
            );
            return Err(InferError::new(model, problem, remedy));
        }
        if spec.dims != features.dims {
            let problem = format!(
                "it takes {} numbers a region, and the extractor {} gives {}",
                spec.dims,
                extractor.id(),
                features.dims
            );
            return Err(InferError::new(model, problem, remedy));
        }
        if spec.extractor != extractor.id() {
            let problem = format!(
                "it was learned from the extractor {:?}, and this one is {:?}",
                spec.extractor,
                extractor.id()
            );
            return Err(InferError::new(model, problem, remedy));
        }
        Ok(())
    }

    /// Checks that segments come as close to each other as those that the scorer `model` was learned from, if it looks
    /// at their order.
    pub fn check_stride(&self, model: &str, stride: usize) -> Result<(), InferError> {
        let spec = self.scorer(model)?;
        match &spec.sampling {
            Some(sampling) if !spec.state.is_empty() && sampling.stride != stride => Err(InferError::new(
                model,
                format!(
                    "it looks at segments {} frames apart, and these are {stride} apart",
                    sampling.stride
                ),
                format!("configure `stride = {}`, or learn again with this stride", sampling.stride),
            )),
            _ => Ok(()),
        }
    }
}

const REWRITE: &str = "write the file again; docs/ref/models.md describes the manifest";

/// What kind of model it is, and what it takes and gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ModelSpec {
    Extractor(ExtractorSpec),
    Scorer(ScorerSpec),
}

impl ModelSpec {
    /// What cannot be, if anything.
    fn nonsense(&self) -> Option<String> {
        let (grid, dims) = match self {
            ModelSpec::Extractor(spec) => (spec.grid, spec.dims),
            ModelSpec::Scorer(spec) => (spec.grid, spec.dims),
        };
        if grid.regions() == 0 || dims == 0 {
            return Some(format!("a grid of {grid} regions with {dims} numbers each"));
        }
        match self {
            ModelSpec::Extractor(spec) => {
                let FrameSpec { width, height, fps, .. } = spec.frame;
                if width == 0 || height == 0 || !(fps.is_finite() && fps > 0.0) {
                    Some(format!("pictures of {width} x {height} pixels at {fps} frames a second"))
                } else if spec.frames != SEGMENT_FRAMES {
                    Some(format!("segments of {} frames; they have {SEGMENT_FRAMES}", spec.frames))
                } else if ![spec.covers.width, spec.covers.height].iter().all(|c| *c > 0.0 && *c <= 1.0) {
                    Some("a grid that does not lie in the picture".into())
                } else if spec.channels.len() != dims {
                    Some(format!("{} channel names for {dims} dimensions", spec.channels.len()))
                } else {
                    None
                }
            }
            ModelSpec::Scorer(spec) => {
                let Calibration { mu, sigma, .. } = spec.calibration;
                (!(mu.is_finite() && sigma.is_finite() && sigma >= 0.0))
                    .then(|| format!("a calibration of mu {mu} and sigma {sigma}"))
                    .or_else(|| odd_state(&spec.state))
                    .or_else(|| {
                        let normal = spec.normal.as_ref()?;
                        let odd = normal.decoded(grid.regions(), dims).is_none();
                        odd.then(|| "a normal life of other features".into())
                    })
            }
        }
    }
}

/// Regions of the picture, row by row from the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    pub rows: usize,
    pub cols: usize,
}

impl Grid {
    /// The whole picture as one region.
    pub const WHOLE: Grid = Grid { rows: 1, cols: 1 };

    pub fn regions(self) -> usize {
        self.rows * self.cols
    }
}

/// Share of the picture's width and height, from its top left corner, that the grid lies over. A grid of
/// whole cells may leave a strip at the right or the bottom unwatched.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Covers {
    pub width: f64,
    pub height: f64,
}

impl Default for Covers {
    fn default() -> Self {
        Self { width: 1.0, height: 1.0 }
    }
}

impl std::fmt::Display for Grid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {}", self.rows, self.cols)
    }
}

/// Input `frames` u8 `[segments, 16, height, width, channels]`; output `features` f32
/// `[segments, regions, dims]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractorSpec {
    pub frame: FrameSpec,
    /// Frames in a segment.
    pub frames: usize,
    pub grid: Grid,
    /// The whole picture where the file does not say.
    #[serde(default)]
    pub covers: Covers,
    /// Numbers a region.
    pub dims: usize,
    /// One name a dimension (`dims` of them), for explanations.
    pub channels: Vec<String>,
}

/// Input `features` f32 `[segments, regions, dims]`; outputs `score` f32 `[segments]` and `regions` f32
/// `[segments, regions]`. One that remembers has more inputs and outputs: [`StateSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorerSpec {
    /// Name and version of the extractor whose features it was learned from.
    pub extractor: String,
    /// How its segments were taken, so that others are taken alike; `None` where that was not known.
    #[serde(default)]
    pub sampling: Option<Sampling>,
    pub grid: Grid,
    pub dims: usize,
    /// What it carries from segment to segment of one stream; empty where it looks at each by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<StateSpec>,
    pub calibration: Calibration,
    /// The latent factors that explain its scores, where it has an output `factors`, f32 `[segments, factors]`; empty
    /// otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<FactorSpec>,
    /// What its features are like in normal life, so that it can be said which of them are not; `None` where the file
    /// does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<NormalSpec>,
    /// Free-form facts of the training (steps, seed, segments, seconds of video ...).
    pub training: serde_json::Value,
}

/// One latent factor, as normal life had it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactorSpec {
    /// Of what it contributed in the strangest region of each segment, nats.
    pub median: f32,
    /// Of the same: pairs of a share and the contribution that this share lay below, both rising.
    pub quantiles: Vec<(f64, f32)>,
    /// Signals that its mean goes with in normal life, strongest first.
    pub correlations: Vec<Correlation>,
}

/// How a factor goes with something that has a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    pub signal: String,
    /// Pearson's r.
    pub r: f64,
}

/// A tensor that a scorer carries from one segment of a stream to the next: its input `name` and its output
/// `name_next`, both f32 `[segments, shape ...]`; zeros before the first segment. The segments of one run are
/// then of different streams, since each needs the state that the one before it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSpec {
    pub name: String,
    pub shape: Vec<usize>,
}

impl StateSpec {
    /// Numbers that a stream keeps.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The output that gives it for the next segment.
    pub fn next(&self) -> String {
        format!("{}_next", self.name)
    }
}

/// Numbers of state that a stream may keep at most: 64 MiB.
const MOST_STATE: usize = 1 << 24;

/// What cannot be about a scorer's state, if anything.
fn odd_state(state: &[StateSpec]) -> Option<String> {
    let mut sizes = state.iter().map(|s| s.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)));
    let total = sizes.try_fold(0usize, |sum, n| sum.checked_add(n.filter(|n| *n > 0)?));
    if total.is_none_or(|n| n > MOST_STATE) {
        return Some(format!("state tensors that are empty, or hold more than {MOST_STATE} numbers"));
    }
    let taken = |i: usize| state[..i].iter().any(|s| s.name == state[i].name) || state[i].name == "features";
    (0..state.len()).find(|i| taken(*i)).map(|i| format!("two inputs named `{}`", state[i].name))
}

/// How frames became segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Frames that the extractor took.
    pub frame: FrameSpec,
    /// Frames between the starts of consecutive segments.
    pub stride: usize,
}

/// Scores of normal life, from time blocks that the learning did not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub mu: f64,
    pub sigma: f64,
    /// The scores themselves, in order of time, so that other thresholds can be had later.
    pub scores: Vec<f32>,
    /// All scores, also of segments that were dropped as suspicious, in order of time: end of the segment in seconds
    /// from the first one, and its score. Empty in files from before budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<(f64, f32)>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    /// A small extractor: 2 x 3 regions of 2 numbers.
    pub(crate) fn extractor_manifest() -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            name: "toy".into(),
            version: "1".into(),
            licence: "MIT OR Apache-2.0".into(),
            provenance: "a test".into(),
            spec: ModelSpec::Extractor(ExtractorSpec {
                frame: FrameSpec { width: 6, height: 4, format: PixelFormat::Gray8, fps: 10.0 },
                frames: SEGMENT_FRAMES,
                grid: Grid { rows: 2, cols: 3 },
                covers: Covers::default(),
                dims: 2,
                channels: vec!["a".into(), "b".into()],
            }),
        }
    }

    /// A scorer that fits it.
    pub(crate) fn scorer_manifest() -> Manifest {
        Manifest {
            spec: ModelSpec::Scorer(ScorerSpec {
                extractor: "toy 1".into(),
                sampling: None,
                grid: Grid { rows: 2, cols: 3 },
                dims: 2,
                state: vec![],
                calibration: Calibration { mu: 1.0, sigma: 0.5, scores: vec![0.5, 1.5], course: vec![] },
                factors: vec![],
                normal: None,
                training: serde_json::Value::Null,
            }),
            ..extractor_manifest()
        }
    }

    fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
        refused(extractor_manifest(), change)
    }

    fn refused(manifest: Manifest, change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut json = serde_json::to_value(manifest).expect("JSON");
        change(&mut json);
        Manifest::parse("m.onnx", &json.to_string()).expect_err("refused").to_string()
    }

    #[test]
    fn a_manifest_survives_the_metadata() {
        for manifest in [extractor_manifest(), scorer_manifest()] {
            let json = serde_json::to_string(&manifest).expect("JSON");
            assert_eq!(Manifest::parse("m.onnx", &json).expect("parses"), manifest);
        }
    }

    #[test]
    fn what_is_wrong_with_a_manifest_is_said() {
        for (message, expected) in [
            (refusal(|m| m["format"] = 7.into()), "has format 7, this program reads format 1"),
            (refusal(|m| drop(m.as_object_mut().map(|m| m.remove("format")))), "does not say its format"),
            (refusal(|m| m["spec"]["kind"] = "oracle".into()), "unknown variant `oracle`"),
            (refusal(|m| m["spec"]["dims"] = 0.into()), "2 x 3 regions with 0 numbers each"),
            (refusal(|m| m["spec"]["frames"] = 8.into()), "segments of 8 frames; they have 16"),
            (refusal(|m| m["spec"]["channels"] = vec!["a"].into()), "1 channel names for 2 dimensions"),
            (refusal(|m| m["spec"]["frame"]["width"] = 0.into()), "pictures of 0 x 4 pixels"),
            (refusal(|m| drop(m.as_object_mut().map(|m| m.remove("licence")))), "missing field `licence`"),
        ] {
            assert!(message.starts_with("m.onnx: ") && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn what_looks_at_the_order_of_segments_needs_its_stride() {
        let mut manifest = scorer_manifest();
        let ModelSpec::Scorer(spec) = &mut manifest.spec else { unreachable!("a scorer's manifest") };
        let ModelSpec::Extractor(extractor) = extractor_manifest().spec else {
            unreachable!("an extractor's")
        };
        spec.sampling = Some(Sampling { frame: extractor.frame, stride: 8 });
        manifest.check_stride("s.onnx", 2).expect("each segment by itself");
        let ModelSpec::Scorer(spec) = &mut manifest.spec else { unreachable!("a scorer's manifest") };
        spec.state = vec![StateSpec { name: "sum".into(), shape: vec![3] }];
        manifest.check_stride("s.onnx", 8).expect("its own");
        let refused = manifest.check_stride("s.onnx", 2).expect_err("another").to_string();
        assert!(refused.contains("segments 8 frames apart, and these are 2 apart"), "{refused}");
    }

    #[test]
    fn a_state_that_cannot_be_is_refused() {
        let state = |value: serde_json::Value| refused(scorer_manifest(), |m| m["spec"]["state"] = value);
        let twice = state(serde_json::json!([{"name": "s", "shape": [2]}, {"name": "s", "shape": [3]}]));
        assert!(twice.contains("two inputs named `s`"), "{twice}");
        for shape in [vec![2u64, 0], vec![1 << 20, 1 << 20], vec![1 << 40, 1 << 40]] {
            let odd = state(serde_json::json!([{"name": "s", "shape": shape}]));
            assert!(odd.contains("are empty, or hold more than 16777216 numbers"), "{odd}");
        }
    }

    #[test]
    fn kinds_and_fits_are_told_apart() {
        let (extractor, scorer) = (extractor_manifest(), scorer_manifest());
        assert!(scorer.extractor("s.onnx").expect_err("no").to_string().contains("it is a scorer"));
        assert!(extractor.scorer("e.onnx").expect_err("no").to_string().contains("it is an extractor"));
        scorer.check_learned_from("s.onnx", &extractor).expect("fits");
        for (change, expected) in [
            (
                (|s| s.grid.rows = 9) as fn(&mut ExtractorSpec),
                "2 x 3 regions, and the extractor toy 1 gives 9 x 3",
            ),
            (|s| s.dims = 7, "takes 2 numbers a region, and the extractor toy 1 gives 7"),
        ] {
            let mut other = extractor.clone();
            if let ModelSpec::Extractor(spec) = &mut other.spec {
                change(spec);
            }
            let message = scorer.check_learned_from("s.onnx", &other).expect_err("no").to_string();
            assert!(message.contains(expected), "{message}");
        }
        let other = Manifest { version: "2".into(), ..extractor };
        let message = scorer.check_learned_from("s.onnx", &other).expect_err("no").to_string();
        assert!(
            message.contains(r#"learned from the extractor "toy 1", and this one is "toy 2""#),
            "{message}"
        );
    }
}
