//! What normal life looks like, number by number: what the features of something unusual are compared with.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Regions have spreads from this share of that of the whole picture: a place where never anything moved is no reason
/// to call a leaf a thousand deviations ...
const LEAST_SPREAD: f32 = 0.25;
/// ... up to so many times it.
const MOST_SPREAD: f32 = 4.0;

/// Medians and spreads of normal life's features, as a model file keeps them: two bytes for each number of each
/// region. [`NormalSpec::decoded`] makes numbers of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormalSpec {
    /// Regions that are told apart; 1 where all are taken together.
    pub regions: usize,
    /// For each number of a region: the lowest and the highest of the regions' medians, and the spread in the whole
    /// picture. A spread of 0 means that it never changed.
    pub ranges: Vec<[f32; 3]>,
    /// Hexadecimal, region by region and number by number: the median between lowest and highest, and the region's
    /// spread on a logarithmic scale.
    pub codes: String,
}

/// Medians and spreads of normal life's features.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    pub regions: usize,
    pub dims: usize,
    /// `regions * dims` numbers each, region by region.
    pub medians: Vec<f32>,
    /// Robust standard deviations; 0 for a number that never changed.
    pub spreads: Vec<f32>,
}

impl NormalSpec {
    /// Of exact numbers; `spreads` are those of the whole picture, one a number.
    pub fn of(normal: &Normal, whole: &[f32]) -> Self {
        let dims = normal.dims;
        let column = |d: usize| normal.medians.iter().skip(d).step_by(dims).copied();
        let range =
            |d: usize| [column(d).fold(f32::MAX, f32::min), column(d).fold(f32::MIN, f32::max), whole[d]];
        let ranges: Vec<[f32; 3]> = (0..dims).map(range).collect();
        let mut codes = String::with_capacity(4 * normal.medians.len());
        for (i, (median, spread)) in normal.medians.iter().zip(&normal.spreads).enumerate() {
            let [low, high, whole] = ranges[i % dims];
            let place = if high > low { (median - low) / (high - low) } else { 0.0 };
            let times = if whole > 0.0 { spread / whole } else { 1.0 }.clamp(LEAST_SPREAD, MOST_SPREAD);
            let share = (times / LEAST_SPREAD).ln() / (MOST_SPREAD / LEAST_SPREAD).ln();
            let byte = |share: f32| (share * 255.0).round() as u8;
            write!(codes, "{:02x}{:02x}", byte(place), byte(share)).expect("text grows");
        }
        Self { regions: normal.regions, ranges, codes }
    }

    /// The numbers, each median to 1 part in 500 of its range and each spread to 1 part in 100; `None` where they are not
    /// those of `regions` regions (or one for all) of `dims` numbers.
    pub fn decoded(&self, regions: usize, dims: usize) -> Option<Normal> {
        let fits = (self.regions == regions || self.regions == 1)
            && self.ranges.len() == dims
            && self.codes.is_ascii()
            && self.codes.len() == 4 * self.regions * dims;
        let sound =
            self.ranges.iter().flatten().all(|v| v.is_finite()) && self.ranges.iter().all(|r| r[2] >= 0.0);
        if !fits || !sound {
            return None;
        }
        let mut normal = Normal { regions: self.regions, dims, medians: vec![], spreads: vec![] };
        for i in 0..self.regions * dims {
            let share = |at: usize| {
                u8::from_str_radix(&self.codes[at..at + 2], 16).ok().map(|byte| f32::from(byte) / 255.0)
            };
            let [low, high, whole] = self.ranges[i % dims];
            normal.medians.push(low + share(4 * i)? * (high - low));
            normal.spreads.push(whole * LEAST_SPREAD * (MOST_SPREAD / LEAST_SPREAD).powf(share(4 * i + 2)?));
        }
        Some(normal)
    }
}

impl Normal {
    /// Medians and spreads of a region.
    pub fn of(&self, region: usize) -> (&[f32], &[f32]) {
        let at = if self.regions == 1 { 0 } else { region * self.dims };
        (&self.medians[at..at + self.dims], &self.spreads[at..at + self.dims])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bytes_a_number_say_enough() {
        let normal = Normal {
            regions: 3,
            dims: 2,
            medians: vec![-4.0, 1.0, -3.2, 1.0, 0.0, 1.0],
            spreads: vec![0.5, 0.0, 1.0, 0.0, 0.01, 0.0],
        };
        let spec = NormalSpec::of(&normal, &[0.8, 0.0]);
        assert_eq!(spec.codes.len(), 24);
        let found = spec.decoded(3, 2).expect("fits");
        for (a, b) in found.medians.iter().zip(&normal.medians) {
            assert!((a - b).abs() <= 4.0 / 500.0, "{a} {b}");
        }
        let expected = [0.5, 0.0, 1.0, 0.0, 0.25 * 0.8, 0.0];
        assert!(found.spreads.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 0.011 * b), "{found:?}");
        assert_eq!(found.of(1).0, &found.medians[2..4]);
    }

    #[test]
    fn what_does_not_fit_is_nothing() {
        let normal = Normal { regions: 1, dims: 1, medians: vec![1.0], spreads: vec![1.0] };
        let spec = NormalSpec::of(&normal, &[1.0]);
        assert!(spec.decoded(7, 1).is_some(), "one for all regions");
        assert_eq!(spec.decoded(1, 2), None);
        assert_eq!(NormalSpec { codes: "zz00".into(), ..spec.clone() }.decoded(1, 1), None);
        assert_eq!(NormalSpec { codes: "é00".into(), ..spec.clone() }.decoded(1, 1), None);
        assert_eq!(NormalSpec { ranges: vec![[0.0, f32::NAN, 1.0]], ..spec }.decoded(1, 1), None);
    }
}
