//! The bank as the program runs it: each frame is filtered once, however many segments share it.
//!
//! Segments overlap, so most of a segment's frames were in the one before. What the spatial half of the bank answered to
//! a frame, and the energies round a moment, are remembered for as long as the next segments need them. The result
//! is that of the whole graph (`graph.rs`).

use super::bank::{Bank, V1Params};
use super::graphs::Graphs;
use super::temporal::moments;
use super::vectors::{self, Scratch, Vectors};
use crate::config::Provider;
use crate::features::{Extractor, Features};
use crate::infer::{ExtractorSpec, InferError};
use crate::segment::{SEGMENT_FRAMES, Segment};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// One analysed picture.
type Frame = Arc<[u8]>;
/// What the spatial half answered to a frame.
type Responses = Arc<Vec<f32>>;
/// The energies round a moment: `dims * regions` numbers.
type Energies = Arc<Vec<f32>>;

/// The bank, to be opened by every worker; what they remember is shared by all of them.
#[derive(Debug)]
pub struct Parts {
    params: V1Params,
    bank: Bank,
    vectors: Option<Arc<Vectors>>,
    memory: Arc<Memory>,
}

impl Parts {
    /// # Panics
    /// If [`V1Params::problem`] finds one.
    pub fn new(params: &V1Params) -> Self {
        let bank = Bank::new(params);
        let vectors = Vectors::new(params, &bank).map(Arc::new);
        Self { params: params.clone(), bank, vectors, memory: Arc::default() }
    }

    /// The bank for one thread: the program's own arithmetic for a processor whose vectors it knows, otherwise ONNX
    /// Runtime with `provider`. `spec` is that of the whole graph.
    pub fn open(&self, provider: Provider, spec: &ExtractorSpec) -> Result<PartsExtractor, InferError> {
        let halves = match &self.vectors {
            Some(vectors) if provider == Provider::Cpu => {
                Halves::Vectors { vectors: vectors.clone(), scratch: Box::default() }
            }
            _ => Halves::Graphs(Box::new(Graphs::open(provider, &self.params, &self.bank)?)),
        };
        Ok(PartsExtractor {
            halves,
            params: self.params.clone(),
            spec: spec.clone(),
            memory: self.memory.clone(),
        })
    }
}

/// What computes the halves.
#[derive(Debug)]
enum Halves {
    Vectors { vectors: Arc<Vectors>, scratch: Box<Scratch> },
    Graphs(Box<Graphs>),
}

/// The bank, opened by one worker.
#[derive(Debug)]
pub struct PartsExtractor {
    halves: Halves,
    params: V1Params,
    spec: ExtractorSpec,
    memory: Arc<Memory>,
}

impl Extractor for PartsExtractor {
    fn spec(&self) -> &ExtractorSpec {
        &self.spec
    }

    fn extract(&mut self, segments: &[&Segment]) -> Result<Vec<Features>, InferError> {
        segments.iter().map(|segment| self.extract_one(segment)).collect()
    }
}

impl PartsExtractor {
    fn extract_one(&mut self, segment: &Segment) -> Result<Features, InferError> {
        let bytes = self.spec.frame.frame_bytes();
        let fits = segment.frames.len() == SEGMENT_FRAMES && segment.frames.iter().all(|f| f.len() == bytes);
        if !fits {
            let problem = format!("a segment that does not hold {SEGMENT_FRAMES} frames of {bytes} bytes");
            return Err(InferError::new("v1", problem, "this is a fault of the program"));
        }
        let (regions, dims) = (self.spec.grid.regions(), self.spec.dims);
        let mut sums = vec![0.0; dims * regions];
        let moments: Vec<usize> = moments(&self.params).collect();
        for start in &moments {
            let energies = self.energies(&segment.frames[*start..][..self.params.taps])?;
            sums.iter_mut().zip(&*energies).for_each(|(sum, energy)| *sum += energy);
        }
        self.memory.forget(&segment.frames[..=SEGMENT_FRAMES - self.params.taps]);
        let values = vectors::features(sums, regions, moments.len(), self.params.epsilon);
        Ok(Features { regions, dims, values })
    }

    /// The energies round the moment in the middle of `frames`, computed where nobody knows them.
    fn energies(&mut self, frames: &[Frame]) -> Result<Energies, InferError> {
        if let Some(known) = self.memory.energies(frames) {
            return Ok(known);
        }
        let responses = self.responses(frames)?;
        let responses: Vec<&[f32]> = responses.iter().map(|responses| responses.as_slice()).collect();
        let energies = Arc::new(match &mut self.halves {
            Halves::Vectors { vectors, scratch } => vectors.energies(&responses, scratch),
            Halves::Graphs(graphs) => graphs.energies(&responses)?,
        });
        self.memory.keep_energies(frames, energies.clone());
        Ok(energies)
    }

    /// What the spatial half answers to each of the frames, computed where nobody knows it.
    fn responses(&mut self, frames: &[Frame]) -> Result<Vec<Responses>, InferError> {
        let mut all = Vec::with_capacity(frames.len());
        for frame in frames {
            if let Some(known) = self.memory.responses(frame) {
                all.push(known);
                continue;
            }
            let responses = Arc::new(match &mut self.halves {
                Halves::Vectors { vectors, scratch } => {
                    vectors.responses(frame, self.memory.spare(), scratch)
                }
                Halves::Graphs(graphs) => graphs.responses(frame)?,
            });
            self.memory.keep_responses(frame, responses.clone());
            all.push(responses);
        }
        Ok(all)
    }
}

/// What was found in frames that somebody still holds. Frames are told apart by where they lie: a weak
/// reference keeps the place from being used again.
#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<Kept>,
}

/// Room of forgotten responses that is kept for the next ones, rather than given back and taken anew.
const SPARE: usize = 8;

#[derive(Debug, Default)]
struct Kept {
    spare: Vec<Vec<f32>>,
    responses: HashMap<usize, (Weak<[u8]>, Responses)>,
    /// By the first of a moment's frames.
    energies: HashMap<usize, Moment>,
}

#[derive(Debug)]
struct Moment {
    frames: Vec<Weak<[u8]>>,
    energies: Energies,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it is held")
    }

    fn responses(&self, frame: &Frame) -> Option<Responses> {
        self.lock().responses.get(&place(frame)).map(|(_, responses)| responses.clone())
    }

    fn keep_responses(&self, frame: &Frame, responses: Responses) {
        self.lock().responses.insert(place(frame), (Arc::downgrade(frame), responses));
    }

    fn energies(&self, frames: &[Frame]) -> Option<Energies> {
        let kept = self.lock();
        let Moment { frames: of, energies } = kept.energies.get(&place(&frames[0]))?;
        let is = |(of, frame): (&Weak<[u8]>, &Frame)| std::ptr::addr_eq(of.as_ptr(), Arc::as_ptr(frame));
        of.iter().zip(frames).all(is).then(|| energies.clone())
    }

    fn keep_energies(&self, frames: &[Frame], energies: Energies) {
        let moment = Moment { frames: frames.iter().map(Arc::downgrade).collect(), energies };
        self.lock().energies.insert(place(&frames[0]), moment);
    }

    /// Room for responses, whatever lies in it.
    fn spare(&self) -> Vec<f32> {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// No later segment needs what the spatial half answered to `past`, nor what is known of frames that have gone.
    fn forget(&self, past: &[Frame]) {
        let mut kept = self.lock();
        let Kept { spare, responses, energies } = &mut *kept;
        let forget = |at: &usize, (frame, _): &mut (Weak<[u8]>, Responses)| {
            frame.strong_count() == 0 || past.iter().any(|frame| place(frame) == *at)
        };
        let forgotten =
            responses.extract_if(forget).filter_map(|(_, (_, responses))| Arc::into_inner(responses));
        spare.extend(forgotten);
        spare.truncate(SPARE);
        energies.retain(|_, moment| moment.frames[0].strong_count() > 0);
    }
}

fn place(frame: &Frame) -> usize {
    frame.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::features::ExtractorModel;
    use crate::features::v1::build;
    use crate::frame::{Frame, Stamp};
    use crate::infer::{Session, TensorIn, init_for_tests};
    use crate::segment::Segmenter;
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use std::time::Duration;

    fn params() -> V1Params {
        V1Params::new(72, 50, 10.0, false)
    }

    /// Segments of a run of noise that gets on by `stride`.
    fn segments(p: &V1Params, stride: usize) -> Vec<Segment> {
        let (mut segmenter, mut rng) = (Segmenter::new(stride), StdRng::seed_from_u64(3));
        let frame = |seq: u64| {
            let pts = Duration::from_millis(100 * seq);
            let stamp = Stamp { seq, pts, wall: Timestamp::UNIX_EPOCH, received: pts };
            let pixels = (0..p.width * p.height).map(|_| rng.random()).collect();
            Frame { stamp, view: 0, run: 0, keys: None, damaged: false, pixels }
        };
        (0..60).map(frame).filter_map(|frame| segmenter.push(frame)).collect()
    }

    /// The whole graph, which remembers nothing.
    fn whole(session: &mut Session, p: &V1Params, segment: &Segment) -> Vec<f32> {
        let frames = segment.frames.concat();
        let dims = [1, SEGMENT_FRAMES, p.height, p.width, 1];
        session.run(TensorIn::U8 { dims: &dims, data: &frames }).expect("runs").remove(0).data
    }

    fn opened(p: &V1Params, vectors: bool) -> (PartsExtractor, Arc<Memory>) {
        let model = ExtractorModel::generate(p).expect("a model");
        let mut parts = Parts::new(p);
        if !vectors {
            parts.vectors = None;
        }
        (parts.open(Provider::Cpu, model.spec()).expect("opens"), parts.memory)
    }

    fn agrees_with_the_whole_graph(p: &V1Params, vectors: bool) {
        init_for_tests();
        let mut session = Session::from_bytes("v1", &build(p).1).expect("loads");
        for stride in [1, 4, 5, 16] {
            let (mut extractor, _) = opened(p, vectors);
            // Every third segment is lost on the way, as on a machine that is too slow.
            for (i, segment) in segments(p, stride).iter().enumerate().filter(|(i, _)| i % 3 != 2) {
                let features = extractor.extract(&[segment]).expect("features").remove(0);
                let whole = whole(&mut session, p, segment);
                assert_eq!(features.values.len(), whole.len());
                for (at, (a, b)) in features.values.iter().zip(whole).enumerate() {
                    assert!((a - b).abs() < 1e-5, "{a} for {b}, number {at} of segment {i}, stride {stride}");
                }
            }
        }
    }

    #[test]
    fn the_graphs_of_the_halves_give_what_the_whole_graph_gives() {
        agrees_with_the_whole_graph(&params(), false);
    }

    #[test]
    fn vectors_give_what_the_whole_graph_gives() {
        // Pictures that no cell, no vector and no octave divides.
        for (width, height) in [(72, 50), (16, 16), (75, 53), (130, 33)] {
            for whole_frame in [false, true] {
                agrees_with_the_whole_graph(&V1Params::new(width, height, 10.0, whole_frame), true);
            }
        }
    }

    #[test]
    fn processors_without_vectors_and_other_banks_have_the_graphs() {
        init_for_tests();
        let p = params();
        let other = V1Params { wavelength: 6.0, ..p.clone() };
        assert!(Vectors::new(&other, &Bank::new(&other)).is_none());
        let (extractor, _) = opened(&p, false);
        assert!(matches!(extractor.halves, Halves::Graphs(_)));
    }

    #[test]
    fn what_is_remembered_goes_with_its_frames() {
        init_for_tests();
        let (mut extractor, memory) = opened(&params(), true);
        let mut segments = segments(&params(), 4);
        let last = segments.pop().expect("a segment");
        for segment in segments {
            extractor.extract(&[&segment]).expect("features");
        }
        extractor.extract(&[&last]).expect("features");
        let kept = memory.lock();
        let needed_again = params().taps - 1;
        assert_eq!((kept.responses.len(), kept.energies.len()), (needed_again, 4));
    }

    #[test]
    fn a_moment_is_known_by_all_of_its_frames() {
        let memory = Memory::default();
        let frames: Vec<super::Frame> = (0..4u8).map(|i| vec![i].into()).collect();
        memory.keep_energies(&frames[..3], Arc::new(vec![1.0]));
        assert!(memory.energies(&frames[..3]).is_some());
        assert!(memory.energies(&[frames[0].clone(), frames[1].clone(), frames[3].clone()]).is_none());
        drop(frames);
        memory.forget(&[]);
        assert!(memory.lock().energies.is_empty());
    }
}
