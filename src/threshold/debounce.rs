//! N of M segments open an event, a gap closes it: a pure state machine without a clock of its own.

use super::Verdict;
use std::collections::VecDeque;
use std::time::Duration;

/// When an event opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Opens when this many ...
    pub open_n: usize,
    /// ... of the last so many segments are unusual.
    pub open_m: usize,
    /// Closes when no segment has been unusual, or lingering, for this long.
    pub close_after: Duration,
}

impl Default for Rule {
    /// 2 of 3 segments to open, 30 s to close: the configuration's defaults.
    fn default() -> Self {
        Self { open_n: 2, open_m: 3, close_after: Duration::from_secs(30) }
    }
}

/// What one segment did to the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No event is open.
    Quiet,
    /// An event opened now; `first` is the index of the oldest unusual segment that counted.
    Opened { first: u64 },
    /// The open event goes on; `unusual` says whether this segment is part of it.
    Continued { unusual: bool },
    /// The open event ended; this segment is not part of it.
    Closed,
}

/// Turns a camera's verdicts into openings and closings.
///
/// Time is any clock that never goes back and that all calls share (a camera's presentation time over its
/// runs, or the monotonic clock).
#[derive(Debug, Clone)]
pub struct Debounce {
    rule: Rule,
    /// The newest `open_m` segments at most, oldest first: index, and whether it was unusual.
    window: VecDeque<(u64, bool)>,
    /// End of the newest segment of any verdict.
    last_seen: Option<Duration>,
    /// End of the newest segment that kept the open event open.
    open_until: Option<Duration>,
}

impl Debounce {
    /// # Panics
    /// If the rule is not `1 <= open_n <= open_m`; a checked configuration always is.
    pub fn new(rule: Rule) -> Self {
        assert!(1 <= rule.open_n && rule.open_n <= rule.open_m, "open_n is between 1 and open_m");
        Self { rule, window: VecDeque::with_capacity(rule.open_m), last_seen: None, open_until: None }
    }

    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// Takes the verdict on the segment `index` that ended at `end`.
    ///
    /// An invalid score takes a place among the M but opens and prolongs nothing.
    pub fn step(&mut self, index: u64, end: Duration, verdict: Verdict) -> Step {
        // Segments from before a long silence say nothing about now.
        let silent = self.last_seen.is_some_and(|t| end.saturating_sub(t) >= self.rule.close_after);
        if silent {
            self.window.clear();
        }
        self.last_seen = Some(end);
        let unusual = verdict == Verdict::Unusual;
        if self.window.len() == self.rule.open_m {
            self.window.pop_front();
        }
        self.window.push_back((index, unusual));

        if let Some(until) = self.open_until {
            if end.saturating_sub(until) >= self.rule.close_after {
                self.open_until = None;
                // What closes an event is not the beginning of the next, unless it is unusual itself.
                self.window.clear();
                self.window.push_back((index, unusual));
                return Step::Closed;
            }
            if unusual || verdict == Verdict::Lingering {
                self.open_until = Some(end);
            }
            return Step::Continued { unusual };
        }

        let count = self.window.iter().filter(|(_, unusual)| *unusual).count();
        if unusual && count >= self.rule.open_n {
            self.open_until = Some(end);
            let first = self.window.iter().find(|(_, unusual)| *unusual).map_or(index, |(index, _)| *index);
            return Step::Opened { first };
        }
        Step::Quiet
    }

    /// Lets time pass without a segment (a camera that is away). True when that closed the event.
    pub fn tick(&mut self, now: Duration) -> bool {
        let over = self.open_until.is_some_and(|t| now.saturating_sub(t) >= self.rule.close_after);
        if over {
            self.open_until = None;
            self.window.clear();
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { open_n: 2, open_m: 3, close_after: Duration::from_secs(5) };

    /// Steps through one verdict a second: `u`nusual, `l`ingering, `n`ormal, `x` invalid, `.` no segment at all.
    fn play(rule: Rule, verdicts: &str) -> Vec<Step> {
        let mut debounce = Debounce::new(rule);
        let mut steps = Vec::new();
        for (i, c) in verdicts.chars().enumerate() {
            let verdict = match c {
                'u' => Verdict::Unusual,
                'l' => Verdict::Lingering,
                'n' => Verdict::Normal,
                'x' => Verdict::Invalid,
                _ => continue,
            };
            steps.push(debounce.step(i as u64, Duration::from_secs(i as u64), verdict));
        }
        steps
    }

    #[test]
    fn two_of_three_open_and_name_the_first() {
        let steps = play(RULE, "nunu");
        assert_eq!(steps, [Step::Quiet, Step::Quiet, Step::Quiet, Step::Opened { first: 1 }]);
    }

    #[test]
    fn single_ones_never_open() {
        assert!(play(RULE, "unnunnunnu").iter().all(|s| *s == Step::Quiet));
    }

    #[test]
    fn it_closes_after_the_gap_and_may_open_again() {
        let steps = play(RULE, "uunnnnnnuu");
        assert_eq!(steps[1], Step::Opened { first: 0 });
        assert_eq!(steps[5], Step::Continued { unusual: false });
        assert_eq!(steps[6], Step::Closed);
        assert_eq!(steps[7], Step::Quiet);
        assert_eq!(steps[9], Step::Opened { first: 8 });
    }

    #[test]
    fn an_unusual_segment_prolongs_it() {
        let steps = play(RULE, "uunnnunnnn");
        assert_eq!(steps[5], Step::Continued { unusual: true });
        assert!(!steps.contains(&Step::Closed));
    }

    #[test]
    fn a_lingering_segment_prolongs_it_and_opens_nothing() {
        assert!(play(RULE, "ullulll").iter().all(|s| *s == Step::Quiet), "one unusual in any three");
        let steps = play(RULE, "uunnlnnnnnn");
        assert_eq!(steps[4], Step::Continued { unusual: false });
        assert_eq!((steps[8], steps[9]), (Step::Continued { unusual: false }, Step::Closed));
    }

    #[test]
    fn invalid_scores_open_and_prolong_nothing() {
        assert!(play(RULE, "xxxxx").iter().all(|s| *s == Step::Quiet));
        assert_eq!(play(RULE, "uuxxxxx").last(), Some(&Step::Closed));
        assert_eq!(play(RULE, "uxxu").last(), Some(&Step::Quiet), "an invalid one takes a place among M");
    }

    #[test]
    fn segments_from_before_a_silence_do_not_count() {
        assert_eq!(play(RULE, "u.....u").last(), Some(&Step::Quiet));
        assert_eq!(play(RULE, "uu.....n").last(), Some(&Step::Closed));
    }

    #[test]
    fn a_camera_that_is_away_still_closes_its_event() {
        let mut debounce = Debounce::new(Rule { open_n: 1, open_m: 1, ..RULE });
        debounce.step(0, Duration::from_secs(1), Verdict::Unusual);
        assert!(!debounce.tick(Duration::from_secs(5)));
        assert!(debounce.is_open());
        assert!(debounce.tick(Duration::from_secs(6)));
        assert!(!debounce.tick(Duration::from_secs(60)), "closed once only");
    }
}
