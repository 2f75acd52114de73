//! The denoiser and its samplers once more, plainly and in double precision: what the model files are held against.

use super::tests::{DIMS, GRID, features, manifest, scores};
use crate::features::Features;
use crate::infer::{Grid, init_for_tests};
use crate::score::diffusion::{
    Conditioning, Denoiser, Embedding, Network, Plan, Sampler, Scalings, Widths, ends, karras, start_at,
};
use crate::score::{BATCH_NORM_EPSILON, Pooling, Scale, Vectors, Whitening};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::TAU;

/// D(x; sigma) for `rows` of unit variance: running statistics, no folding.
pub fn denoised(network: &Network, rows: &[f64], sigma: f64) -> Vec<f64> {
    let c = Scalings::at(sigma, 1.0);
    let embedded = sigma.ln() / 4.0;
    let modulated = |h: Vec<f64>, by: &Conditioning| -> Vec<f64> {
        let number = |(i, (h, w)): (usize, (f64, &f32))| match by.embedding {
            Embedding::Film => {
                let angle = TAU * f64::from(*w) * embedded;
                angle.cos() * h + angle.sin()
            }
            Embedding::SineCosine if i % 2 == 0 => h + (f64::from(*w) * embedded).sin(),
            Embedding::SineCosine => h + (f64::from(*w) * embedded).cos(),
        };
        h.into_iter().zip(&by.frequencies).enumerate().map(number).collect()
    };
    let mut out = Vec::new();
    for x in rows.chunks_exact(network.widths.features) {
        let mut h = modulated(x.iter().map(|v| v * c.input).collect(), &network.at_input);
        for (i, layer) in network.layers.iter().enumerate() {
            if i == network.decoder() {
                h = modulated(h, &network.at_bottleneck);
            }
            let mut next: Vec<f64> = layer.bias.iter().map(|b| f64::from(*b)).collect();
            for (h, weights) in h.iter().zip(layer.weight.chunks_exact(layer.outputs)) {
                next.iter_mut().zip(weights).for_each(|(n, w)| *n += h * f64::from(*w));
            }
            if let Some(norm) = &layer.norm {
                for (o, v) in next.iter_mut().enumerate() {
                    let deviation = f64::from(norm.variance[o] + BATCH_NORM_EPSILON).sqrt();
                    let unit = (*v - f64::from(norm.mean[o])) / deviation;
                    *v = (f64::from(norm.gain[o]) * unit + f64::from(norm.shift[o])).max(0.0);
                }
            }
            h = next;
        }
        out.extend(x.iter().zip(&h).map(|(x, f)| x * c.skip + f * c.out));
    }
    out
}

/// Solves the equation from x at `levels[0]` down to the last level, step by step as k-diffusion's loops do.
pub fn solved(
    sampler: Sampler,
    levels: &[f64],
    x: &[f64],
    denoise: &dyn Fn(&[f64], f64) -> Vec<f64>,
) -> Vec<f64> {
    let direction = |x: &[f64], sigma: f64| -> Vec<f64> {
        x.iter().zip(denoise(x, sigma)).map(|(x, d)| (x - d) / sigma).collect()
    };
    let moved =
        |x: &[f64], d: &[f64], by: f64| -> Vec<f64> { x.iter().zip(d).map(|(x, d)| x + by * d).collect() };
    let (mut x, mut past) = (x.to_vec(), Vec::new());
    for i in 0..levels.len() - 1 {
        let (here, next) = (levels[i], levels[i + 1]);
        let d = direction(&x, here);
        match sampler {
            Sampler::Heun if next > 0.0 => {
                let second = direction(&moved(&x, &d, next - here), next);
                x = moved(&moved(&x, &d, 0.5 * (next - here)), &second, 0.5 * (next - here));
            }
            Sampler::Euler | Sampler::Heun => x = moved(&x, &d, next - here),
            Sampler::Lms4 => {
                past.push(d);
                let order = (i + 1).min(4);
                for j in 0..order {
                    // The polynomial that is 1 at levels[i - j] and 0 at the others of the last `order` levels.
                    let basis = |at: f64| -> f64 {
                        let others = (0..order).filter(|k| *k != j).map(|k| levels[i - k]);
                        others.map(|other| (at - other) / (levels[i - j] - other)).product()
                    };
                    // Simpson's rule, which is exact for cubics.
                    let mean = (basis(here) + 4.0 * basis((here + next) / 2.0) + basis(next)) / 6.0;
                    x = moved(&x, &past[i - j], (next - here) * mean);
                }
            }
        }
    }
    x
}

/// A scorer with all parts in use: draws, position, batch norms off their start.
pub fn untrained(grid: Grid, embedding: Embedding, plan: Plan, widths: impl Fn(usize) -> Widths) -> Denoiser {
    let mut rng = StdRng::seed_from_u64(3);
    let rows = (grid.rows > 1).then(|| (0..grid.rows).map(|r| r as f32 - 1.0).collect::<Vec<_>>());
    let width = DIMS - 1 + usize::from(rows.is_some());
    let mut draw = |n: usize| (0..n).map(|_| rng.random_range(0.5..1.5)).collect::<Vec<f32>>();
    let whitening =
        Whitening { centre: draw(DIMS), matrix: draw(DIMS * (DIMS - 1)), kept: DIMS - 1, clip: 4.0 };
    let noise = draw(3 * width);
    let mut network = Network::new(widths(width), embedding, &mut StdRng::seed_from_u64(6));
    for norm in network.layers.iter_mut().filter_map(|l| l.norm.as_mut()) {
        norm.mean.iter_mut().zip(draw(norm.gain.len())).for_each(|(m, v)| *m = 0.2 * v);
        norm.variance = draw(norm.gain.len());
        norm.gain = draw(norm.gain.len());
    }
    let pooling = Pooling { smoothing: 0.0, highest: 4, scale: Scale::Plain, masked: vec![] };
    let vectors = Vectors { grid, dims: DIMS, whitening, rows };
    Denoiser { vectors, network, sigma_data: 1.0, plan, noise, pooling }
}

/// mean((x - x^)^2) / sigma_t^2 of the regions of one segment.
fn residuals(denoiser: &Denoiser, sampler: Sampler, levels: &[f64], features: &Features) -> Vec<f64> {
    let (width, regions) = (denoiser.vectors.width(), denoiser.vectors.grid.regions());
    let mut x = Vec::new();
    denoiser.vectors.apply(&features.values, &mut x);
    let x: Vec<f64> = x.into_iter().map(f64::from).collect();
    let mut residuals = vec![0.0; regions];
    for noise in denoiser.noise.chunks_exact(width) {
        let noised = x.iter().enumerate().map(|(i, v)| v + levels[0] * f64::from(noise[i % width]));
        let noised: Vec<f64> = noised.collect();
        let found = solved(sampler, levels, &noised, &|x, sigma| denoised(&denoiser.network, x, sigma));
        let squares = x.iter().zip(&found).map(|(x, f)| ((x - f) / levels[0]).powi(2)).collect::<Vec<_>>();
        for (r, squares) in residuals.iter_mut().zip(squares.chunks_exact(width)) {
            *r += squares.iter().sum::<f64>() / width as f64 / denoiser.draws() as f64;
        }
    }
    residuals
}

/// The whole chain is in the file: ONNX Runtime gives what the samplers' own loops give, for every sampler, both
/// embeddings, several starts of the authors' schedule, and for whole vectors (one region) as for a grid.
#[test]
fn onnx_runtime_reconstructs_as_the_samplers_do() {
    init_for_tests();
    let (least, most) = ends((-1.0, 1.5));
    let schedule = karras(10, least, most, 7.0);
    let mut rng = StdRng::seed_from_u64(12);
    let mut worst: f64 = 0.0;
    for (grid, widths) in [(GRID, Widths::regional as fn(usize) -> Widths), (Grid::WHOLE, Widths::authors)] {
        for (sampler, calls) in [(Sampler::Euler, 1), (Sampler::Heun, 2), (Sampler::Lms4, 1)] {
            for (t, embedding) in
                [0, 4, 6, 9].into_iter().zip([Embedding::Film, Embedding::SineCosine].repeat(2))
            {
                let levels = start_at(&schedule, t);
                let denoiser = untrained(grid, embedding, Plan::new(sampler, levels), widths);
                assert_eq!(denoiser.plan.stages.len(), calls * (10 - t) - (calls - 1));
                let mut f = features(&mut rng, &[2], 1.0);
                f.values.truncate(grid.regions() * DIMS);
                f.regions = grid.regions();
                let mut expected = residuals(&denoiser, sampler, levels, &f);
                let found = &scores(&denoiser.to_onnx(&manifest(grid)), &[&f, &f])[1];
                for (e, r) in expected.iter().zip(&found.regions) {
                    worst = worst.max((f64::from(*r) / e - 1.0).abs());
                }
                expected.sort_by(|a, b| b.total_cmp(a));
                expected.truncate(4);
                let mean = expected.iter().sum::<f64>() / expected.len() as f64;
                worst = worst.max((f64::from(found.value) / mean - 1.0).abs());
                assert!(worst < 1e-5, "{sampler:?} from {t}, {embedding:?}: apart by {worst:e} of a score");
            }
        }
    }
}
