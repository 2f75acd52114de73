//! Adam in two forms, the learning rate's course and the decay of the weights' moving average.

/// How weights follow their gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimiser {
    /// AdamW, decoupled weight decay (Loshchilov and Hutter 2019), and [`learning_rate`], with k-diffusion's constants.
    Warmed,
    /// Adam (Kingma and Ba 2015) with so much of each weight added to its gradient, at one rate.
    Plain { decay: f32 },
}

/// Constants of one form: betas, epsilon, decoupled and coupled decay.
struct Constants {
    betas: (f32, f32),
    epsilon: f32,
    decoupled: f64,
    coupled: f32,
}

impl Optimiser {
    fn constants(self) -> Constants {
        match self {
            Optimiser::Warmed => {
                Constants { betas: (0.95, 0.999), epsilon: 1e-6, decoupled: 1e-4, coupled: 0.0 }
            }
            Optimiser::Plain { decay } => {
                Constants { betas: (0.9, 0.999), epsilon: 1e-8, decoupled: 0.0, coupled: decay }
            }
        }
    }

    /// The learning rate at a step from 0.
    pub fn rate(self, base: f64, step: usize) -> f64 {
        match self {
            Optimiser::Warmed => learning_rate(base, step),
            Optimiser::Plain { .. } => base,
        }
    }
}

/// Adam's state.
#[derive(Debug)]
pub struct Adam {
    optimiser: Optimiser,
    steps: i32,
    /// First and second moments of each parameter tensor.
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Adam {
    /// For parameter tensors of these sizes.
    pub fn new(optimiser: Optimiser, sizes: impl IntoIterator<Item = usize>) -> Self {
        let moments = sizes.into_iter().map(|n| (vec![0.0; n], vec![0.0; n])).collect();
        Self { optimiser, steps: 0, moments }
    }

    /// One step against the gradients, tensor by tensor.
    pub fn step(&mut self, parameters: &mut [&mut Vec<f32>], gradients: &[Vec<f32>], rate: f64) {
        self.steps += 1;
        let Constants { betas: (b1, b2), epsilon, decoupled, coupled } = self.optimiser.constants();
        let (c1, c2) = (1.0 - b1.powi(self.steps), 1.0 - b2.powi(self.steps));
        let keep = (1.0 - rate * decoupled) as f32;
        let rate = rate as f32 / c1;
        for ((parameter, gradient), (m, v)) in parameters.iter_mut().zip(gradients).zip(&mut self.moments) {
            for (((p, g), m), v) in parameter.iter_mut().zip(gradient).zip(m).zip(v) {
                let g = g + coupled * *p;
                *m = b1 * *m + (1.0 - b1) * g;
                *v = b2 * *v + (1.0 - b2) * g * g;
                *p = *p * keep - rate * *m / ((*v / c2).sqrt() + epsilon);
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
        Adam::new(Optimiser::Warmed, [2]).step(&mut [&mut p], &[vec![0.5, -3.0]], 0.1);
        assert!((p[0] - (1.0 - 1e-5 - 0.1)).abs() < 1e-6, "{}", p[0]);
        assert!((p[1] - (-2.0 + 2e-5 + 0.1)).abs() < 1e-6, "{}", p[1]);
        // The decay outweighs the second gradient.
        let mut p = vec![1.0f32, -2.0];
        Adam::new(Optimiser::Plain { decay: 0.5 }, [2]).step(&mut [&mut p], &[vec![0.5, 0.9]], 0.1);
        assert!((p[0] - 0.9).abs() < 1e-6 && (p[1] + 1.9).abs() < 1e-6, "{p:?}");
    }
}
