//! How the network is told the noise level: fixed cosines and sines of a random Fourier embedding.

use std::f64::consts::TAU;

/// Feature-wise modulation at one noise level: x becomes gamma x + beta. Nothing of it is learned; the
/// frequencies `w` are drawn once and belong to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Film {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Film {
    /// gamma = cos(2 pi w c), beta = sin(2 pi w c) with c = ln(sigma) / 4.
    pub fn at(sigma: f64, w: &[f32]) -> Self {
        let c = noise_embedding(sigma);
        let angle = |w: &f32| TAU * f64::from(*w) * c;
        Self {
            gamma: w.iter().map(|w| angle(w).cos() as f32).collect(),
            beta: w.iter().map(|w| angle(w).sin() as f32).collect(),
        }
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
    fn at_sigma_one_nothing_changes() {
        let film = Film::at(1.0, &[0.3, -1.7, 2.2]);
        assert_eq!(film.gamma, [1.0; 3]);
        assert_eq!(film.beta, [0.0; 3]);
    }

    #[test]
    fn gamma_and_beta_lie_on_the_unit_circle() {
        for sigma in [1e-3, 0.2, 3.0, 80.0] {
            let film = Film::at(sigma, &[0.3, -1.7, 2.2, 0.0]);
            for (g, b) in film.gamma.iter().zip(&film.beta) {
                assert!((g * g + b * b - 1.0).abs() < 1e-6);
            }
        }
    }
}
