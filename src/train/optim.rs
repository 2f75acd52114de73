//! AdamW, the learning rate's course and the decay of the weights' moving average.

const BETAS: (f32, f32) = (0.95, 0.999);
const EPSILON: f32 = 1e-6;
const WEIGHT_DECAY: f64 = 1e-4;

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019), with k-diffusion's constants.
#[derive(Debug)]
pub struct AdamW {
    steps: i32,
    /// First and second moments of each parameter tensor.
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl AdamW {
    /// For parameter tensors of these sizes.
    pub fn new(sizes: impl IntoIterator<Item = usize>) -> Self {
        let moments = sizes.into_iter().map(|n| (vec![0.0; n], vec![0.0; n])).collect();
        Self { steps: 0, moments }
    }

    /// One step against the gradients, tensor by tensor.
    pub fn step(&mut self, parameters: &mut [&mut Vec<f32>], gradients: &[Vec<f32>], rate: f64) {
        self.steps += 1;
        let (b1, b2) = BETAS;
        let (c1, c2) = (1.0 - b1.powi(self.steps), 1.0 - b2.powi(self.steps));
        let keep = (1.0 - rate * WEIGHT_DECAY) as f32;
        let rate = rate as f32 / c1;
        for ((parameter, gradient), (m, v)) in parameters.iter_mut().zip(gradients).zip(&mut self.moments) {
            for (((p, g), m), v) in parameter.iter_mut().zip(gradient).zip(m).zip(v) {
                *m = b1 * *m + (1.0 - b1) * g;
                *v = b2 * *v + (1.0 - b2) * g * g;
                *p = *p * keep - rate * *m / ((*v / c2).sqrt() + EPSILON);
            }
        }
    }
}

/// InverseLR of k-diffusion at step k from 0: warms up exponentially, then falls slowly.
pub fn learning_rate(base: f64, step: usize) -> f64 {
    let k = step as f64;
    (1.0 - 0.99f64.powf(k + 1.0)) * base / (1.0 + k / 20_000.0)
}

/// Share of the moving average that stays at step k from 0.
pub fn average_decay(step: usize) -> f64 {
    (1.0 - (1.0 + step as f64).powf(-0.6667)).min(0.9999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_learning_rates() {
        for (step, expected) in [(0, 2.000e-6), (99, 1.261690e-4), (999, 1.904770e-4)] {
            let found = learning_rate(2e-4, step);
            assert!((found / expected - 1.0).abs() < 1e-6, "step {step}: {found}");
        }
    }

    #[test]
    fn the_known_decays_of_the_average() {
        for (step, expected) in [(1, 0.370054), (99, 0.953591), (999, 0.990002)] {
            assert!((average_decay(step) - expected).abs() < 1e-6, "step {step}: {}", average_decay(step));
        }
        assert_eq!(average_decay(0), 0.0, "the first weights replace the untrained ones");
        assert_eq!(average_decay(100_000_000), 0.9999);
    }

    /// Worked by hand: the first step of Adam is the rate against the gradient's sign, after the decay.
    #[test]
    fn the_first_step_by_hand() {
        let mut p = vec![1.0f32, -2.0];
        AdamW::new([2]).step(&mut [&mut p], &[vec![0.5, -3.0]], 0.1);
        assert!((p[0] - (1.0 - 1e-5 - 0.1)).abs() < 1e-6, "{}", p[0]);
        assert!((p[1] - (-2.0 + 2e-5 + 0.1)).abs() < 1e-6, "{}", p[1]);
    }
}
