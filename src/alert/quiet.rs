//! Which events are announced: none right after another, and no more than people want to hear of.

use crate::base::Rate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Why an event is kept and shown, but announced to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quiet {
    /// It began right after another.
    CoolDown,
    /// There were as many already as are wanted.
    RateCap,
}

/// Decides it for the events of one detector. Pure: times are the caller's, and only ever grow.
#[derive(Debug)]
pub struct Quieting {
    cool_down: Duration,
    most: Option<Rate>,
    ended: Option<Duration>,
    /// When those that were announced began, oldest first: as many as are wanted at most.
    announced: VecDeque<Duration>,
}

impl Quieting {
    pub fn new(cool_down: Duration, most: Option<Rate>) -> Self {
        Self { cool_down, most, ended: None, announced: VecDeque::new() }
    }

    /// An event opens.
    pub fn opens(&mut self, now: Duration) -> Option<Quiet> {
        if self.ended.is_some_and(|ended| now.saturating_sub(ended) < self.cool_down) {
            return Some(Quiet::CoolDown);
        }
        let most = self.most?;
        while self.announced.front().is_some_and(|began| now.saturating_sub(*began) >= most.per.duration()) {
            self.announced.pop_front();
        }
        if self.announced.len() >= most.times as usize {
            return Some(Quiet::RateCap);
        }
        self.announced.push_back(now);
        None
    }

    /// The event that was open, announced or not, ends.
    pub fn ended(&mut self, now: Duration) {
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_follows_another_closely_is_quiet_and_prolongs_the_quiet() {
        let mut quieting = Quieting::new(at(60), None);
        assert_eq!(quieting.opens(at(5)), None, "there was none before it");
        quieting.ended(at(10));
        assert_eq!(quieting.opens(at(69)), Some(Quiet::CoolDown));
        quieting.ended(at(80));
        assert_eq!(quieting.opens(at(139)), Some(Quiet::CoolDown));
        quieting.ended(at(140));
        assert_eq!(quieting.opens(at(200)), None);
    }

    #[test]
    fn no_more_are_announced_within_any_such_time_than_are_wanted() {
        let mut quieting = Quieting::new(Duration::ZERO, Rate::parse("3/minute"));
        let announced: Vec<u64> = (0..40)
            .map(|i| 7 * i)
            .filter(|s| {
                let quiet = quieting.opens(at(*s));
                quieting.ended(at(*s));
                quiet.is_none()
            })
            .collect();
        for window in announced.windows(4) {
            assert!(window[3] - window[0] >= 60, "{window:?}");
        }
        assert_eq!(announced[..4], [0, 7, 14, 63]);
    }

    #[test]
    fn usually_every_event_is_announced() {
        let mut quieting = Quieting::new(Duration::ZERO, None);
        for _ in 0..1000 {
            assert_eq!(quieting.opens(at(1)), None);
            quieting.ended(at(1));
        }
    }
}
