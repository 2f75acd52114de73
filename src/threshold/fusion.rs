//! Several detectors' tail probabilities as one.

use crate::config::FusionRule;

/// One probability from those of several detectors, each in (0, 1]; 1 for none.
///
/// - `Min`: the smallest times their number (Bonferroni), right whatever they have to do with each other.
/// - `Fisher`: that of `-2 sum ln p` under a chi-squared distribution with two degrees of freedom for each (Fisher
///   1925). It takes them for independent; detectors of one picture are not, so it is bolder than it says.
pub fn fuse(rule: FusionRule, probabilities: &[f64]) -> f64 {
    let n = probabilities.len() as f64;
    match rule {
        FusionRule::Min => (n * probabilities.iter().copied().fold(1.0, f64::min)).min(1.0),
        FusionRule::Fisher => {
            // The survival function at 2h in closed form: e^-h sum of h^i / i! for i < n.
            let h: f64 = probabilities.iter().map(|p| -p.ln()).sum();
            let (mut term, mut sum) = (1.0, 0.0);
            for i in 0..probabilities.len() {
                sum += term;
                term *= h / (i as f64 + 1.0);
            }
            if probabilities.is_empty() { 1.0 } else { ((-h).exp() * sum).max(f64::MIN_POSITIVE) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ChiSquared, ContinuousCDF};

    #[test]
    fn fishers_closed_form_is_the_chi_squared_distribution() {
        for ps in [vec![0.3], vec![0.04, 0.7], vec![1e-6, 0.5, 0.2], vec![1.0; 5]] {
            let statistic = -2.0 * ps.iter().map(|p: &f64| p.ln()).sum::<f64>();
            let chi = ChiSquared::new(2.0 * ps.len() as f64).expect("positive").sf(statistic);
            let fused = fuse(FusionRule::Fisher, &ps);
            assert!((fused - chi).abs() < 1e-12 * chi.max(1e-3), "{ps:?}: {fused} instead of {chi}");
        }
    }

    #[test]
    fn one_is_enough_for_min_and_many_add_up_for_fisher() {
        assert_eq!(fuse(FusionRule::Min, &[1e-6, 0.9, 0.8]), 3e-6);
        assert_eq!(fuse(FusionRule::Min, &[0.9, 0.8]), 1.0);
        let (a_little, each) = (fuse(FusionRule::Fisher, &[0.02; 3]), fuse(FusionRule::Min, &[0.02; 3]));
        assert!(a_little < 1e-3 && each > 0.05, "{a_little} {each}");
        assert_eq!(fuse(FusionRule::Fisher, &[]), 1.0);
        assert!(fuse(FusionRule::Fisher, &[f64::MIN_POSITIVE; 4]) > 0.0);
    }
}
