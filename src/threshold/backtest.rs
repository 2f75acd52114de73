//! Scores of some time -> the alarms that other settings would have raised, without decoding anything again.

use super::{
    Block, Debounce, Recurrence, Rule, Step, Threshold, Usual, Verdict, block_seconds, blocks, outside,
};
use crate::config::Budget;
use schemars::JsonSchema;
use serde::Serialize;
use std::ops::Range;
use std::time::Duration;

/// Without a score for so long, an open event is looked after by the clock ([`Debounce::tick`]), as the daemon does.
const LOOKED_AFTER_MS: u32 = 1000;

/// Scores of one detector, oldest first, each in eight bytes: a month of them fits into memory.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Of the first score, microseconds since 1970.
    begin_us: i64,
    /// Milliseconds since then, and the score.
    scores: Vec<(u32, f32)>,
}

impl History {
    /// Takes the next score, at microseconds since 1970. False: it lies before the one before, or more than 49 days
    /// after the first one, and is left out.
    pub fn push(&mut self, time_us: i64, score: f32) -> bool {
        if self.scores.is_empty() {
            self.begin_us = time_us;
        }
        let last = self.scores.last().map_or(0, |(ms, _)| *ms);
        match u32::try_from((time_us - self.begin_us).div_euclid(1000)) {
            Ok(ms) if ms >= last => {
                self.scores.push((ms, score));
                true
            }
            _ => false,
        }
    }

    pub fn len(&self) -> usize {
        self.scores.len()
    }

    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Hours that were seen; silences of `close_after` are not.
    pub fn hours(&self, close_after: Duration) -> f64 {
        let most = u32::try_from(close_after.as_millis()).unwrap_or(u32::MAX);
        let gaps = self.scores.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|gap| *gap < most);
        gaps.map(u64::from).sum::<u64>() as f64 / 3.6e6
    }

    fn time_us(&self, ms: u32) -> i64 {
        self.begin_us + i64::from(ms) * 1000
    }

    /// Places of the scores between two moments, both included, to the millisecond.
    fn within(&self, (from_us, to_us): (i64, i64)) -> Range<usize> {
        let first = self.scores.partition_point(|(ms, _)| self.time_us(*ms) < from_us - 999);
        first..self.scores.partition_point(|(ms, _)| self.time_us(*ms) <= to_us).max(first)
    }

    /// The highest score between two moments; `None` where there is none.
    pub fn highest(&self, span: (i64, i64)) -> Option<f32> {
        self.scores[self.within(span)].iter().map(|(_, score)| *score).reduce(f32::max)
    }

    /// An alarm would have opened between two moments under any limit below this; `None` where there is no score.
    pub fn level(&self, rule: Rule, span: (i64, i64)) -> Option<f32> {
        let level = |at: usize| {
            let window = &self.scores[(at + 1).saturating_sub(rule.open_m)..=at];
            let mut ranked: Vec<f32> = window.iter().map(|(_, score)| *score).collect();
            ranked.sort_by(|a, b| b.total_cmp(a));
            ranked.get(rule.open_n - 1).map_or(f32::NEG_INFINITY, |nth| nth.min(self.scores[at].1))
        };
        self.within(span).map(level).reduce(f32::max)
    }

    /// The alarms that a setting would have raised, oldest first.
    pub fn alarms(&self, setting: &Setting) -> Vec<Alarm> {
        let Setting { threshold, rule, hysteresis } = *setting;
        let limit = threshold.limit();
        let closes = u32::try_from(rule.close_after.as_millis()).unwrap_or(u32::MAX);
        let mut debounce = Debounce::new(rule);
        let mut found: Vec<Alarm> = vec![];
        // Above the limit, and perhaps the beginning of an alarm.
        let mut recent: Vec<(u32, f32)> = vec![];
        // Most scores change nothing, and the state machine need not see them: while no alarm is open and none of the
        // last `open_m` was above the limit, one below it; while an alarm is open, one that does not prolong it before
        // the gap is over. So a score below `floor` is passed over before `next`.
        let (mut floor, mut next, mut left) = (limit, u32::MAX, 0);
        let lower = threshold.lower(hysteresis);
        let mut last = 0;
        for &(ms, score) in &self.scores {
            let gap = ms - last;
            last = ms;
            if ms < next && f64::from(score) <= floor {
                continue;
            }
            let at = Duration::from_millis(ms.into());
            if gap > LOOKED_AFTER_MS && debounce.tick(at) {
                left = 0;
            }
            let verdict = threshold.judge_from(score, hysteresis);
            // A moment is as good a number of a segment as any other.
            let step = debounce.step(ms.into(), at, verdict);
            let unusual = verdict == Verdict::Unusual;
            if unusual && !matches!(step, Step::Continued { .. }) {
                recent.push((ms, score));
            }
            match step {
                Step::Opened { first } => {
                    let part = recent.iter().filter(|(ms, _)| u64::from(*ms) >= first);
                    let top = part.map(|(_, score)| *score).fold(score, f32::max);
                    let start_us = self.time_us(first as u32);
                    found.push(Alarm { start_us, end_us: self.time_us(ms), top });
                    recent.clear();
                }
                Step::Continued { unusual: true } => {
                    if let Some(open) = found.last_mut() {
                        (open.end_us, open.top) = (self.time_us(ms), open.top.max(score));
                    }
                }
                Step::Continued { unusual: false } | Step::Closed | Step::Quiet => {}
            }
            if debounce.is_open() {
                (floor, left) = (lower, 0);
                if matches!(verdict, Verdict::Unusual | Verdict::Lingering) {
                    next = ms.saturating_add(closes);
                }
                continue;
            }
            floor = limit;
            left = if unusual { rule.open_m } else { left.saturating_sub(1) };
            // What counts must be seen at every step until it is out of the window.
            next = if left > 0 { 0 } else { u32::MAX };
            if left == 0 {
                recent.clear();
            }
        }
        found
    }

    /// The same with scores in deviations from what is usual at their time, microseconds since 1970.
    pub fn measured(&self, mut usual: impl FnMut(i64) -> Usual) -> Self {
        let measured = |(ms, score): &(u32, f32)| {
            let Usual { mu, sigma } = usual(self.time_us(*ms));
            (*ms, ((f64::from(*score) - mu) / sigma) as f32)
        };
        Self { begin_us: self.begin_us, scores: self.scores.iter().map(measured).collect() }
    }

    /// The blocks of time under a rule; seconds since 1970.
    pub fn blocks(&self, rule: Rule) -> Vec<Block> {
        blocks(rule, self.scores.iter().map(|(ms, score)| (self.time_us(*ms) as f64 / 1e6, *score)), 1)
    }

    /// How often alarms come under a rule, by the limit, outside `incidents` (seconds since 1970). `None`: too little was
    /// seen.
    pub fn recurrence(&self, rule: Rule, incidents: &[Range<f64>]) -> Option<Recurrence> {
        let calm = outside(&self.blocks(rule), incidents, rule.close_after.as_secs_f64());
        Recurrence::of(&calm, block_seconds(&rule))
    }
}

/// When alarms are raised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    pub threshold: Threshold,
    pub rule: Rule,
    /// As in [`Threshold::judge_from`].
    pub hysteresis: f64,
}

/// An alarm that there would have been: the ends of the first and of the last segment above the limit, microseconds
/// since 1970, and the highest score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    pub start_us: i64,
    pub end_us: i64,
    pub top: f32,
}

impl Alarm {
    /// Whether it overlaps some time, to the millisecond.
    pub fn overlaps(&self, (from_us, to_us): (i64, i64)) -> bool {
        self.start_us <= to_us && self.end_us > from_us - 1000
    }
}

/// Whether one of the alarms, in order of time, overlaps some time.
pub fn any_overlaps(alarms: &[Alarm], span: (i64, i64)) -> bool {
    let first = alarms.partition_point(|alarm| alarm.end_us <= span.0 - 1000);
    alarms.get(first).is_some_and(|alarm| alarm.overlaps(span))
}

/// An event of which somebody said what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub id: String,
    /// From its beginning to the end of its last segment above the limit, microseconds since 1970.
    pub span: (i64, i64),
    /// It was a true alarm; else a false one.
    pub worth: bool,
}

/// What is tried out: scores, and what is known of their time.
#[derive(Debug)]
pub struct Trial<'a> {
    pub history: &'a History,
    /// That the scores are of.
    pub hours: f64,
    /// What is usual among these scores, ...
    pub usual: Usual,
    /// ... and among those that limits are to be told in, where these are deviations from what is usual at their time.
    pub told: Usual,
    pub hysteresis: f64,
    /// Times that are no normal life, seconds since 1970.
    pub incidents: &'a [Range<f64>],
    pub known: &'a [Known],
}

/// A way to set a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wish {
    K(f64),
    Budget(Budget),
}

/// What a setting would have done.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// The limit is mu + k sigma; null where there is no sigma.
    pub k: Option<f64>,
    /// The limit is the one that these very scores give for this budget; null: k was asked for.
    pub budget: Option<Budget>,
    /// An alarm opens when so many of the last so many segments are above the limit.
    pub open: [usize; 2],
    pub threshold: f64,
    /// So rare an alarm was not seen often enough: the limit of the budget rests on the shape of the tail.
    pub extrapolated: bool,
    pub alarms: usize,
    pub alarms_per_day: f64,
    /// Events reviewed as true alarms that it would have raised, and ids of those that it would have missed.
    pub true_kept: usize,
    pub true_missed: Vec<String>,
    /// Events reviewed as false alarms that it would have raised, and ids of those that it would not.
    pub false_kept: usize,
    pub false_gone: Vec<String>,
}

impl Trial<'_> {
    /// A row for each wish under each rule, and what cannot be had, in words.
    pub fn rows(&self, wishes: &[Wish], rules: &[Rule]) -> (Vec<Row>, Vec<String>) {
        let (mut rows, mut lacking) = (vec![], vec![]);
        // Where all of normal life is one score there are no deviations from it, and no budget is kept.
        let budgets = self.usual.sigma > 0.0 && wishes.iter().any(|wish| matches!(wish, Wish::Budget(_)));
        for rule in rules {
            let found = budgets.then(|| self.history.recurrence(*rule, self.incidents)).flatten();
            for wish in wishes {
                match (wish, &found) {
                    (Wish::K(k), _) => rows.push(self.row(*k, None, *rule)),
                    (Wish::Budget(budget), Some(found)) => {
                        let point = found.point(budget.per_hour());
                        let k = (point.limit - self.usual.mu) / self.usual.sigma;
                        let row = self.row(k, Some(*budget), *rule);
                        rows.push(Row { extrapolated: point.extrapolated, ..row });
                    }
                    (Wish::Budget(budget), None) => lacking.push(format!(
                        "{budget} with {} of {}: too little normal life for a limit",
                        rule.open_n, rule.open_m
                    )),
                }
            }
        }
        (rows, lacking)
    }

    /// What mu + k sigma would have done, where the limit is told to be of a budget or not.
    pub fn row(&self, k: f64, budget: Option<Budget>, rule: Rule) -> Row {
        let Usual { mu, sigma } = self.usual;
        let threshold = Threshold { mu, sigma, k, budget };
        let alarms = self.history.alarms(&Setting { threshold, rule, hysteresis: self.hysteresis });
        let there = self.known.iter().filter(|known| !self.history.within(known.span).is_empty());
        let (raised, silent): (Vec<&Known>, Vec<&Known>) =
            there.partition(|known| any_overlaps(&alarms, known.span));
        let count = |worth: bool| raised.iter().filter(|known| known.worth == worth).count();
        let ids = |worth: bool| silent.iter().filter(|k| k.worth == worth).map(|k| k.id.clone()).collect();
        Row {
            k: Some(k).filter(|_| sigma > 0.0),
            budget,
            open: [rule.open_n, rule.open_m],
            threshold: threshold.about(self.told).limit(),
            extrapolated: false,
            alarms: alarms.len(),
            alarms_per_day: if self.hours > 0.0 { alarms.len() as f64 / self.hours * 24.0 } else { 0.0 },
            true_kept: count(true),
            true_missed: ids(true),
            false_kept: count(false),
            false_gone: ids(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, StandardNormal};
    use std::io::Write;
    use std::time::Instant;

    const RULE: Rule = Rule { open_n: 2, open_m: 3, close_after: Duration::from_secs(30) };
    /// 1 March 2026, microseconds since 1970.
    const BEGIN: i64 = 1_772_323_200_000_000;
    const SECOND: i64 = 1_000_000;
    const STANDARD: Usual = Usual { mu: 0.0, sigma: 1.0 };

    /// Independent normally distributed scores, so many a second.
    fn normal(n: usize, a_second: i64, seed: u64) -> History {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut history = History::default();
        for i in 0..n as i64 {
            let score: f64 = StandardNormal.sample(&mut rng);
            assert!(history.push(BEGIN + i * SECOND / a_second, score as f32));
        }
        history
    }

    fn trial(history: &History) -> Trial<'_> {
        let hours = history.hours(RULE.close_after);
        Trial { history, hours, usual: STANDARD, told: STANDARD, hysteresis: 0.0, incidents: &[], known: &[] }
    }

    /// The same by the daemon's state machine alone, which sees every score.
    fn plainly(history: &History, setting: &Setting) -> Vec<Alarm> {
        let mut debounce = Debounce::new(setting.rule);
        let (mut found, mut last): (Vec<Alarm>, u32) = (vec![], 0);
        for (i, &(ms, score)) in history.scores.iter().enumerate() {
            let at = Duration::from_millis(ms.into());
            if ms - last > LOOKED_AFTER_MS {
                debounce.tick(at);
            }
            last = ms;
            let verdict = setting.threshold.judge_from(score, setting.hysteresis);
            match debounce.step(i as u64, at, verdict) {
                Step::Opened { first } => {
                    let part = &history.scores[first as usize..=i];
                    let unusual = |s: &f32| setting.threshold.judge(*s) == Verdict::Unusual;
                    let top = part.iter().map(|(_, s)| *s).filter(unusual).fold(f32::MIN, f32::max);
                    let (start_us, end_us) = (history.time_us(part[0].0), history.time_us(ms));
                    found.push(Alarm { start_us, end_us, top });
                }
                Step::Continued { unusual: true } => {
                    let open = found.last_mut().expect("one is open");
                    (open.end_us, open.top) = (history.time_us(ms), open.top.max(score));
                }
                _ => {}
            }
        }
        found
    }

    #[test]
    fn what_is_passed_over_changes_nothing() {
        let mut seen = 0;
        for seed in 0..60 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut history, mut time, mut busy) = (History::default(), BEGIN, false);
            for _ in 0..3000 {
                // Now and then a silence, short or long; now and then a busy while.
                time += 1000
                    * match rng.random_range(0..200) {
                        0 => rng.random_range(900..40_000),
                        1..20 => rng.random_range(0..2000),
                        _ => 200,
                    };
                busy ^= rng.random_range(0..150) == 0;
                let noise: f64 = StandardNormal.sample(&mut rng);
                let score =
                    if rng.random_range(0..100) == 0 { f64::NAN } else { noise + f64::from(u8::from(busy)) };
                assert!(
                    history
                        .push(time, if rng.random_range(0..300) == 0 { f32::INFINITY } else { score as f32 })
                );
            }
            for (open_n, open_m, close) in
                [(1, 1, 100), (2, 3, 30_000), (3, 5, 1500), (4, 4, 5000), (1, 7, 900)]
            {
                let rule = Rule { open_n, open_m, close_after: Duration::from_millis(close) };
                for (k, hysteresis) in [(0.5, 0.0), (1.5, 0.0), (2.5, 0.0), (2.5, 0.4), (9.0, 0.5)] {
                    let setting = Setting { threshold: Threshold::plain(0.0, 1.0, k), rule, hysteresis };
                    let (found, expected) = (history.alarms(&setting), plainly(&history, &setting));
                    assert_eq!(found, expected, "seed {seed}, {setting:?}");
                    seen += found.len();
                }
            }
        }
        assert!(seen > 10_000, "{seen}");
    }

    #[test]
    fn a_limit_at_which_nothing_is_finite_raises_nothing() {
        let history = normal(1000, 5, 1);
        for k in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let setting = Setting { threshold: Threshold::plain(0.0, 1.0, k), rule: RULE, hysteresis: 0.0 };
            assert_eq!(history.alarms(&setting), []);
        }
    }

    #[test]
    fn budgets_are_about_kept_and_what_they_come_to_is_told() {
        // Ten days, a score a second.
        let history = normal(10 * 86_400, 1, 3);
        let budgets = ["1/hour", "6/day", "1/day"].map(|b| Budget::parse(b).expect("a budget"));
        let wishes = budgets.map(Wish::Budget);
        let rules = [RULE, Rule { open_n: 3, open_m: 5, ..RULE }];
        let (rows, lacking) = trial(&history).rows(&wishes, &rules);
        assert_eq!((rows.len(), lacking), (6, vec![]));
        for (row, budget) in rows.iter().zip(budgets.iter().cycle()) {
            let asked = budget.per_hour() * 24.0;
            // Of the alarms that a limit at that rank lets through; ten of them are few.
            assert!((0.7 * asked..1.3 * asked).contains(&row.alarms_per_day), "{row:?}");
            assert_eq!((row.budget, row.k), (Some(*budget), Some(row.threshold)), "mu 0, sigma 1");
        }
        assert!(rows[0].threshold < rows[2].threshold && !rows[2].extrapolated);
        // An incident is no normal life, and so neither is the alarm that it makes.
        let incidents = [(BEGIN / SECOND) as f64..(BEGIN / SECOND) as f64 + 5.0 * 86_400.0];
        let calm = Trial { incidents: &incidents, ..trial(&history) };
        let (rows, _) = calm.rows(&[Wish::Budget(Budget::WEEKLY)], &[RULE]);
        assert!(rows[0].extrapolated, "five days have not seen a week: {rows:?}");
        let short = normal(100, 1, 3);
        let (rows, lacking) = trial(&short).rows(&[Wish::K(1.0), Wish::Budget(Budget::DAILY)], &[RULE]);
        assert_eq!((rows.len(), lacking.len()), (1, 1));
        assert!(lacking[0].contains("1/day with 2 of 3"), "{lacking:?}");
    }

    #[test]
    fn reviewed_events_are_kept_or_missed_as_alarms_overlap_them() {
        let mut history = History::default();
        let known = |id: &str, from: i64, to: i64, worth| Known {
            id: id.into(),
            span: (BEGIN + from * SECOND, BEGIN + to * SECOND),
            worth,
        };
        // A score a second: 3 for ten seconds at 100, 5 at 300, 7 at 500, nothing from 600 on.
        for i in 0..600 {
            let score = match i {
                100..110 => 3.0,
                300..310 => 5.0,
                500..510 => 7.0,
                _ => 0.5,
            };
            history.push(BEGIN + i * SECOND, score);
        }
        let known = [
            known("low", 99, 109, false),
            known("middle", 299, 309, true),
            known("high", 499, 509, true),
            known("forgotten", 700, 710, true),
        ];
        let trial = Trial { known: &known, ..trial(&history) };
        let (rows, _) = trial.rows(&[2.0, 4.0, 6.0, 8.0].map(Wish::K), &[RULE]);
        let told: Vec<_> = rows
            .iter()
            .map(|r| (r.alarms, r.true_kept, r.true_missed.join(" "), r.false_kept, r.false_gone.join(" ")))
            .collect();
        let row = |alarms, kept, missed: &str, false_kept, gone: &str| {
            (alarms, kept, missed.to_owned(), false_kept, gone.to_owned())
        };
        assert_eq!(
            told,
            [
                row(3, 2, "", 1, ""),
                row(2, 2, "", 0, "low"),
                row(1, 1, "middle", 0, "low"),
                row(0, 0, "middle high", 0, "low")
            ]
        );
        let day = 86_400.0 / 599.0;
        assert!((rows[0].alarms_per_day - 3.0 * day).abs() < 1e-9, "{:?}", rows[0]);
        let alarms = history.alarms(&Setting {
            threshold: Threshold::plain(0.0, 1.0, 4.0),
            rule: RULE,
            hysteresis: 0.0,
        });
        assert_eq!(
            alarms[0],
            Alarm { start_us: BEGIN + 300 * SECOND, end_us: BEGIN + 309 * SECOND, top: 5.0 }
        );
    }

    #[test]
    fn deviations_are_told_as_scores() {
        let history = normal(7200, 1, 3);
        let told = Usual { mu: 10.0, sigma: 2.0 };
        let of_now = Trial { told, ..trial(&history) };
        let (rows, _) = of_now.rows(&[Wish::K(3.0), Wish::Budget(Budget::HOURLY)], &[RULE]);
        assert_eq!((rows[0].threshold, rows[0].k), (16.0, Some(3.0)));
        let k = rows[1].k.expect("there is a sigma");
        assert!((rows[1].threshold - (10.0 + 2.0 * k)).abs() < 1e-9);
    }

    #[test]
    fn what_comes_late_or_much_later_is_left_out() {
        let mut history = History::default();
        assert!(history.push(BEGIN, 1.0) && history.push(BEGIN + SECOND, 1.0));
        assert!(!history.push(BEGIN, 1.0) && !history.push(BEGIN + 50 * 86_400 * SECOND, 1.0));
        assert_eq!(history.len(), 2);
    }

    /// `cargo test --lib a_week -- --nocapture` prints the figure.
    #[test]
    fn a_week_under_twenty_four_settings_takes_a_moment() {
        let history = normal(7 * 86_400 * 5, 5, 1);
        let budgets =
            ["1/hour", "1/day", "1/week"].map(|b| Wish::Budget(Budget::parse(b).expect("a budget")));
        let wishes = [&[2.0, 2.5, 3.0, 4.0, 5.0].map(Wish::K)[..], &budgets].concat();
        let rules = [(2, 3), (3, 5), (5, 10)].map(|(open_n, open_m)| Rule { open_n, open_m, ..RULE });
        let began = Instant::now();
        let (rows, _) = trial(&history).rows(&wishes, &rules);
        let took = began.elapsed();
        let said = format!("{} scores under {} settings: {took:?}", history.len(), rows.len());
        writeln!(std::io::stderr(), "{said}").expect("written");
        assert_eq!((history.len(), rows.len()), (3_024_000, 24));
        // Other tests share the machine.
        assert!(took < Duration::from_secs(4), "{said}");
    }
}
