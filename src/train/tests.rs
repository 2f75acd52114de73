//! Learning from end to end on small made-up features.

use super::reference::untrained;
use super::*;
use crate::infer::{Session, init_for_tests};
use crate::score::diffusion::{Plan, Sampler, Widths};
use crate::score::{Neighbours, OnnxScorer, Pooling, Scale, Score, Scorer, Vectors, Whitening};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

pub(super) const GRID: Grid = Grid { rows: 3, cols: 4 };
pub(super) const DIMS: usize = 5;

/// One segment: correlated numbers in every region, and `odd` added to the regions of `at`.
pub(super) fn features(rng: &mut StdRng, at: &[usize], odd: f32) -> Features {
    let mut values = Vec::new();
    for region in 0..GRID.regions() {
        let common: f32 = StandardNormal.sample(rng);
        for d in 0..DIMS {
            let own: f32 = StandardNormal.sample(rng);
            let strange = if at.contains(&region) { odd * (d as f32 - 2.0) } else { 0.0 };
            values.push(2.0 + common + 0.3 * own + strange);
        }
    }
    Features { regions: GRID.regions(), dims: DIMS, values }
}

pub(super) fn toy(grid: Grid, samples: Vec<Sample>) -> TrainingSet {
    let extractor = "toy 1".into();
    TrainingSet { extractor, grid, sampling: None, channels: vec![], wall_clock: false, samples }
}

pub(super) fn training_set(n: usize) -> TrainingSet {
    let mut rng = StdRng::seed_from_u64(9);
    let samples = (0..n)
        .map(|i| Sample { time: i as f64 * 0.5, run: 0, features: features(&mut rng, &[], 0.0) })
        .collect();
    toy(GRID, samples)
}

pub(super) fn config() -> LearnConfig {
    LearnConfig { steps: 60, batch: 128, rate: 3e-3, ..LearnConfig::default() }
}

/// [`config`] for another method.
pub(super) fn by(method: Method) -> LearnConfig {
    LearnConfig { method, memory: 300, ..config() }
}

fn learned(set: TrainingSet, config: &LearnConfig) -> Learned {
    init_for_tests();
    learn(set, config, &mut |_| Flow::Continue).expect("learns")
}

pub(super) fn scores(bytes: &[u8], features: &[&Features]) -> Vec<Score> {
    let session = Session::from_bytes("learned", bytes).expect("loads");
    OnnxScorer::new(session).expect("a scorer").score_run(features).expect("scores")
}

#[test]
fn what_was_learned_tells_odd_from_normal_and_where() {
    for method in Method::in_place() {
        let learned = learned(training_set(160), &by(method));
        let report = &learned.report;
        assert_eq!(report.segments, 160);
        assert!(report.dropped > 0 && report.calibrated_on >= 30, "{report:?}");
        assert!(report.sigma > 0.0 && report.loss < Some(2.5), "{report:?}");
        let mut rng = StdRng::seed_from_u64(77);
        let odd: Vec<Features> = (0..20).map(|_| features(&mut rng, &[0, 1, 4, 5], 2.0)).collect();
        let normal: Vec<Features> = (0..20).map(|_| features(&mut rng, &[], 0.0)).collect();
        let limit = crate::threshold::Threshold::plain(report.mu, report.sigma, 3.0);
        let count = |set: &[Features]| {
            let found = scores(&learned.bytes, &set.iter().collect::<Vec<_>>());
            found.iter().filter(|s| limit.judge(s.value) == crate::threshold::Verdict::Unusual).count()
        };
        assert_eq!(count(&odd), 20, "{method}");
        assert!(count(&normal) <= 1, "{method}");
        let top = scores(&learned.bytes, &[&odd[0]])[0].top_regions(GRID, 2);
        assert!(top.iter().all(|(row, col)| *row <= 1 && *col <= 1), "{method}: {top:?}");
        assert_eq!(learned.manifest.name, method.name());
    }
}

/// What happens in masked regions changes no score, not even through the smoothing; what happens beside them does.
#[test]
fn masked_regions_count_for_nothing() {
    let masked = vec![0, 1, 4, 5];
    for method in Method::in_place() {
        let config = LearnConfig { masked: masked.clone(), steps: 20, ..by(method) };
        let bytes = learned(training_set(80), &config).bytes;
        let seen = |at: &[usize]| features(&mut StdRng::seed_from_u64(3), at, 3.0);
        let found = scores(&bytes, &[&seen(&[]), &seen(&masked), &seen(&[6])]);
        assert!((found[0].value - found[1].value).abs() < 1e-4, "{method}: {found:?}");
        assert!(found[2].value > found[0].value + 0.05, "{method}: {found:?}");
        assert_eq!(found[2].top_regions(GRID, 1), [(1, 2)], "{method}");
        assert!(found.iter().all(Score::is_finite), "{method}");
        let lowest = found[1].regions.iter().copied().fold(f32::MAX, f32::min);
        assert!(masked.iter().all(|region| found[1].regions[*region] == lowest), "{method}");
    }
    for masked in [(0..GRID.regions()).collect(), vec![GRID.regions()]] {
        let config = LearnConfig { masked, ..by(Method::Knn) };
        let refusal = learn(training_set(80), &config, &mut |_| Flow::Continue).expect_err("refused");
        assert!(refusal.to_string().contains("mask less"), "{refusal}");
    }
}

/// Where some neighbours do not count, the smoothing is a mean over the others.
#[test]
fn beside_a_mask_the_map_is_as_high_as_elsewhere() {
    init_for_tests();
    let grid = Grid { rows: 3, cols: 5 };
    let whitening = Whitening { centre: vec![0.0], matrix: vec![1.0], kept: 1, clip: 100.0 };
    let model = Neighbours {
        vectors: Vectors { grid, dims: 1, whitening, rows: None },
        memory: vec![0.0; 3],
        neighbours: 1,
        pooling: Pooling { smoothing: 1.0, highest: 4, scale: Scale::Plain, masked: vec![0, 5, 10, 7] },
    };
    let manifest = Manifest { spec: crate::infer::ModelSpec::Scorer(spec(grid, 1)), ..manifest(grid) };
    let even = Features { regions: 15, dims: 1, values: vec![2.0; 15] };
    let found = &scores(&model.to_onnx(&manifest), &[&even])[0];
    for (region, value) in found.regions.iter().enumerate() {
        let expected = if [0, 5, 10, 7].contains(&region) { 1e-6 } else { 4.0 };
        assert!((value - expected).abs() < 1e-4, "region {region}: {value} in {:?}", found.regions);
    }
}

#[test]
fn the_same_seed_gives_the_same_file() {
    for method in Method::in_place() {
        let short = LearnConfig { steps: 10, ..by(method) };
        let first = learned(training_set(80), &short);
        assert_eq!(first.bytes, learned(training_set(80), &short).bytes, "{method}");
        let other = learned(training_set(80), &LearnConfig { seed: 1, ..short });
        assert_ne!(first.bytes, other.bytes);
    }
}

pub(super) fn manifest(grid: Grid) -> Manifest {
    Manifest {
        format: crate::infer::MANIFEST_FORMAT,
        name: "diffusion".into(),
        version: "1".into(),
        licence: "MIT".into(),
        provenance: "a test".into(),
        spec: crate::infer::ModelSpec::Scorer(spec(grid, DIMS)),
    }
}

pub(super) fn spec(grid: Grid, dims: usize) -> crate::infer::ScorerSpec {
    crate::infer::ScorerSpec {
        extractor: "toy 1".into(),
        sampling: None,
        grid,
        dims,
        state: vec![],
        calibration: crate::infer::Calibration { mu: 0.0, sigma: 1.0, scores: vec![], course: vec![] },
        factors: vec![],
        normal: None,
        training: serde_json::Value::Null,
    }
}

/// A NaN must come out as NaN: clipping, ReLUs and TopK could each lose it.
#[test]
fn one_nan_among_the_features_makes_the_score_not_finite() {
    for method in Method::in_place() {
        let bytes = learned(training_set(80), &LearnConfig { steps: 3, ..by(method) }).bytes;
        let mut f = features(&mut StdRng::seed_from_u64(1), &[], 0.0);
        assert!(scores(&bytes, &[&f])[0].is_finite());
        for broken in [f32::NAN, f32::INFINITY] {
            f.values[17] = broken;
            assert!(!scores(&bytes, &[&f])[0].value.is_finite(), "{method}");
        }
        f.values[17] = 1e6;
        assert!(scores(&bytes, &[&f])[0].is_finite(), "{method}: far out is not broken");
    }
}

/// What was seen before is near, whatever the distance rounds to; and a memory is only asked at its height.
#[test]
fn neighbours_by_hand() {
    init_for_tests();
    let grid = Grid { rows: 4, cols: 1 };
    let whitening =
        Whitening { centre: vec![0.0; 2], matrix: vec![1.0, 0.0, 0.0, 1.0], kept: 2, clip: 100.0 };
    let model = Neighbours {
        vectors: Vectors { grid, dims: 2, whitening, rows: None },
        // Two vectors a row of regions.
        memory: [[0.0, 0.0, 3.0, 4.0], [1.0, 0.0, 9.0, 9.0], [5.0, 5.0, 7.0, 7.0], [8.0, 0.0, 8.0, 2.0]]
            .concat(),
        neighbours: 2,
        pooling: Pooling { smoothing: 0.0, highest: 4, scale: Scale::Logarithm, masked: vec![] },
    };
    let manifest = Manifest { spec: crate::infer::ModelSpec::Scorer(spec(grid, 2)), ..manifest(grid) };
    let f = Features { regions: 4, dims: 2, values: vec![0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 8.0, 1.0] };
    let found = &scores(&model.to_onnx(&manifest), &[&f, &f])[1];
    // (0, 0) at the top: itself and (1, 0). (1, 0) below: (0, 0) and itself. (1, 0) again: itself, then (5, 5) at
    // 41 rather than (0, 0), which is two rows off. (8, 1): (8, 0) and (8, 2) at 1 each.
    let expected = [0.5, 0.5, 20.5, 1.0].map(|squares: f32| squares / 2.0);
    for (r, e) in found.regions.iter().zip(expected) {
        assert!((r.exp() - e).abs() < 1e-4, "{:?} instead of the logarithms of {expected:?}", found.regions);
    }
    let mean = expected.iter().sum::<f32>() / 4.0;
    assert!((found.value.exp() - mean).abs() < 1e-4);
}

/// Of N(0, I_d) the squared distance is chi-squared: mean d, variance 2 d; of a shifted one noncentral, which
/// gives the AUC (scipy: P(ncx2(8, 9) > chi2(8))).
#[test]
fn mahalanobis_distances_of_a_gaussian_are_chi_squared() {
    init_for_tests();
    let (dims, shift) = (8, 3.0f32);
    let mut rng = StdRng::seed_from_u64(21);
    let mut draw = |n: usize, by: f32| -> Vec<Features> {
        (0..n)
            .map(|_| {
                let mut values: Vec<f32> = (0..dims).map(|_| StandardNormal.sample(&mut rng)).collect();
                values[0] += by;
                Features { regions: 1, dims, values }
            })
            .collect()
    };
    let samples = draw(6000, 0.0).into_iter().enumerate();
    let samples = samples.map(|(i, features)| Sample { time: i as f64, run: i as u64, features }).collect();
    let set = toy(Grid::WHOLE, samples);
    // Dropping would cut the tail off.
    let learned = learned(set, &LearnConfig { drop: 0.0, ..by(Method::Mahalanobis) });
    let mut distances = |by: f32| -> Vec<f32> {
        let fresh = draw(10_000, by);
        let found = scores(&learned.bytes, &fresh.iter().collect::<Vec<_>>());
        found.iter().map(|s| s.value.exp() * dims as f32).collect()
    };
    let (normal, odd) = (distances(0.0), distances(shift));
    let mean = normal.iter().map(|m| f64::from(*m)).sum::<f64>() / 1e4;
    let variance = normal.iter().map(|m| (f64::from(*m) - mean).powi(2)).sum::<f64>() / 1e4;
    assert!((mean - 8.0).abs() < 0.2 && (variance - 16.0).abs() < 1.2, "{mean} {variance}");
    let labels: Vec<bool> = (0..20_000).map(|i| i >= 10_000).collect();
    let auc = crate::score::metrics::roc_auc(&[normal, odd].concat(), &labels).expect("both occur");
    assert!((auc - 0.8753).abs() < 0.008, "{auc}");
}

/// `score` is the larger of the two standardised ones, and the shares of the latents sum up to the divergence.
#[test]
fn the_beta_vae_says_both_scores_and_which_latents_moved() {
    let learned = learned(training_set(80), &by(Method::BetaVae));
    let mut session = Session::from_bytes("learned", &learned.bytes).expect("loads");
    let mut rng = StdRng::seed_from_u64(4);
    let many: Vec<f32> = (0..30).flat_map(|_| features(&mut rng, &[], 0.0).values).collect();
    let dims = [30, GRID.regions(), DIMS];
    let found = session.run(crate::infer::TensorIn::F32 { dims: &dims, data: &many }).expect("runs");
    let output = |name: &str| found.iter().find(|o| o.name == name).expect("there is such an output");
    let (score, rebuilt, kl) = (output("score"), output("reconstruction"), output("kl"));
    for i in 0..30 {
        assert_eq!(score.data[i], rebuilt.data[i].max(kl.data[i]));
    }
    for part in [rebuilt, kl] {
        let mean = part.data.iter().sum::<f32>() / 30.0;
        assert!(mean.abs() < 1.0, "standardised: {} {mean}", part.name);
    }
    let factors = output("factors");
    assert_eq!(factors.dims, [30, 3], "at most half the numbers of a vector");
    assert!(factors.data.iter().all(|share| *share >= 0.0));
    // Where the shares in the strangest region are larger, the divergence mostly is.
    let mut order: Vec<usize> = (0..30).collect();
    order.sort_by_key(|i| (1e6 * factors.data[3 * i..3 * i + 3].iter().sum::<f32>()) as i64);
    let mean = |some: &[usize]| some.iter().map(|i| kl.data[*i]).sum::<f32>() / some.len() as f32;
    assert!(mean(&order[15..]) > mean(&order[..15]) + 0.2);
}

#[test]
fn features_of_another_shape_are_refused() {
    init_for_tests();
    let denoiser = untrained(GRID, Embedding::Film, Plan::new(Sampler::Euler, &[1.0, 0.0]), Widths::regional);
    let session = Session::from_bytes("m.onnx", &denoiser.to_onnx(&manifest(GRID))).expect("loads");
    let f = Features { regions: 2, dims: DIMS, values: vec![0.0; 10] };
    let message =
        OnnxScorer::new(session).expect("a scorer").score_run(&[&f]).expect_err("refused").to_string();
    assert!(message.contains("takes 12 regions of 5 numbers, and the features have 2 of 5"), "{message}");
}

#[test]
fn what_cannot_be_learned_from_is_said() {
    init_for_tests();
    let refusal =
        |set: TrainingSet| learn(set, &config(), &mut |_| Flow::Continue).expect_err("refused").to_string();
    assert!(refusal(training_set(39)).starts_with("there are 39 segments to learn from, and at least 40"));
    let mut constant = training_set(80);
    constant.samples.iter_mut().for_each(|s| s.features.values.fill(1.5));
    assert!(refusal(constant).starts_with("the features do not change at all"));
    let mut broken = training_set(80);
    broken.samples[3].features.values[0] = f32::NAN;
    assert!(refusal(broken).starts_with("segment 3 (at 1.5 s) has features that are not finite"));
    let mut mixed = training_set(80);
    mixed.samples[4].features.values.pop();
    assert!(refusal(mixed).starts_with("segment 4 has 59 numbers, and 60 are wanted"));
}

#[test]
fn it_can_be_cancelled_and_tells_how_far_it_is() {
    init_for_tests();
    let mut seen = Vec::new();
    let result = learn(training_set(80), &config(), &mut |p| {
        seen.push(p.progress);
        if p.progress < 0.5 { Flow::Continue } else { Flow::Cancel }
    });
    assert!(matches!(result, Err(LearnError::Cancelled)));
    assert!(seen.windows(2).all(|w| w[0] <= w[1]), "progress never goes back");
}
