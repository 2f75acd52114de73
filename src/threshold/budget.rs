//! Blocks of normal life -> how often it raises an alarm under a limit, and the limit that keeps a budget.

use super::alarms::{dispersion, ranked};
use super::tail::{moments, survival};
use super::{Block, Rhythm, Rule, Usual, block_seconds};
use crate::config::Budget;
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Gamma, StandardNormal};

/// Fewer blocks give no limit: three minutes, where a block is half a minute.
const LEAST_BLOCKS: usize = 6;
/// Alarms that normal life would have raised under a limit that rests on ranks alone, and that can be promised.
const ENOUGH: f64 = 3.0;
/// Share of the blocks that the tail is fitted to, within these numbers and half of them.
const TAIL: f64 = 0.1;
const TAIL_BLOCKS: (usize, usize) = (10, 250);
/// What is believed of the tail's shape before anything was seen: about exponential, with this deviation. Scores are
/// logarithms, or nearly so, and the moments of few excesses say next to nothing of the shape.
const SHAPE_DEVIATION: f64 = 0.15;
/// Variance of a shape by probability-weighted moments, times the excesses, about a shape of 0 (Hosking & Wallis 1987).
const SHAPE_VARIANCE: f64 = 4.0 / 3.0;
/// No shape outside these is believed: see [`super::Tail`].
const SHAPES: (f64, f64) = (-0.5, 0.5);
/// Draws of what the tail may be.
const DRAWS: usize = 400;
/// The interval is from the 5 % to the 95 % quantile; that one of a standard normal distribution.
const INTERVAL: f64 = 0.05;
const QUANTILE: f64 = 1.644_853_626_951;
/// Alarms an hour of the curve: 12 an hour to one a week.
const CURVE: [f64; 12] = [
    12.0,
    6.0,
    3.0,
    1.0,
    0.5,
    0.25,
    1.0 / 12.0,
    1.0 / 24.0,
    1.0 / 48.0,
    1.0 / 84.0,
    1.0 / 120.0,
    1.0 / 168.0,
];

/// How often normal life raises an alarm, by the limit.
///
/// Blocks above a limit are alarms; neighbouring ones are one alarm. Where normal life was seen for so long that the
/// limit would have raised [`ENOUGH`] alarms, it is a conformal rank: under the `(a)`-th highest alarm's level the next
/// alarms come at a rate that is Gamma(a) distributed over the time seen, whatever the distribution of the scores
/// (Wilks 1941), and `a` over that time on average; alarms that come in flocks count as so many fewer in that. Beyond, excesses over a high level are taken for generalised Pareto
/// distributed (Pickands 1975), with the uncertainty of its number, scale and shape; the limit is where the *mean*
/// rate over that uncertainty is the budget. So little data costs alertness, not false alarms.
#[derive(Debug, Clone)]
pub struct Recurrence {
    /// Time seen.
    hours: f64,
    /// Levels, highest first, and the alarms if everything from this one up were above the limit.
    ranked: Vec<(f64, usize)>,
    /// Variance of the number of alarms over its mean: 1 where they come independently, more where they come in flocks.
    dispersion: f64,
    /// Where the Pareto tail begins, and what it may be.
    from: f64,
    draws: Vec<Draw>,
}

/// One tail that may be.
#[derive(Debug, Clone, Copy)]
struct Draw {
    per_hour: f64,
    scale: f64,
    shape: f64,
}

/// A limit, and the alarms that it stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// False alarms an hour, expected ...
    pub per_hour: f64,
    /// ... under this limit ...
    pub limit: f64,
    /// ... and within these with 90 % certainty, if life goes on as it was.
    pub low: f64,
    pub high: f64,
    /// From the fitted tail: so rare an alarm has not been seen often enough.
    pub extrapolated: bool,
}

/// What can be promised from the time seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// The rarest of one alarm an hour, a day and a week.
    pub best: Option<Budget>,
    /// The next one, which cannot be promised yet.
    pub next: Option<Budget>,
    /// The same for people.
    pub text: String,
}

impl Recurrence {
    /// From blocks of `seconds` in order of time. `None`: there are too few.
    pub fn of(blocks: &[Block], seconds: f64) -> Option<Self> {
        let n = blocks.len();
        if n < LEAST_BLOCKS || blocks.iter().any(|b| !b.level.is_finite()) {
            return None;
        }
        let ranked = ranked(blocks);
        let hours = n as f64 * seconds / 3600.0;
        let most = TAIL_BLOCKS.1.min(n / 2);
        let k = ((n as f64 * TAIL).ceil() as usize).clamp(TAIL_BLOCKS.0.min(most), most);
        let from = ranked[k].0;
        let excesses: Vec<f64> = ranked[..k].iter().rev().map(|(level, _)| level - from).collect();
        // Of independent blocks, some are joined by chance, as neighbours or over others that are high: those are alarms of
        // their own.
        let high = k as f64 / n as f64;
        let over = blocks.iter().filter(|b| f64::from(b.peak) > from && f64::from(b.level) <= from).count();
        let joined = high / (1.0 - over as f64 / n as f64).max(high);
        let alone = (ranked[k - 1].1 as f64 / (k as f64 * (1.0 - joined))).min(1.0);
        let draws = draws(&excesses, k as f64 * alone, hours);
        let dispersion = dispersion(blocks, &ranked);
        Some(Self { hours, ranked, dispersion, from, draws })
    }

    /// The limit under which normal life raises so many alarms an hour, and how sure that is.
    pub fn point(&self, per_hour: f64) -> Point {
        let alarms = per_hour * self.hours;
        // Exactly enough is enough, whatever fractions of an hour come to.
        if alarms >= ENOUGH - 1e-9 {
            // So many alarms that come in flocks tell no more than fewer independent ones do.
            let flock = self.dispersion.min(alarms);
            let (low, high) = gamma_interval(alarms / flock);
            let (low, high) = (flock * low, flock * high);
            let limit = self.by_rank(alarms);
            return Point {
                per_hour,
                limit,
                low: low / self.hours,
                high: high / self.hours,
                extrapolated: false,
            };
        }
        let limit = self.beyond(per_hour).max(self.by_rank(ENOUGH));
        let mut rates: Vec<f64> = self.draws.iter().map(|d| d.rate(limit - self.from)).collect();
        rates.sort_by(f64::total_cmp);
        let at = |share: f64| rates[((DRAWS as f64 * share) as usize).min(DRAWS - 1)];
        Point { per_hour, limit, low: at(INTERVAL), high: at(1.0 - INTERVAL), extrapolated: true }
    }

    /// From twelve alarms an hour to one a week.
    pub fn curve(&self) -> Vec<Point> {
        CURVE.iter().map(|per_hour| self.point(*per_hour)).collect()
    }

    /// The empirical curve, highest level first, at most `most` points: a level, and the alarms an hour that a limit just
    /// below it would have raised.
    pub fn seen(&self, most: usize) -> Vec<(f64, f64)> {
        let n = self.ranked.len();
        // Every one of the highest, fewer and fewer of those below.
        let mut at: Vec<usize> = (0..most.min(n))
            .map(|i| if n <= most { i } else { ((n as f64).powf(i as f64 / (most - 1) as f64)) as usize - 1 })
            .collect();
        at.dedup();
        at.into_iter().map(|i| (self.ranked[i].0, self.ranked[i].1 as f64 / self.hours)).collect()
    }

    /// The level of the `alarms`-th alarm from the highest, between two of them in proportion to the logarithm.
    fn by_rank(&self, alarms: f64) -> f64 {
        let reached = |count: f64| {
            let at = self.ranked.iter().position(|(_, alarms)| *alarms as f64 >= count);
            self.ranked[at.unwrap_or(self.ranked.len() - 1)].0
        };
        let whole = alarms.floor().max(1.0);
        let share = (alarms / whole).ln() / ((whole + 1.0) / whole).ln();
        reached(whole) + (reached(whole + 1.0) - reached(whole)) * share.clamp(0.0, 1.0)
    }

    /// The limit beyond which the tail's mean rate falls short of `per_hour`.
    fn beyond(&self, per_hour: f64) -> f64 {
        let mean = |excess: f64| self.draws.iter().map(|d| d.rate(excess)).sum::<f64>() / DRAWS as f64;
        let widest = self.draws.iter().map(|d| d.scale).fold(0.0, f64::max);
        let (mut low, mut high) = (0.0, widest);
        // The mean of power laws sinks below any rate; twice as far is soon far enough.
        for _ in 0..60 {
            if mean(high) <= per_hour {
                break;
            }
            high *= 2.0;
        }
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            *(if mean(middle) > per_hour { &mut low } else { &mut high }) = middle;
        }
        self.from + high
    }
}

/// A detector's normal life as far as it was seen, and what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    pub hours: f64,
    pub blocks: usize,
    pub block_seconds: f64,
    /// Levels, highest first, and the alarms an hour that a limit just below each would have raised.
    pub seen: Vec<(f64, f64)>,
    pub curve: Vec<Point>,
    pub promise: Promise,
    /// Of the budget asked for; `None` where there is none, or too little was seen for a limit.
    pub asked: Option<Point>,
    /// Where the time of day counts: the limits above are those of the part of the day that they were found in.
    pub rhythm: Option<Rhythm>,
}

/// Points of [`Outlook::seen`] at most.
const MOST_SEEN: usize = 200;

impl Outlook {
    /// Of blocks under a rule, in order of time.
    pub fn of(blocks: &[Block], rule: &Rule, budget: Option<Budget>) -> Self {
        let block_seconds = block_seconds(rule);
        let hours = blocks.len() as f64 * block_seconds / 3600.0;
        let found = Recurrence::of(blocks, block_seconds);
        Self {
            hours,
            blocks: blocks.len(),
            block_seconds,
            seen: found.as_ref().map_or(vec![], |found| found.seen(MOST_SEEN)),
            curve: found.as_ref().map_or(vec![], Recurrence::curve),
            promise: promise(hours, LEAST_BLOCKS as f64 * block_seconds / 3600.0),
            asked: found.zip(budget).map(|(found, budget)| found.point(budget.per_hour())),
            rhythm: None,
        }
    }

    /// Of levels in deviations from what is usual at their time, told in scores where `usual` is what is usual.
    pub fn in_scores(mut self, rhythm: Rhythm, usual: Usual) -> Self {
        let score = |level: &mut f64| *level = usual.mu + usual.sigma * *level;
        self.seen.iter_mut().for_each(|(level, _)| score(level));
        self.curve.iter_mut().chain(&mut self.asked).for_each(|point| score(&mut point.limit));
        self.rhythm = Some(rhythm);
        self
    }
}

/// What can be promised after so many hours, where the first limit takes `least`.
fn promise(hours: f64, least: f64) -> Promise {
    let known = [Budget::HOURLY, Budget::DAILY, Budget::WEEKLY];
    let takes = |budget: &Budget| ENOUGH / budget.per_hour();
    let kept = known.iter().take_while(|b| hours >= takes(b) - 1e-9).count();
    let (best, next) = (kept.checked_sub(1).map(|i| known[i]), known.get(kept).copied());
    let seen = format!("{} seen", span(hours));
    let text = match (best, next) {
        (Some(best), Some(next)) => {
            format!(
                "{seen}: can promise {}, not yet {} (that takes {})",
                best.words(),
                next.words(),
                span(takes(&next))
            )
        }
        (Some(best), None) => format!("{seen}: can promise {}", best.words()),
        (None, _) if hours < least - 1e-9 => {
            format!("{seen}: too little for any limit (that takes {})", span(least))
        }
        (None, _) => format!(
            "{seen}: can promise nothing yet, not even {} (that takes {}); limits are extrapolated",
            Budget::HOURLY.words(),
            span(takes(&Budget::HOURLY))
        ),
    };
    Promise { best, next, text }
}

/// A span of time for people.
fn span(hours: f64) -> String {
    let (number, unit) = match hours {
        h if h < 1.0 => ((h * 60.0).floor(), "minute"),
        h if h < 48.0 => ((h + 1e-9).floor(), "hour"),
        h => ((h / 24.0 + 1e-9).floor(), "day"),
    };
    format!("{number} {unit}{}", if number == 1.0 { "" } else { "s" })
}

/// Tails that may be, given excesses (ascending) that count as so many independent ones in so many hours.
///
/// The number of alarms and the scale are pivotal: `n / Gamma(n)` is what either may be beside what was found. The
/// shape is normally distributed about the moments' answer, drawn towards what was believed before.
fn draws(excesses: &[f64], alone: f64, hours: f64) -> Vec<Draw> {
    let alone = alone.max(1.0);
    let (mean, shape) = moments(excesses);
    let (prior, found) = (SHAPE_DEVIATION.powi(2), SHAPE_VARIANCE / alone);
    let weight = if shape.is_finite() { prior / (prior + found) } else { 0.0 };
    let shape = if shape.is_finite() { weight * shape.clamp(SHAPES.0, SHAPES.1) } else { 0.0 };
    let deviation = ((1.0 - weight) * prior).sqrt();
    let gamma = Gamma::new(alone, 1.0 / alone).expect("a positive shape and scale");
    let mut rng = StdRng::seed_from_u64(0);
    let draw = |_| {
        let noise: f64 = StandardNormal.sample(&mut rng);
        let shape = (shape + deviation * noise).clamp(SHAPES.0, SHAPES.1);
        let per_hour = alone / hours * gamma.sample(&mut rng);
        Draw { per_hour, scale: mean * (1.0 - shape) / gamma.sample(&mut rng), shape }
    };
    (0..DRAWS).map(draw).collect()
}

impl Draw {
    /// Alarms an hour that go so far beyond where the tail begins.
    fn rate(&self, excess: f64) -> f64 {
        self.per_hour * survival(excess, self.scale, self.shape)
    }
}

/// 5 % and 95 % quantile of a Gamma(a) distribution (Wilson & Hilferty 1931), for a not below 1.
fn gamma_interval(a: f64) -> (f64, f64) {
    let at = |z: f64| a * (1.0 - 1.0 / (9.0 * a) + z / (3.0 * a.sqrt())).powi(3);
    (at(-QUANTILE), at(QUANTILE))
}

#[cfg(test)]
mod tests {
    use super::super::{Debounce, Step, Threshold, blocks};
    use super::*;
    use rand::RngExt;
    use std::time::Duration;

    const RULE: Rule = Rule { open_n: 2, open_m: 3, close_after: Duration::from_secs(30) };
    const HOUR: usize = 3600;

    /// One score a second of a life that goes on as it is.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Life {
        /// Every score by itself.
        Independent,
        /// Remembers nine tenths of itself.
        Slow,
        /// Calm, and busy for two minutes now and then, more or less so.
        Bursty,
        /// A heavier tail: exponential.
        Heavy,
    }

    fn scores(life: Life, n: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut last, mut busy, mut strength) = (0.0f64, 0usize, 0.0f64);
        let step = |_| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            let score = match life {
                Life::Independent => noise,
                Life::Slow => {
                    last = 0.9 * last + 0.19f64.sqrt() * noise;
                    last
                }
                Life::Bursty => {
                    if busy == 0 && rng.random_range(0..1200) == 0 {
                        busy = 120;
                        strength = -rng.random_range(1e-9..1.0f64).ln();
                    }
                    busy = busy.saturating_sub(1);
                    noise + if busy > 0 { 1.0 + strength } else { 0.0 }
                }
                Life::Heavy => -rng.random_range(1e-12..1.0f64).ln(),
            };
            score as f32
        };
        (0..n).map(step).collect()
    }

    fn seen(scores: &[f32]) -> Recurrence {
        let timed = scores.iter().enumerate().map(|(i, s)| (i as f64, *s));
        Recurrence::of(&blocks(RULE, timed, 1), block_seconds(&RULE)).expect("blocks enough")
    }

    /// Events an hour that the daemon's own state machine opens under a limit.
    fn got(scores: &[f32], limit: f64) -> f64 {
        let (mut debounce, limit) = (Debounce::new(RULE), Threshold::plain(limit, 1.0, 0.0));
        let mut opened = |(i, score): (usize, &f32)| {
            let step = debounce.step(i as u64, Duration::from_secs(i as u64), limit.judge(*score));
            matches!(step, Step::Opened { .. })
        };
        scores.iter().enumerate().filter(|s| opened(*s)).count() as f64 * HOUR as f64 / scores.len() as f64
    }

    /// Share of the seeds whose rate lies within the interval, and mean of the rates.
    fn kept(life: Life, calibrated: usize, per_hour: f64) -> (f64, f64) {
        const SEEDS: u64 = 40;
        let watched = scores(life, 300 * HOUR, 1000);
        let rates = (0..SEEDS).map(|seed| {
            let point = seen(&scores(life, calibrated, seed)).point(per_hour);
            let rate = got(&watched, point.limit);
            // What 300 hours leave to chance.
            let slack = 2.0 * (rate / 300.0).sqrt();
            (rate, rate > point.low - slack && rate < point.high + slack)
        });
        let rates: Vec<(f64, bool)> = rates.collect();
        let within = rates.iter().filter(|(_, within)| *within).count() as f64 / SEEDS as f64;
        (within, rates.iter().map(|(rate, _)| rate).sum::<f64>() / SEEDS as f64)
    }

    /// By ranks (8 hours seen) and from the tail, twelve and two times further than what was seen.
    #[test]
    fn the_rate_got_is_within_the_interval_stated() {
        for life in [Life::Independent, Life::Slow, Life::Bursty, Life::Heavy] {
            for (calibrated, per_hour) in [(8 * HOUR, 1.0), (8 * HOUR, 1.0 / 12.0), (HOUR / 2, 1.0)] {
                let (within, mean) = kept(life, calibrated, per_hour);
                let about = format!("{life:?}, {calibrated} s seen, {per_hour:.3}/h: {within}, {mean:.3}/h");
                assert!(within >= 0.85, "{about}");
                assert!((0.6..1.6).contains(&(mean / per_hour)), "{about}");
            }
        }
    }

    /// As if every segment were an event of its own.
    #[test]
    fn ranks_of_single_segments_misstate_it() {
        for (life, at_most) in [(Life::Independent, 0.05), (Life::Slow, 0.7)] {
            let mut ranked = scores(life, 8 * HOUR, 3);
            ranked.sort_by(f32::total_cmp);
            let limit = f64::from(ranked[ranked.len() - 8]);
            let rate = got(&scores(life, 300 * HOUR, 1000), limit);
            assert!(rate < at_most, "{life:?}: {rate} an hour, where one was asked for");
        }
    }

    #[test]
    fn a_rarer_alarm_has_a_higher_limit_and_more_hours_a_surer_one() {
        for life in [Life::Independent, Life::Slow, Life::Bursty, Life::Heavy] {
            let (short, long) = (scores(life, HOUR / 2, 1), scores(life, 50 * HOUR, 2));
            let curve = seen(&long).curve();
            assert!(curve.windows(2).all(|w| w[0].limit <= w[1].limit), "{life:?}: {curve:?}");
            assert!(curve.iter().all(|p| p.low < p.per_hour && p.per_hour < p.high), "{life:?}: {curve:?}");
            let daily = Budget::DAILY.per_hour();
            let (early, late) = (seen(&short).point(daily), seen(&long).point(daily));
            assert!(early.extrapolated && late.extrapolated && !seen(&long).point(1.0).extrapolated);
            assert!(late.high / late.low < early.high / early.low.max(1e-9), "{life:?}: {early:?} {late:?}");
        }
    }

    #[test]
    fn what_can_be_promised_is_said_in_words() {
        for (hours, text) in [
            (0.04, "2 minutes seen: too little for any limit (that takes 3 minutes)"),
            (
                0.5,
                "30 minutes seen: can promise nothing yet, not even one per hour (that takes 3 hours); limits are \
                   extrapolated",
            ),
            (3.0, "3 hours seen: can promise one per hour, not yet one per day (that takes 3 days)"),
            (80.0, "3 days seen: can promise one per day, not yet one per week (that takes 21 days)"),
            (504.0, "21 days seen: can promise one per week"),
        ] {
            assert_eq!(promise(hours, 0.05).text, text);
        }
        assert_eq!(promise(3.0, 0.1).best, Some(Budget::HOURLY));
    }

    #[test]
    fn few_or_constant_or_missing_blocks_give_no_nonsense() {
        let constant: Vec<f32> = vec![0.5; 2 * HOUR];
        let point = seen(&constant).point(1.0 / 24.0);
        assert_eq!(point.limit, 0.5, "and a score has to be above it");
        let block = |i: usize| Block {
            from: 30.0 * i as f64,
            to: 30.0 * (i + 1) as f64,
            level: i as f32,
            peak: i as f32,
            usual: None,
        };
        let few: Vec<Block> = (0..LEAST_BLOCKS - 1).map(block).collect();
        assert!(Recurrence::of(&few, 30.0).is_none());
        let nothing: Vec<Block> = (0..20)
            .map(|i| Block { level: f32::NEG_INFINITY, peak: f32::NEG_INFINITY, ..block(i) })
            .collect();
        assert!(Recurrence::of(&nothing, 30.0).is_none());
    }
}
