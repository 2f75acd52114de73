//! How the network is told the noise level: by fixed cosines and sines of it.

use crate::base::choices;
use std::f64::consts::TAU;

choices! {
    /// The two ways that the authors compare.
    pub enum Embedding {
        /// Random Fourier features as a feature-wise modulation: gamma = cos(2 pi w c), beta = sin(2 pi w c). Despite
        /// its name nothing of it is learned (`feature_v1.py`).
        Film = "film",
        /// Sines and cosines of c at frequencies from 1 to 1 / 10 000, added (Vaswani et al. 2017; as Karras et al.
        /// 2022 embed the same c). The authors' code has no such thing: where it is added is our choice, the places
        /// of FiLM.
        SineCosine = "sine-cosine",
    }
}

/// Tells one layer's input the noise level.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditioning {
    pub embedding: Embedding,
    /// One a number of the layer's input. FiLM's are drawn once, and belong to the model.
    pub frequencies: Vec<f32>,
}

/// x becomes gamma x + beta at one noise level.
#[derive(Debug, Clone, PartialEq)]
pub struct Modulation {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Conditioning {
    /// FiLM with the frequencies w.
    pub fn film(w: Vec<f32>) -> Self {
        Self { embedding: Embedding::Film, frequencies: w }
    }

    /// Of `width` numbers: pairs of a sine and a cosine.
    pub fn sine_cosine(width: usize) -> Self {
        let pairs = width.div_ceil(2) as f64;
        let frequency = |i: usize| 1e4f64.powf(-((i / 2) as f64) / pairs) as f32;
        Self { embedding: Embedding::SineCosine, frequencies: (0..width).map(frequency).collect() }
    }

    /// gamma and beta of each number, at the noise level that `c` stands for ([`noise_embedding`]).
    pub fn each(&self, c: f64) -> impl Iterator<Item = (f32, f32)> + '_ {
        let turns = match self.embedding {
            Embedding::Film => c,
            Embedding::SineCosine => c / TAU,
        };
        self.frequencies.iter().enumerate().map(move |(i, w)| {
            // Whole turns are taken away while there are digits enough.
            let turns = f64::from(*w) * turns;
            let (sin, cos) = ((TAU * (turns - turns.round())) as f32).sin_cos();
            match self.embedding {
                Embedding::Film => (cos, sin),
                Embedding::SineCosine => (1.0, if i % 2 == 0 { sin } else { cos }),
            }
        })
    }

    pub fn at(&self, sigma: f64) -> Modulation {
        let (gamma, beta) = self.each(noise_embedding(sigma)).unzip();
        Modulation { gamma, beta }
    }
}

/// c = ln(sigma) / 4, the number that stands for a noise level.
pub fn noise_embedding(sigma: f64) -> f64 {
    sigma.ln() / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_sigma_one_film_changes_nothing() {
        let film = Conditioning::film(vec![0.3, -1.7, 2.2]).at(1.0);
        assert_eq!(film.gamma, [1.0; 3]);
        assert_eq!(film.beta, [0.0; 3]);
    }

    #[test]
    fn gamma_and_beta_of_film_lie_on_the_unit_circle() {
        for sigma in [1e-3, 0.2, 3.0, 80.0] {
            let film = Conditioning::film(vec![0.3, -1.7, 2.2, 0.0]).at(sigma);
            for (g, b) in film.gamma.iter().zip(&film.beta) {
                assert!((g * g + b * b - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn sines_and_cosines_by_hand() {
        let c: f64 = 0.7;
        let found = Conditioning::sine_cosine(5).at((4.0 * c).exp());
        assert_eq!(found.gamma, [1.0; 5]);
        let slower = 1e4f64.powf(-1.0 / 3.0);
        let expected =
            [c.sin(), c.cos(), (c * slower).sin(), (c * slower).cos(), (c * slower * slower).sin()];
        for (b, e) in found.beta.iter().zip(expected) {
            assert!((f64::from(*b) - e).abs() < 1e-6, "{b} instead of {e}");
        }
    }
}
