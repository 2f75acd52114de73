//! Noise levels: Karras' schedule, and where in it the denoising starts.

/// Noise levels from `sigma_max` down to `sigma_min`, then 0: `n + 1` values.
///
/// Karras et al. 2022, equation 5: sigma_i = (a + i / (n - 1) (b - a))^rho, with a and b the rho-th roots of
/// the ends. `n` of 1 gives `[sigma_max, 0]`. The authors take n = 10 and rho = 7.
pub fn karras(n: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Vec<f64> {
    let (a, b) = (sigma_max.powf(1.0 / rho), sigma_min.powf(1.0 / rho));
    let level = |i: usize| {
        let share = if n > 1 { i as f64 / (n - 1) as f64 } else { 0.0 };
        (a + share * (b - a)).powf(rho)
    };
    (0..n).map(level).chain([0.0]).collect()
}

/// The authors' ends of the schedule, (sigma_min, sigma_max) = exp(P_mean -+ 5 P_std), for training noise of
/// exp(P_mean + P_std N(0, 1)).
pub fn ends(noise: (f64, f64)) -> (f64, f64) {
    ((noise.0 - 5.0 * noise.1).exp(), (noise.0 + 5.0 * noise.1).exp())
}

/// The schedule without its first `t` levels. The last level before 0 always stays.
pub fn start_at(schedule: &[f64], t: usize) -> &[f64] {
    &schedule[t.min(schedule.len().saturating_sub(2))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= 1e-5 * e.abs() + 1e-12, "{f} instead of {e}");
        }
    }

    #[test]
    fn karras_own_levels() {
        let expected =
            [80.0, 42.4152, 21.1087, 9.7232, 4.06612, 1.50174, 0.469979, 0.116639, 0.0204353, 0.002, 0.0];
        assert_close(&karras(10, 0.002, 80.0, 7.0), &expected);
    }

    /// P_mean -1 and P_std 1.5; the ends are those in their file.
    #[test]
    fn the_levels_of_the_authors_configuration() {
        let (least, most) = ends((-1.0, 1.5));
        assert!((least - 0.000203).abs() < 1e-6 && (most - 665.1416).abs() < 1e-4);
        let found = karras(10, 0.000203, most, 7.0);
        let expected = [
            665.142, 322.917, 144.245, 58.0115, 20.3535, 5.93638, 1.32939, 0.197697, 0.0142915, 0.000203, 0.0,
        ];
        assert_close(&found, &expected);
    }

    #[test]
    fn a_start_keeps_at_least_one_step() {
        let schedule = karras(10, 0.002, 80.0, 7.0);
        assert_eq!(start_at(&schedule, 0), schedule);
        assert_eq!(start_at(&schedule, 9), [schedule[9], 0.0]);
        assert_eq!(start_at(&schedule, 99), [schedule[9], 0.0]);
        assert_close(&karras(1, 0.5, 2.0, 7.0), &[2.0, 0.0]);
    }
}
