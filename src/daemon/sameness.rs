//! Notices a model that says the same whatever it is shown.

use crate::features::Features;

/// Different features in a row that all get one and the same score: of a model that works, no two do.
const ENOUGH: u32 = 20;

/// Of one detector.
#[derive(Debug, Default)]
pub struct Sameness {
    /// Digest of the newest features, and their score's bits.
    newest: Option<(u64, u32)>,
    /// How often in a row features changed and the score did not.
    times: u32,
}

impl Sameness {
    /// Takes a score of these features; true where the model has said the same for long. Features that stay the same, of a
    /// picture that does, say nothing about it.
    pub fn look(&mut self, features: &Features, score: f32) -> bool {
        let digest = |sum: u64, value: &f32| sum.rotate_left(7) ^ u64::from(value.to_bits());
        let now = (features.values.iter().fold(0, digest), score.to_bits());
        match self.newest.replace(now) {
            Some((_, score)) if score != now.1 => self.times = 0,
            Some((features, _)) if features != now.0 => self.times = self.times.saturating_add(1),
            _ => {}
        }
        self.times >= ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(value: f32) -> Features {
        Features { regions: 1, dims: 2, values: vec![value, 1.0] }
    }

    #[test]
    fn only_a_score_that_stays_while_features_change_is_suspicious() {
        let mut same = Sameness::default();
        assert!((0..100).all(|_| !same.look(&features(1.0), 5.0)), "the picture stands still");
        let mut said = (0..40).map(|i| same.look(&features(i as f32 + 2.0), 5.0));
        assert_eq!(said.position(|constant| constant), Some(ENOUGH as usize - 1));
        assert!(!same.look(&features(0.5), 5.1), "it speaks again");
        let mut moves = (0..100).map(|i| same.look(&features(i as f32), (i % 9) as f32));
        assert!(!moves.any(|constant| constant));
    }
}
