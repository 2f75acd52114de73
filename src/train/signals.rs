//! Cheap signals of a region that have names: what learned factors are compared with, so that they can be spoken of.

use super::{Sample, TrainingSet};
use crate::infer::Grid;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Where the headings of motion energies point in the picture: 0, 45 ... degrees, clockwise from right.
const HEADINGS: [&str; 8] =
    ["rightward", "down-right", "downward", "down-left", "leftward", "up-left", "upward", "up-right"];
/// The hour of the day says nothing of a set that does not have most of a day in it.
const LEAST_SECONDS: f64 = 12.0 * 3600.0;

/// Signals of the regions of one training set.
#[derive(Debug)]
pub struct Signals {
    /// Mean of these channels of a region.
    groups: Vec<(String, Vec<usize>)>,
    grid: Grid,
    hour: bool,
}

impl Signals {
    pub fn new(set: &TrainingSet) -> Self {
        let dims = set.samples.first().map_or(0, |s| s.features.dims);
        let times = || set.samples.iter().map(|s| s.time);
        let span = times().fold(f64::MIN, f64::max) - times().fold(f64::MAX, f64::min);
        let mut groups = vec![("overall energy".into(), (0..dims).collect())];
        groups.extend(by_name(&set.channels));
        Self { groups, grid: set.grid, hour: set.wall_clock && span >= LEAST_SECONDS }
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.groups.iter().map(|(name, _)| name.clone()).collect();
        if self.grid.regions() > 1 {
            names.extend(["distance from the top".into(), "distance from the left".into()]);
        }
        names.extend(self.hour.then(|| "the hour of the day".into()));
        names
    }

    /// The signals of each region of a sample, one region after the other, onto the end of `out`.
    pub fn of(&self, sample: &Sample, out: &mut Vec<f32>) {
        let hour = hour_of_day(sample.time);
        for (region, values) in sample.features.values.chunks_exact(sample.features.dims).enumerate() {
            let mean = |(_, channels): &(String, Vec<usize>)| {
                channels.iter().map(|c| values[*c]).sum::<f32>() / channels.len() as f32
            };
            out.extend(self.groups.iter().map(mean));
            if self.grid.regions() > 1 {
                out.extend([(region / self.grid.cols) as f32, (region % self.grid.cols) as f32]);
            }
            out.extend(self.hour.then_some(hour));
        }
    }
}

/// Groups of channels by what the names of the V1 bank say: heading, stillness, speed and scale. Channels with
/// other names are in no group.
fn by_name(channels: &[String]) -> Vec<(String, Vec<usize>)> {
    let speed = |name: &str| name.split_once(" at ")?.1.strip_suffix(" px/frame")?.parse::<f64>().ok();
    let mut groups: BTreeMap<(usize, String), Vec<usize>> = BTreeMap::new();
    for (i, name) in channels.iter().enumerate() {
        let Some((scale, rest)) = name.split_once(" px, ") else { continue };
        let mut enter = |order: usize, group: String| groups.entry((order, group)).or_default().push(i);
        match (rest.strip_prefix("heading "), speed(rest)) {
            (Some(heading), Some(own)) => {
                let degrees = heading.split(' ').next().and_then(|d| d.parse::<usize>().ok()).unwrap_or(0);
                enter(degrees / 45 % 8, format!("{} motion energy", HEADINGS[degrees / 45 % 8]));
                // Fast and slow are so for their scale.
                let same_scale =
                    channels.iter().filter(|c| c.split_once(" px, ").is_some_and(|(s, _)| s == scale));
                let fastest = same_scale.filter_map(|c| speed(c)).fold(0.0, f64::max);
                let pace = if own < fastest { "slow" } else { "fast" };
                enter(8, format!("{pace} motion energy"));
            }
            _ => enter(9, "static energy".into()),
        }
        enter(10, format!("energy at the scale of {scale} px"));
    }
    groups.into_iter().map(|((_, name), channels)| (name, channels)).collect()
}

/// Local time; 0 where the time is out of any calendar.
fn hour_of_day(seconds: f64) -> f32 {
    let time = jiff::Timestamp::from_second(seconds as i64).map(|t| t.to_zoned(TimeZone::system()));
    time.map_or(0.0, |t| f32::from(t.hour()) + f32::from(t.minute()) / 60.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::training_set;
    use super::*;
    use crate::config::Extractor;
    use crate::features::ExtractorModel;
    use crate::infer::init_for_tests;

    #[test]
    fn the_channels_of_the_v1_bank_fall_into_groups() {
        init_for_tests();
        let v1 = Extractor::V1 { width: 128, height: 96, fps: 10.0, whole_frame: false };
        let model = ExtractorModel::prepare(&v1).expect("the bank");
        let groups = by_name(&model.spec().channels);
        let sizes: Vec<(&str, usize)> = groups.iter().map(|(name, c)| (name.as_str(), c.len())).collect();
        let mut expected: Vec<(String, usize)> = HEADINGS.map(|h| (format!("{h} motion energy"), 6)).to_vec();
        let rest = [("fast motion energy", 24), ("slow motion energy", 24), ("static energy", 12)];
        expected.extend(rest.map(|(name, n)| (name.into(), n)));
        expected.extend([16, 4, 8].map(|px| (format!("energy at the scale of {px} px"), 20)));
        assert_eq!(sizes, expected.iter().map(|(name, n)| (name.as_str(), *n)).collect::<Vec<_>>());
        let left = groups.iter().find(|(name, _)| name == "leftward motion energy").expect("there");
        assert!(left.1.iter().all(|c| model.spec().channels[*c].contains("heading 180 deg")));
    }

    #[test]
    fn other_extractors_have_only_the_overall_energy_and_places() {
        let mut set = training_set(40);
        set.channels = ["1x1x1 0", "pooled 3"].map(String::from).to_vec();
        let names = ["overall energy", "distance from the top", "distance from the left"];
        assert_eq!(Signals::new(&set).names(), names);
        let mut found = Vec::new();
        Signals::new(&set).of(&set.samples[0], &mut found);
        let overall = set.samples[0].features.values[5..10].iter().sum::<f32>() / 5.0;
        assert_eq!((found.len(), &found[4..6]), (12 * 3, &[0.0, 1.0][..]));
        assert!((found[3] - overall).abs() < 1e-6);
        set.wall_clock = true;
        assert_eq!(Signals::new(&set).names(), names, "twenty seconds have no hours");
        set.samples.iter_mut().for_each(|s| s.time *= 3600.0);
        assert_eq!(Signals::new(&set).names().last().map(String::as_str), Some("the hour of the day"));
    }
}
