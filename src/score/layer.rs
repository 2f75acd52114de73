//! One layer of the learned networks: linear, then batch norm and ReLU unless it is the last one.

use rand::{Rng, RngExt};

/// Added to the variance in batch norms.
pub const BATCH_NORM_EPSILON: f32 = 1e-5;

/// Batch norm of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    pub gain: Vec<f32>,
    pub shift: Vec<f32>,
    /// Running statistics.
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// y = x W + b, then batch norm and ReLU unless it is the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    /// `[inputs, outputs]`, row-major.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub norm: Option<Norm>,
}

impl Layer {
    /// Uniform within 1 / sqrt(inputs), as is usual for linear layers.
    pub fn new(inputs: usize, outputs: usize, norm: bool, rng: &mut impl Rng) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>();
        Self {
            inputs,
            outputs,
            weight: draw(inputs * outputs),
            bias: draw(outputs),
            norm: norm.then(|| Norm {
                gain: vec![1.0; outputs],
                shift: vec![0.0; outputs],
                mean: vec![0.0; outputs],
                variance: vec![1.0; outputs],
            }),
        }
    }

    /// The layer with its batch norm worked into weight and bias: what inference needs.
    pub fn folded(&self) -> Layer {
        let Some(norm) = &self.norm else { return self.clone() };
        let scale: Vec<f32> = (norm.gain.iter().zip(&norm.variance))
            .map(|(gain, variance)| gain / (variance + BATCH_NORM_EPSILON).sqrt())
            .collect();
        let weight =
            self.weight.chunks_exact(self.outputs).flat_map(|row| row.iter().zip(&scale).map(|(w, s)| w * s));
        let bias = (0..self.outputs).map(|o| (self.bias[o] - norm.mean[o]) * scale[o] + norm.shift[o]);
        Layer { weight: weight.collect(), bias: bias.collect(), norm: None, ..*self }
    }

    /// Learned numbers.
    pub fn parameters(&self) -> usize {
        let norm = self.norm.as_ref().map_or(0, |n| n.gain.len() + n.shift.len());
        self.weight.len() + self.bias.len() + norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn folding_changes_nothing_but_the_form() {
        let mut layer = Layer::new(2, 2, true, &mut StdRng::seed_from_u64(0));
        layer.norm = Some(Norm {
            gain: vec![2.0, 0.5],
            shift: vec![0.1, -0.3],
            mean: vec![0.4, 1.0],
            variance: vec![0.25, 4.0],
        });
        let folded = layer.folded();
        let x = [0.7f32, -1.2];
        let linear = |l: &Layer, o: usize| x[0] * l.weight[o] + x[1] * l.weight[2 + o] + l.bias[o];
        let norm = layer.norm.as_ref().expect("given above");
        for o in 0..2 {
            let plain = (linear(&layer, o) - norm.mean[o]) / (norm.variance[o] + BATCH_NORM_EPSILON).sqrt();
            assert!((plain * norm.gain[o] + norm.shift[o] - linear(&folded, o)).abs() < 1e-6);
        }
    }
}
