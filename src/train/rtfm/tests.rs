//! Learning from labelled clips from end to end, on small made-up features.

use super::*;
use crate::config::Method;
use crate::infer::{Grid, init_for_tests};
use crate::score::metrics::roc_auc;
use rand::RngExt;

const GRID: Grid = Grid { rows: 1, cols: 2 };
const DIMS: usize = 32;

/// Noise; in an unusual clip, two of its segments are shifted in some dimensions.
fn clip(unusual: bool, rng: &mut StdRng) -> Clip {
    let steps = rng.random_range(8..14);
    let at = rng.random_range(2..steps - 2);
    let mut segment = |t: usize| {
        let shifted = unusual && (at..at + 2).contains(&t);
        let mut number = |i: usize| {
            let shift = if shifted && i % DIMS < 12 { 2.5 } else { 0.0 };
            3.0 + shift + rng.random_range(-1.0f32..1.0)
        };
        Features { regions: 2, dims: DIMS, values: (0..2 * DIMS).map(&mut number).collect() }
    };
    Clip { unusual, segments: (0..steps).map(&mut segment).collect() }
}

fn clips(n: usize, seed: u64) -> Vec<Clip> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..2 * n).map(|i| clip(i % 2 == 1, &mut rng)).collect()
}

fn set(clips: Vec<Clip>) -> LabelledSet {
    LabelledSet { extractor: "toy 1".into(), grid: GRID, sampling: None, clips }
}

fn config() -> LearnConfig {
    LearnConfig { steps: 250, batch: 24, rate: 5e-3, ..LearnConfig::of(Method::Rtfm) }
}

fn learned(clips: Vec<Clip>, config: &LearnConfig) -> Result<Learned, LearnError> {
    init_for_tests();
    learn_labelled(&set(clips), config, &mut |_| Flow::Continue)
}

#[test]
fn labels_of_whole_clips_teach_which_segments_are_meant() {
    let learned = learned(clips(30, 1), &config()).expect("learns");
    let report = &learned.report;
    assert!(report.loss.is_some_and(f64::is_finite) && report.dropped == 0, "{report:?}");
    let normal: usize = clips(30, 1).iter().filter(|c| !c.unusual).map(|c| c.segments.len()).sum();
    assert_eq!(report.calibrated_on, normal);
    let session = Session::from_bytes("learned", &learned.bytes).expect("loads");
    assert_eq!(session.manifest().name, "rtfm");
    let mut scorer = OnnxScorer::new(session).expect("a scorer");
    let (mut scores, mut labels) = (vec![], vec![]);
    for clip in clips(20, 2) {
        let found = scorer.score_run(&clip.segments.iter().collect::<Vec<_>>()).expect("scores");
        scores.push(found.iter().map(|s| s.value).fold(f32::MIN, f32::max));
        labels.push(clip.unusual);
    }
    let area = roc_auc(&scores, &labels).expect("both labels");
    assert!(area > 0.9, "clip AUC {area}");
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let short = LearnConfig { steps: 5, ..config() };
    let first = learned(clips(8, 1), &short).expect("learns").bytes;
    assert_eq!(first, learned(clips(8, 1), &short).expect("learns").bytes);
    let other = LearnConfig { seed: 1, ..short };
    assert_ne!(first, learned(clips(8, 1), &other).expect("learns").bytes);
}

#[test]
fn what_cannot_be_learned_from_is_said() {
    let refusal = |clips: Vec<Clip>| learned(clips, &config()).expect_err("refused").to_string();
    let few = refusal(clips(4, 1));
    assert!(few.contains("4 normal and 4 unusual clips") && few.contains("at least 6"), "{few}");
    let change = |f: fn(&mut Features)| {
        let mut clips = clips(8, 1);
        f(&mut clips[3].segments[2]);
        refusal(clips)
    };
    assert!(change(|f| f.values[0] = f32::NAN).contains("not finite"));
    assert!(change(|f| f.values.truncate(8)).contains("has 8 numbers, and 64 are wanted"));
    let mut flat = clips(8, 1);
    flat.iter_mut().flat_map(|c| &mut c.segments).for_each(|f| f.values.fill(1.0));
    assert!(refusal(flat).contains("do not change at all"));
    let cancelled = learn_labelled(&set(clips(8, 1)), &config(), &mut |_| Flow::Cancel);
    assert!(matches!(cancelled, Err(LearnError::Cancelled)));
}
