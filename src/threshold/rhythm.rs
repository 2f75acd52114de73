//! Normal life by the time of day: its mean and deviation in each part, once enough of each was seen.

use super::Block;
use crate::base::Timestamp;
use crate::config::Baseline;
use jiff::tz::TimeZone;

/// A part of the day has a baseline of its own once so much of it was seen, seconds, ...
const ENOUGH: f64 = 3600.0;
/// ... on so many days: what one evening was like says little of evenings.
const DAYS: usize = 2;
/// All of life counts in each part like so much of that part, seconds, so that little data moves little.
const PRIOR: f64 = 900.0;
/// The day begins and ends at these hours, local time, where only day and night are told apart.
const DAYTIME: std::ops::Range<i8> = 6..18;

/// Where scores usually lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    pub mu: f64,
    pub sigma: f64,
}

impl Usual {
    /// Of moments: how many, their sum, and the sum of their squares.
    pub(super) fn of([n, sum, squares]: [f64; 3]) -> Self {
        let mu = sum / n;
        Self { mu, sigma: (squares / n - mu * mu).max(0.0).sqrt() }
    }

    fn moments(self, weight: f64) -> [f64; 3] {
        [weight, weight * self.mu, weight * (self.sigma * self.sigma + self.mu * self.mu)]
    }
}

/// Parts of the day, in local time.
#[derive(Debug, Clone)]
pub struct DayParts {
    baseline: Baseline,
    timezone: TimeZone,
}

impl DayParts {
    pub fn new(baseline: Baseline, timezone: TimeZone) -> Self {
        Self { baseline, timezone }
    }

    /// Names of the parts, as people say them; a single one where no part is told from another.
    pub fn names(&self) -> Vec<String> {
        match self.baseline {
            Baseline::One => vec!["always".into()],
            Baseline::DayNight => vec!["night".into(), "day".into()],
            Baseline::Hours => (0..24).map(|hour| format!("{hour:02}:00")).collect(),
        }
    }

    fn count(&self) -> usize {
        match self.baseline {
            Baseline::One => 1,
            Baseline::DayNight => 2,
            Baseline::Hours => 24,
        }
    }

    /// The part that a moment is in, by its place among the names; seconds since 1970.
    pub fn part(&self, time: f64) -> usize {
        self.day_and_part(time).1
    }

    /// The local day, counted from some day, and its part.
    fn day_and_part(&self, time: f64) -> (i32, usize) {
        if self.baseline == Baseline::One {
            return (0, 0);
        }
        let local = Timestamp::from_microsecond((time * 1e6) as i64).unwrap_or(Timestamp::UNIX_EPOCH);
        let local = self.timezone.to_datetime(local);
        let day = i32::from(local.year()) * 366 + i32::from(local.day_of_year());
        let part = match self.baseline {
            Baseline::Hours => local.hour() as usize,
            _ => usize::from(DAYTIME.contains(&local.hour())),
        };
        (day, part)
    }
}

/// What is usual at each time of the day.
#[derive(Debug, Clone, PartialEq)]
pub struct Rhythm {
    /// Of all of life.
    all: Usual,
    /// Of each part; `None` where too little of it was seen.
    parts: Vec<Option<Usual>>,
    names: Vec<String>,
}

impl Rhythm {
    /// From blocks of normal life, each of `seconds`. `None` where no part of the day has a baseline of its own yet: there is
    /// one only, or too little was seen.
    pub fn of(blocks: &[Block], seconds: f64, day: &DayParts) -> Option<Self> {
        if day.count() == 1 {
            return None;
        }
        let (mut all, mut parts) = ([0.0; 3], vec![([0.0; 3], Vec::new()); day.count()]);
        for (block, usual) in blocks.iter().filter_map(|block| block.usual.map(|usual| (block, usual))) {
            let (date, part) = day.day_and_part(block.to);
            let (moments, dates) = &mut parts[part];
            for (i, moment) in usual.moments(1.0).into_iter().enumerate() {
                all[i] += moment;
                moments[i] += moment;
            }
            // Blocks are in order of time.
            if dates.last() != Some(&date) {
                dates.push(date);
            }
        }
        let (all, prior) = (Usual::of(all), PRIOR / seconds);
        let own = |([n, sum, squares], dates): &([f64; 3], Vec<i32>)| {
            if n * seconds < ENOUGH || dates.len() < DAYS {
                return None;
            }
            let [m, also, too] = all.moments(prior);
            Some(Usual::of([n + m, sum + also, squares + too]))
        };
        let parts: Vec<Option<Usual>> = parts.iter().map(own).collect();
        let known = parts.iter().flatten().any(|usual| usual.sigma > 0.0) && all.sigma > 0.0;
        known.then_some(Self { all, parts, names: day.names() })
    }

    /// What is usual in a part of the day.
    pub fn usual(&self, part: usize) -> Usual {
        self.own(part).unwrap_or(self.all)
    }

    /// The part's own baseline, if it has one.
    pub fn own(&self, part: usize) -> Option<Usual> {
        self.parts.get(part).copied().flatten().filter(|usual| usual.sigma > 0.0)
    }

    /// Each part's name, what is usual in it, and whether that is its own.
    pub fn named(&self) -> impl Iterator<Item = (&str, Usual, bool)> {
        self.names.iter().enumerate().map(|(i, name)| (&**name, self.usual(i), self.own(i).is_some()))
    }

    /// The blocks with their levels in deviations from what is usual at their time: comparable over the day.
    pub fn level(&self, blocks: &[Block], day: &DayParts) -> Vec<Block> {
        let level = |block: &Block| {
            let Usual { mu, sigma } = self.usual(day.part(block.to));
            let level = |score: f32| ((f64::from(score) - mu) / sigma) as f32;
            Block { level: level(block.level), peak: level(block.peak), ..*block }
        };
        blocks.iter().map(level).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: f64 = 30.0;

    /// Blocks of so many days from midnight, UTC: by day 4 +- 1, by night 1 +- 0.2; level two deviations up.
    fn days(n: usize, from_hour: usize) -> Vec<Block> {
        let at = |i: usize| (from_hour * 3600) as f64 + SECONDS * i as f64;
        let block = |i: usize| {
            let hour = (at(i) / 3600.0) as i64 % 24;
            let usual = match (6..18).contains(&hour) {
                true => Usual { mu: 4.0, sigma: 1.0 },
                false => Usual { mu: 1.0, sigma: 0.2 },
            };
            let level = (usual.mu + 2.0 * usual.sigma) as f32;
            Block { from: at(i), to: at(i) + SECONDS / 2.0, level, peak: level, usual: Some(usual) }
        };
        (0..n * 2880).map(block).collect()
    }

    fn parts(baseline: Baseline, zone: &str) -> DayParts {
        DayParts::new(baseline, TimeZone::get(zone).expect("a known zone"))
    }

    #[test]
    fn night_is_told_from_day_once_each_was_seen_on_two_days() {
        let day_night = parts(Baseline::DayNight, "UTC");
        let first = &days(3, 0)[..2880 - 1];
        assert_eq!(Rhythm::of(first, SECONDS, &day_night), None, "a single day");
        let rhythm = Rhythm::of(&days(3, 0), SECONDS, &day_night).expect("two of each");
        let (night, day) = (rhythm.usual(0), rhythm.usual(1));
        assert!((night.mu - 1.0).abs() < 0.05 && (day.mu - 4.0).abs() < 0.05, "{night:?} {day:?}");
        // The prior widens it: one part in 145 of life is the other half.
        assert!((0.2..0.35).contains(&night.sigma) && (0.98..1.02).contains(&day.sigma), "{night:?} {day:?}");
        let levels: Vec<f32> = rhythm.level(&days(1, 0), &day_night).iter().map(|b| b.level).collect();
        assert!(levels.iter().all(|level| (1.2..2.1).contains(level)), "{:?}", &levels[..3]);
    }

    #[test]
    fn hours_that_were_hardly_seen_share_the_whole_days() {
        let hours = parts(Baseline::Hours, "UTC");
        // Watched from 00:00 to 10:00 on three days.
        let seen: Vec<Block> =
            days(3, 0).into_iter().filter(|block| (block.to / 3600.0) as i64 % 24 < 10).collect();
        let rhythm = Rhythm::of(&seen, SECONDS, &hours).expect("hours of three days");
        assert!(rhythm.own(3).is_some() && rhythm.own(9).is_some() && rhythm.own(12).is_none());
        assert_eq!(rhythm.usual(12), rhythm.all);
        assert!(rhythm.usual(3).mu < 1.5 && rhythm.usual(8).mu > 3.0);
    }

    #[test]
    fn the_day_is_local_and_one_baseline_has_no_parts() {
        // 23:30 UTC is half past midnight in Berlin in winter.
        let late = 23.5 * 3600.0;
        assert_eq!(parts(Baseline::Hours, "UTC").part(late), 23);
        assert_eq!(parts(Baseline::Hours, "Europe/Berlin").part(late), 0);
        assert_eq!(parts(Baseline::DayNight, "Asia/Tokyo").part(late), 1);
        let one = parts(Baseline::One, "UTC");
        assert_eq!((one.part(late), one.names().len()), (0, 1));
        assert_eq!(Rhythm::of(&days(3, 0), SECONDS, &one), None);
        for baseline in Baseline::ALL {
            let parts = parts(baseline, "UTC");
            assert_eq!(parts.names().len(), parts.count());
        }
    }

    #[test]
    fn blocks_from_before_and_scores_that_never_change_give_no_baseline() {
        let hours = parts(Baseline::Hours, "UTC");
        let old: Vec<Block> = days(3, 0).into_iter().map(|b| Block { usual: None, ..b }).collect();
        assert_eq!(Rhythm::of(&old, SECONDS, &hours), None);
        let same = Usual { mu: 1.0, sigma: 0.0 };
        let flat: Vec<Block> = days(3, 0).into_iter().map(|b| Block { usual: Some(same), ..b }).collect();
        assert_eq!(Rhythm::of(&flat, SECONDS, &hours), None);
    }
}
