//! The two halves of the bank, run apart: each frame is filtered once, however many segments share it.
//!
//! Segments overlap, so most of a segment's frames were in the one before. What the spatial half answered to a
//! frame, and the energies round a moment, are remembered for as long as the next segments need them. The result
//! is that of the whole graph (`graph.rs`); a segment whose frames are new costs what the whole graph costs.

use super::bank::{Bank, V1Params};
use super::spatial::{self, PARTS};
use super::temporal::{self, moments};
use crate::config::Provider;
use crate::features::{Extractor, Features};
use crate::infer::{ExtractorSpec, InferError, Runner, TensorIn};
use crate::segment::{SEGMENT_FRAMES, Segment};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Frames that are filtered in one run, at most: what a run needs of memory, its session keeps.
const TOGETHER: usize = 2;

/// One analysed picture.
type Frame = Arc<[u8]>;
/// What the spatial half answered to a frame, among the answers of its run: `maps * samples` numbers.
#[derive(Debug, Clone)]
struct Responses {
    run: Arc<Vec<f32>>,
    first: usize,
}

impl Responses {
    fn map(&self, map: usize, samples: usize) -> &[f32] {
        &self.run[self.first + map * samples..][..samples]
    }
}

/// The energies round a moment: `dims * regions` numbers.
type Energies = Arc<[f32]>;

/// The halves as bytes, to be opened by every worker; what they remember is shared by all of them.
#[derive(Debug)]
pub struct Parts {
    params: V1Params,
    bank: Bank,
    spatial: Vec<u8>,
    temporal: Vec<u8>,
    memory: Arc<Memory>,
}

impl Parts {
    /// # Panics
    /// If [`V1Params::problem`] finds one.
    pub fn new(params: &V1Params) -> Self {
        let bank = Bank::new(params);
        let (spatial, temporal) = (spatial::build(params, &bank), temporal::build(params, &bank));
        Self { params: params.clone(), bank, spatial, temporal, memory: Arc::default() }
    }

    /// Sessions for one thread, run by `provider`. `spec` is that of the whole graph.
    pub fn open(&self, provider: Provider, spec: &ExtractorSpec) -> Result<PartsExtractor, InferError> {
        Ok(PartsExtractor {
            spatial: Runner::own_on(provider, "v1, spatial half", &self.spatial)?,
            temporal: Runner::own_on(provider, "v1, temporal half", &self.temporal)?,
            params: self.params.clone(),
            maps: self.bank.maps(),
            spec: spec.clone(),
            memory: self.memory.clone(),
            pixels: Vec::new(),
            gathered: Vec::new(),
        })
    }
}

/// The halves, opened by one worker.
#[derive(Debug)]
pub struct PartsExtractor {
    spatial: Runner,
    temporal: Runner,
    params: V1Params,
    /// Of the spatial half.
    maps: usize,
    spec: ExtractorSpec,
    memory: Arc<Memory>,
    /// New frames, and the temporal half's first input; kept to save the allocations.
    pixels: Vec<u8>,
    gathered: Vec<f32>,
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
        let windows: Vec<&[Frame]> =
            moments(&self.params).map(|start| &segment.frames[start..start + self.params.taps]).collect();
        // The last moment is new in nearly every segment, so the features come with its energies.
        let (last, earlier) = windows.split_last().expect("a segment has a moment");
        let mut others = vec![0.0; dims * regions];
        for window in earlier {
            let energies = match self.memory.energies(window) {
                Some(known) => known,
                None => self.run(window, &vec![0.0; dims * regions])?.0,
            };
            others.iter_mut().zip(&*energies).for_each(|(sum, energy)| *sum += energy);
        }
        let (_, values) = self.run(last, &others)?;
        self.memory.forget(&segment.frames[..=SEGMENT_FRAMES - self.params.taps]);
        Ok(Features { regions, dims, values })
    }

    /// The energies round the moment in the middle of `frames`, which are remembered, and the features of the segment
    /// whose `others` are.
    fn run(&mut self, frames: &[Frame], others: &[f32]) -> Result<(Energies, Vec<f32>), InferError> {
        let responses = self.responses(frames)?;
        self.gather(&responses);
        let (orientations, samples) = (self.maps / PARTS, self.params.samples());
        let inputs = [
            TensorIn::F32 { dims: &[1, orientations, self.params.rows(), samples], data: &self.gathered },
            TensorIn::F32 { dims: &[1, self.spec.dims, self.spec.grid.regions()], data: others },
        ];
        let mut outputs = self.temporal.run(&inputs)?;
        let (features, energies) = (outputs.swap_remove(1).data, outputs.swap_remove(0).data);
        let energies: Energies = energies.into();
        self.memory.keep_energies(frames, energies.clone());
        Ok((energies, features))
    }

    /// Lays responses out as the temporal half takes them: map by map, in the order of the taps, and after the maps of
    /// each orientation the sum of the constant's.
    fn gather(&mut self, responses: &[Responses]) {
        let (samples, constant) = (self.params.samples(), self.maps - 1);
        let mut sum = vec![0.0; samples];
        for responses in responses {
            sum.iter_mut().zip(responses.map(constant, samples)).for_each(|(sum, response)| *sum += response);
        }
        self.gathered.clear();
        for orientation in 0..constant / PARTS {
            for part in 0..PARTS {
                for responses in responses {
                    self.gathered.extend_from_slice(responses.map(orientation * PARTS + part, samples));
                }
            }
            self.gathered.extend_from_slice(&sum);
        }
    }

    /// What the spatial half answers to each of the frames; those that are new run together, some at a time.
    fn responses(&mut self, frames: &[Frame]) -> Result<Vec<Responses>, InferError> {
        let known = |frame: &Frame| self.memory.responses(frame);
        let mut responses: Vec<Option<Responses>> = frames.iter().map(known).collect();
        let new: Vec<usize> = (0..frames.len()).filter(|at| responses[*at].is_none()).collect();
        for some in new.chunks(TOGETHER) {
            self.pixels.clear();
            some.iter().for_each(|at| self.pixels.extend_from_slice(&frames[*at]));
            let shape = [some.len(), self.params.height, self.params.width, 1];
            let answers =
                self.spatial.run(&[TensorIn::U8 { dims: &shape, data: &self.pixels }])?.swap_remove(0);
            let run = Arc::new(answers.data);
            for (i, at) in some.iter().enumerate() {
                let answer = Responses { run: run.clone(), first: i * self.maps * self.params.samples() };
                self.memory.keep_responses(&frames[*at], answer.clone());
                responses[*at] = Some(answer);
            }
        }
        Ok(responses.into_iter().flatten().collect())
    }
}

/// What was found in frames that somebody still holds. Frames are told apart by where they lie: a weak
/// reference keeps the place from being used again.
#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
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

    /// No later segment needs what the spatial half answered to `past`, nor what is known of frames that have gone.
    fn forget(&self, past: &[Frame]) {
        let mut kept = self.lock();
        past.iter().for_each(|frame| _ = kept.responses.remove(&place(frame)));
        kept.responses.retain(|_, (frame, _)| frame.strong_count() > 0);
        kept.energies.retain(|_, moment| moment.frames[0].strong_count() > 0);
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
    use crate::infer::{Session, init_for_tests};
    use crate::segment::Segmenter;
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use std::time::Duration;

    fn params() -> V1Params {
        V1Params::new(72, 50, 10.0, false)
    }

    /// Segments of a run of noise that gets on by `stride`.
    fn segments(stride: usize) -> Vec<Segment> {
        let (mut segmenter, mut rng) = (Segmenter::new(stride), StdRng::seed_from_u64(3));
        let p = params();
        let frame = |seq: u64| {
            let pts = Duration::from_millis(100 * seq);
            let stamp = Stamp { seq, pts, wall: Timestamp::UNIX_EPOCH, received: pts };
            let pixels = (0..p.width * p.height).map(|_| rng.random()).collect();
            Frame { stamp, view: 0, run: 0, keys: None, damaged: false, pixels }
        };
        (0..60).map(frame).filter_map(|frame| segmenter.push(frame)).collect()
    }

    /// The whole graph, which remembers nothing.
    fn whole(session: &mut Session, segment: &Segment) -> Vec<f32> {
        let p = params();
        let frames = segment.frames.concat();
        let dims = [1, SEGMENT_FRAMES, p.height, p.width, 1];
        session.run(TensorIn::U8 { dims: &dims, data: &frames }).expect("runs").remove(0).data
    }

    fn opened() -> (PartsExtractor, Arc<Memory>) {
        let model = ExtractorModel::generate(&params()).expect("a model");
        let parts = Parts::new(&params());
        (parts.open(Provider::Cpu, model.spec()).expect("opens"), parts.memory)
    }

    #[test]
    fn the_halves_give_what_the_whole_graph_gives() {
        init_for_tests();
        let mut session = Session::from_bytes("v1", &build(&params()).1).expect("loads");
        for stride in [1, 4, 5, 16] {
            let (mut extractor, _) = opened();
            // Every third segment is lost on the way, as on a machine that is too slow.
            for (i, segment) in segments(stride).iter().enumerate().filter(|(i, _)| i % 3 != 2) {
                let features = extractor.extract(&[segment]).expect("features").remove(0);
                for (a, b) in features.values.iter().zip(whole(&mut session, segment)) {
                    assert!((a - b).abs() < 1e-5, "{a} for {b} in segment {i}, stride {stride}");
                }
            }
        }
    }

    #[test]
    fn what_is_remembered_goes_with_its_frames() {
        init_for_tests();
        let (mut extractor, memory) = opened();
        let mut segments = segments(4);
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
        memory.keep_energies(&frames[..3], vec![1.0].into());
        assert!(memory.energies(&frames[..3]).is_some());
        assert!(memory.energies(&[frames[0].clone(), frames[1].clone(), frames[3].clone()]).is_none());
        drop(frames);
        memory.forget(&[]);
        assert!(memory.lock().energies.is_empty());
    }
}
