//! Samplers as coefficients: every one of them is a chain of denoiser calls with fixed linear combinations.
//!
//! With d = (x - D(x; sigma)) / sigma the samplers solve dx/dsigma = d from the starting level down to 0.
//! Where each call is made, and what the result is, are an earlier point and a sum of d's whose coefficients
//! depend on the schedule alone. So a plan can be written down before any data is seen.

use crate::config::Sampler;

/// A point of a reconstruction: an earlier one, and how far along which directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Index of the call whose point this one starts from.
    pub from: usize,
    /// It lies at x_from + sum of `steps[j].1` d_j over these calls j = `steps[j].0`.
    pub steps: Vec<(usize, f64)>,
}

/// One call of the denoiser.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Noise level of the call.
    pub sigma: f64,
    /// Where it is made; `None` for the first, which is made at the start.
    pub at: Option<Point>,
}

/// All calls of a reconstruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub stages: Vec<Stage>,
    /// The reconstruction.
    pub result: Point,
}

impl Plan {
    /// From `levels[0]` down to 0 over the levels given.
    ///
    /// # Panics
    /// If there are fewer than two levels, if they do not fall strictly, or if the last is not 0.
    pub fn new(sampler: Sampler, levels: &[f64]) -> Self {
        let falls = levels.windows(2).all(|pair| pair[0] > pair[1]);
        assert!(levels.len() >= 2 && falls && levels.last() == Some(&0.0), "levels fall strictly to 0");
        match sampler {
            Sampler::Euler => multistep(levels, 1),
            Sampler::Lms4 => multistep(levels, 4),
            Sampler::Heun => heun(levels),
        }
    }

    /// Level that the reconstruction starts from.
    pub fn start(&self) -> f64 {
        self.stages[0].sigma
    }
}

/// Adams-Bashforth on uneven levels; of order 1 it is Euler.
fn multistep(levels: &[f64], order: usize) -> Plan {
    let mut stages = Vec::new();
    let mut next: Option<Point> = None;
    for (i, pair) in levels.windows(2).enumerate() {
        stages.push(Stage { sigma: pair[0], at: next });
        let used = i + 1 - order.min(i + 1)..=i;
        let nodes = &levels[used.clone()];
        let steps = used.map(|j| (j, lagrange_integral(nodes, levels[j], pair[0], pair[1])));
        next = Some(Point { from: i, steps: steps.collect() });
    }
    Plan { stages, result: next.expect("there is a step") }
}

/// Integral from `a` to `b` of the Lagrange polynomial that is 1 at the node `one` and 0 at the others.
fn lagrange_integral(nodes: &[f64], one: f64, a: f64, b: f64) -> f64 {
    let basis = |x: f64| -> f64 {
        nodes.iter().filter(|node| **node != one).map(|node| (x - node) / (one - node)).product()
    };
    // Two Gauss-Legendre points integrate cubics exactly, and four nodes make cubics.
    let (middle, half) = ((a + b) / 2.0, (b - a) / 2.0);
    let offset = half / 3f64.sqrt();
    half * (basis(middle - offset) + basis(middle + offset))
}

fn heun(levels: &[f64]) -> Plan {
    let mut stages: Vec<Stage> = Vec::new();
    let mut next: Option<Point> = None;
    for pair in levels.windows(2) {
        let (step, here) = (pair[1] - pair[0], stages.len());
        stages.push(Stage { sigma: pair[0], at: next });
        let euler = Point { from: here, steps: vec![(here, step)] };
        next = Some(if pair[1] == 0.0 {
            // There is no direction at level 0; the last step is Euler's.
            euler
        } else {
            stages.push(Stage { sigma: pair[1], at: Some(euler) });
            Point { from: here, steps: vec![(here, step / 2.0), (here + 1, step / 2.0)] }
        });
    }
    Plan { stages, result: next.expect("there is a step") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::diffusion::{Scalings, karras, start_at};

    const S: f64 = 0.6206;

    /// What a plan makes of x_0 = 1 where F = 0, that is D = c_skip x.
    fn gain(plan: &Plan) -> f64 {
        let (mut x, mut d): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        let reached = |point: &Point, x: &[f64], d: &[f64]| {
            x[point.from] + point.steps.iter().map(|(j, weight)| weight * d[*j]).sum::<f64>()
        };
        for stage in &plan.stages {
            let at = stage.at.as_ref().map_or(1.0, |point| reached(point, &x, &d));
            x.push(at);
            d.push((at - Scalings::at(stage.sigma, S).skip * at) / stage.sigma);
        }
        reached(&plan.result, &x, &d)
    }

    #[test]
    fn the_known_gains_of_the_three_samplers() {
        let schedule = karras(10, 0.002, 80.0, 7.0);
        for (t, sampler, expected) in [
            (6, Sampler::Euler, 0.704854),
            (6, Sampler::Heun, 0.811369),
            (6, Sampler::Lms4, 0.712543),
            (7, Sampler::Euler, 0.970900),
            (7, Sampler::Heun, 0.982914),
            (7, Sampler::Lms4, 0.971331),
        ] {
            let found = gain(&Plan::new(sampler, start_at(&schedule, t)));
            assert!((found - expected).abs() < 1e-6, "{sampler:?} from {t}: {found} instead of {expected}");
        }
    }

    #[test]
    fn they_approach_the_exact_solution() {
        let exact = |start: f64| S / (S * S + start * start).sqrt();
        let schedule = karras(10, 0.002, 80.0, 7.0);
        let (start, exact) = (schedule[6], [exact(schedule[6]), exact(schedule[7])]);
        assert!((exact[0] - 0.797199).abs() < 1e-6 && (exact[1] - 0.982793).abs() < 1e-6);
        for (sampler, tolerance) in [(Sampler::Euler, 5e-3), (Sampler::Heun, 1e-4), (Sampler::Lms4, 1e-3)] {
            let levels = karras(400, 1e-4, start, 7.0);
            let found = gain(&Plan::new(sampler, &levels));
            assert!((found - exact[0]).abs() < tolerance, "{sampler:?}: {found}");
        }
    }

    /// From the last level every sampler is one call, and the result is the denoiser's own answer.
    #[test]
    fn one_step_is_the_denoiser_itself() {
        let levels = [0.002, 0.0];
        for sampler in [Sampler::Euler, Sampler::Heun, Sampler::Lms4] {
            let plan = Plan::new(sampler, &levels);
            assert_eq!(plan.stages.len(), 1);
            assert!((gain(&plan) - Scalings::at(0.002, S).skip).abs() < 1e-15);
        }
    }

    /// For Gaussian data the mean error of the exact reconstruction is 2 s^2 (1 - a).
    #[test]
    fn the_reconstruction_error_of_gaussian_data() {
        use rand::{SeedableRng, rngs::StdRng};
        use rand_distr::{Distribution, StandardNormal};
        let a = gain(&Plan::new(Sampler::Heun, &karras(60, 1e-4, 1.0, 7.0)));
        let mut rng = StdRng::seed_from_u64(1);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let n = 200_000;
        let mean = (0..n)
            .map(|_| {
                let x = S * normal();
                (x - a * (x + normal())).powi(2)
            })
            .sum::<f64>()
            / n as f64;
        assert!((mean - 0.3641).abs() < 0.004, "{mean}");
    }

    /// Of one vector it is (1 - a)^2 |x|^2 / d + a^2 sigma^2: without a trained network the score ranks by length.
    #[test]
    fn an_untrained_reconstruction_ranks_by_length() {
        use crate::score::metrics::roc_auc;
        use rand::{SeedableRng, rngs::StdRng};
        use rand_distr::{Distribution, StandardNormal};
        let a = gain(&Plan::new(Sampler::Heun, &karras(60, 1e-4, 1.0, 7.0)));
        let mut rng = StdRng::seed_from_u64(2);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let (dims, draws) = (32, 300);
        let (mut errors, mut lengths, mut labels) = (vec![], vec![], vec![]);
        for i in 0..300 {
            let unusual = i % 3 == 0;
            let x: Vec<f64> = (0..dims).map(|_| if unusual { 0.75 } else { S } * normal()).collect();
            let mut error = 0.0;
            for x in x.iter().cycle().take(dims * draws) {
                error += (x - a * (x + normal())).powi(2) / (dims * draws) as f64;
            }
            let length = x.iter().map(|x| x * x).sum::<f64>() / dims as f64;
            let expected = (1.0 - a).powi(2) * length + a * a;
            assert!((error / expected - 1.0).abs() < 0.1, "{error} instead of {expected}");
            errors.push(error as f32);
            lengths.push(length as f32);
            labels.push(unusual);
        }
        let [by_error, by_length] = [errors, lengths].map(|s| roc_auc(&s, &labels).expect("both classes"));
        assert!((by_error - by_length).abs() < 0.02 && by_length > 0.8, "{by_error} and {by_length}");
    }
}
