//! The two halves of the bank, run apart: each frame is filtered once, however many segments share it.
//!
//! Segments overlap, so most of a segment's frames were in the one before. What the spatial half answered to a
//! frame, and the energies round a moment, are remembered for as long as somebody holds the frames. The result
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

/// One analysed picture.
type Frame = Arc<[u8]>;
/// What the spatial half answered to a frame: `maps * samples` numbers of each octave.
type Responses = Arc<[Vec<f32>]>;
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
            orientations: self.bank.orientations.len(),
            samples: (0..self.params.octaves).map(|o| self.params.sampling(o).count()).collect(),
            spec: spec.clone(),
            memory: self.memory.clone(),
            gathered: vec![Vec::new(); self.params.octaves * 2],
        })
    }
}

/// The halves, opened by one worker.
#[derive(Debug)]
pub struct PartsExtractor {
    spatial: Runner,
    temporal: Runner,
    params: V1Params,
    orientations: usize,
    /// Of each octave.
    samples: Vec<usize>,
    spec: ExtractorSpec,
    memory: Arc<Memory>,
    /// The temporal half's inputs, two an octave; kept to save the allocation.
    gathered: Vec<Vec<f32>>,
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
        let (mut sums, mut count) = (vec![0.0; dims * regions], 0.0);
        let starts: Vec<usize> = moments(&self.params).collect();
        for start in starts {
            let energies = self.energies(&segment.frames[start..start + self.params.taps])?;
            sums.iter_mut().zip(&*energies).for_each(|(sum, energy)| *sum += energy);
            count += 1.0;
        }
        self.memory.forget_the_gone();
        let epsilon = self.params.epsilon as f32;
        let value = |i: usize| (sums[i % dims * regions + i / dims] / count + epsilon).ln();
        Ok(Features { regions, dims, values: (0..regions * dims).map(value).collect() })
    }

    /// The energies round the moment in the middle of `frames`.
    fn energies(&mut self, frames: &[Frame]) -> Result<Energies, InferError> {
        if let Some(known) = self.memory.energies(frames) {
            return Ok(known);
        }
        let responses = frames.iter().map(|f| self.responses(f)).collect::<Result<Vec<_>, _>>()?;
        for octave in 0..self.samples.len() {
            self.gather(&responses, octave);
        }
        let taps = self.params.taps;
        let dims: Vec<[usize; 4]> = (self.samples.iter())
            .flat_map(|&samples| [[1, self.orientations, PARTS * taps, samples], [0, 1, taps, samples]])
            .collect();
        let inputs: Vec<TensorIn<'_>> = (dims.iter().zip(&self.gathered))
            // The constants have no dimension of orientations.
            .map(|(dims, data)| TensorIn::F32 { dims: &dims[usize::from(dims[0] == 0)..], data })
            .collect();
        let energies: Energies = self.temporal.run(&inputs)?.swap_remove(0).data.into();
        self.memory.keep_energies(frames, energies.clone());
        Ok(energies)
    }

    /// Lays an octave's responses out as the temporal half takes them: map by map, in the order of the taps.
    fn gather(&mut self, responses: &[Responses], octave: usize) {
        let samples = self.samples[octave];
        let maps = self.orientations * PARTS;
        let [parts, constants] = &mut self.gathered[octave * 2..octave * 2 + 2] else {
            unreachable!("two an octave");
        };
        for (gathered, maps) in [(parts, 0..maps), (constants, maps..maps + 1)] {
            gathered.clear();
            for map in maps {
                for frame in responses {
                    gathered.extend_from_slice(&frame[octave][map * samples..(map + 1) * samples]);
                }
            }
        }
    }

    fn responses(&mut self, frame: &Frame) -> Result<Responses, InferError> {
        if let Some(known) = self.memory.responses(frame) {
            return Ok(known);
        }
        let shape = [1, self.params.height, self.params.width, 1];
        let octaves = self.spatial.run(&[TensorIn::U8 { dims: &shape, data: frame }])?;
        let responses: Responses = octaves.into_iter().map(|octave| octave.data).collect();
        self.memory.keep_responses(frame, responses.clone());
        Ok(responses)
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

    fn forget_the_gone(&self) {
        let mut kept = self.lock();
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
        assert_eq!((kept.responses.len(), kept.energies.len()), (SEGMENT_FRAMES, 4));
    }

    #[test]
    fn a_moment_is_known_by_all_of_its_frames() {
        let memory = Memory::default();
        let frames: Vec<super::Frame> = (0..4u8).map(|i| vec![i].into()).collect();
        memory.keep_energies(&frames[..3], vec![1.0].into());
        assert!(memory.energies(&frames[..3]).is_some());
        assert!(memory.energies(&[frames[0].clone(), frames[1].clone(), frames[3].clone()]).is_none());
        drop(frames);
        memory.forget_the_gone();
        assert!(memory.lock().energies.is_empty());
    }
}
