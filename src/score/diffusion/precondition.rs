//! What surrounds the network: D(x; sigma) = c_skip x + c_out F(c_in x; sigma).

/// The scalings at one noise level (Karras et al. 2022, table 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalings {
    pub skip: f64,
    pub out: f64,
    pub input: f64,
}

impl Scalings {
    /// For noise of standard deviation `sigma` on data of standard deviation `sigma_data`.
    pub fn at(sigma: f64, sigma_data: f64) -> Self {
        let total = sigma * sigma + sigma_data * sigma_data;
        Self {
            skip: sigma_data * sigma_data / total,
            out: sigma * sigma_data / total.sqrt(),
            input: 1.0 / total.sqrt(),
        }
    }

    /// What x and F enter the direction (x - D(x; sigma)) / sigma with. Written out, because at small sigma x and D
    /// have most of their digits in common.
    pub fn direction(sigma: f64, sigma_data: f64) -> (f64, f64) {
        let total = sigma * sigma + sigma_data * sigma_data;
        (sigma / total, -sigma_data / total.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn where_noise_and_data_are_alike() {
        let s = 0.6206;
        let c = Scalings::at(s, s);
        assert!((c.skip - 0.5).abs() < 1e-12);
        assert!((c.out - s / 2f64.sqrt()).abs() < 1e-12);
        assert!((c.input - 1.0 / (s * 2f64.sqrt())).abs() < 1e-12);
    }

    #[test]
    fn the_direction_is_that_of_the_denoiser() {
        for sigma in [0.02, 0.6, 30.0] {
            let (c, (of_x, of_f)) = (Scalings::at(sigma, 0.6206), Scalings::direction(sigma, 0.6206));
            let (x, f) = (1.3, -0.4);
            let plain = (x - (c.skip * x + c.out * f)) / sigma;
            assert!((of_x * x + of_f * f - plain).abs() < 1e-12 / sigma);
        }
    }

    #[test]
    fn the_networks_input_has_unit_variance_at_every_level() {
        for sigma in [1e-3, 0.1, 1.0, 7.0, 80.0] {
            let c = Scalings::at(sigma, 0.6206);
            assert!((c.input * c.input * (sigma * sigma + 0.6206f64.powi(2)) - 1.0).abs() < 1e-12);
        }
    }

    /// For Gaussian data F = 0 is the optimal denoiser, and the training loss it leaves is 1 at every level.
    #[test]
    fn the_loss_of_the_optimal_denoiser_is_one() {
        let mut rng = StdRng::seed_from_u64(5);
        let s = 0.6206;
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        for sigma in [0.02, 0.3, 1.0, 5.0, 60.0] {
            let c = Scalings::at(sigma, s);
            let n = 200_000;
            let loss: f64 = (0..n)
                .map(|_| {
                    let x = s * normal();
                    let noised = x + sigma * normal();
                    ((x - c.skip * noised) / c.out).powi(2)
                })
                .sum::<f64>()
                / n as f64;
            assert!((loss - 1.0).abs() < 0.015, "sigma {sigma}: {loss}");
        }
    }
}
