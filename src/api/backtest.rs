//! `POST /api/cameras/{name}/backtest`: the alarms that other settings would have raised, over the scores that are kept.

use super::DetectorStatus;
use super::problem::Problem;
use super::routes::{Api, blocking, detector, status};
use crate::alert::{Event, Label, incident};
use crate::base::{CameraName, DetectorName, Timestamp};
use crate::config::Budget;
use crate::store::{EventFilter, Store, StoreError};
use crate::threshold::{
    DayParts, History, Judging, Known, Rhythm, Row, Rule, Threshold, Trial, Usual, Wish, block_seconds,
    outside,
};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Where nothing is said, the newest time of this length ...
const USUAL_SPAN: Duration = Duration::from_secs(7 * 86_400);
/// ... and never more than this at once, ...
const LONGEST_SPAN: Duration = Duration::from_secs(31 * 86_400);
/// ... nor more scores: 128 MiB.
const MOST_SCORES: usize = 16 << 20;
/// Settings that are tried at once.
const MOST_SETTINGS: usize = 64;
/// As in the configuration.
const GREATEST_K: f64 = 1000.0;
const LONGEST_WINDOW: usize = 100;
/// What is tried beside what is in force, where nothing is said.
const USUAL_K: [f64; 5] = [2.0, 2.5, 3.0, 4.0, 5.0];
const USUAL_BUDGETS: [Budget; 3] = [Budget::HOURLY, Budget::DAILY, Budget::WEEKLY];
const USUAL_OPENINGS: [[usize; 2]; 2] = [[2, 3], [3, 5]];
/// What is usual at a time changes with the hour; local hours may begin at any quarter of one.
const QUARTER_US: i64 = 900_000_000;

/// Body of `/api/cameras/{name}/backtest`: what is to be tried. Of a list that is missing: what is in force, and a useful
/// spread.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BacktestBody {
    /// The camera's first one that opens events, where nothing is said.
    #[serde(default)]
    pub detector: Option<String>,
    /// A week before `before`, but not before the model in force was learned, where nothing is said.
    #[serde(default)]
    pub after: Option<Timestamp>,
    /// Now, where nothing is said.
    #[serde(default)]
    pub before: Option<Timestamp>,
    /// Limits mu + k sigma.
    #[serde(default)]
    pub k: Option<Vec<f64>>,
    /// Limits that these very scores give for a budget.
    #[serde(default)]
    pub budget: Option<Vec<Budget>>,
    /// An alarm opens when so many of the last so many segments are above the limit.
    #[serde(default)]
    pub debounce: Option<Vec<[usize; 2]>>,
}

/// What other settings would have done.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BacktestDto {
    pub camera: CameraName,
    pub detector: DetectorName,
    pub after: Timestamp,
    pub before: Timestamp,
    #[serde(flatten)]
    pub table: Table,
    /// Reading and trying, milliseconds.
    pub took_ms: u64,
}

/// The settings and their alarms.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Table {
    /// That were seen; silences are left out.
    pub hours: f64,
    /// Scores.
    pub segments: usize,
    /// Events of that time that were reviewed as true and as false alarms.
    pub true_alarms: usize,
    pub false_alarms: usize,
    /// What the settings in force would have done all the time, whatever was in force then.
    pub in_force: Row,
    /// By debounce, then by k and budget in the order asked for.
    pub rows: Vec<Row>,
    /// What is to be known beside it, for people.
    pub notes: Vec<String>,
}

/// Whose scores are tried, and what is in force there.
#[derive(Debug, Clone)]
pub struct Subject {
    pub judging: Judging,
    pub threshold: Threshold,
    /// What is usual when; `None`: always the same, or to be found from the scores where the day has parts.
    pub rhythm: Option<Rhythm>,
    /// Of the model in force.
    pub learned_at: Option<Timestamp>,
    /// The limit in force is the newest score's, not the threshold's.
    pub limit_of_scores: bool,
}

/// Why nothing can be tried.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    #[error("{0}")]
    Asked(String),
    #[error("{0}")]
    Nothing(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BacktestError> for Problem {
    fn from(error: BacktestError) -> Self {
        match error {
            BacktestError::Asked(text) => Self::bad_request(text),
            BacktestError::Nothing(text) => Self::not_found(text),
            BacktestError::Store(error) => error.into(),
        }
    }
}

pub(super) async fn backtest(
    State(api): Api,
    Path(name): Path<String>,
    body: Result<Json<BacktestBody>, JsonRejection>,
) -> Result<Json<BacktestDto>, Problem> {
    let Json(body) = body?;
    let status = status(&api, &name)?;
    let detector = detector(&status, body.detector.as_deref())?;
    let subject = subject(detector).ok_or_else(|| {
        let problem =
            format!("`{name}` has no threshold yet: its detector {} is still learning", detector.name);
        Problem::new(StatusCode::CONFLICT, problem)
    })?;
    let (camera, detector) = (status.name.clone(), detector.name.clone());
    // One at a time: each may hold a month of scores.
    let turn = api.trials.clone().acquire_owned().await;
    blocking(move || {
        let _turn = turn;
        let now = api.parts.clock.now();
        Ok(Json(over_store(&api.parts.store, (&camera, &detector), &subject, &body, now)?))
    })
    .await
}

/// What is in force; `None` while there is no threshold.
pub(super) fn subject(detector: &DetectorStatus) -> Option<Subject> {
    Some(Subject {
        judging: detector.judging.clone(),
        threshold: detector.threshold?,
        rhythm: detector.outlook.as_ref().and_then(|outlook| outlook.rhythm.clone()),
        learned_at: detector.learning.learned_at,
        limit_of_scores: false,
    })
}

/// Tries settings over what is kept of a camera's detector.
///
/// # Errors
/// When what is asked for cannot be, there is no score in that time, or the store fails.
pub fn over_store(
    store: &Store,
    (camera, detector): (&CameraName, &DetectorName),
    subject: &Subject,
    body: &BacktestBody,
    now: Timestamp,
) -> Result<BacktestDto, BacktestError> {
    let began = Instant::now();
    let (after, before) = span(body, subject.learned_at, now)?;
    wishes(subject, body)?;
    let history = history(store, (camera, detector), (after, before))?;
    let Recorded { scores, newest } = &history;
    if scores.is_empty() {
        return Err(nothing(store, (camera, detector), (after, before))?);
    }
    let events = events(store, (camera, detector), (after, before))?;
    let incidents: Vec<_> = events.iter().filter_map(incident).collect();
    let known: Vec<Known> = events.iter().filter(|e| e.start_time >= after).filter_map(known).collect();
    let mut table = subject.table(scores, *newest, &incidents, &known, body)?;
    if let Some(learned) = subject.learned_at.filter(|learned| *learned > after) {
        table.notes.push(format!(
            "the model in force was learned at {learned:.0}; scores from before are another's, and cannot be compared"
        ));
    }
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(BacktestDto { camera: camera.clone(), detector: detector.clone(), after, before, table, took_ms })
}

/// The time that is meant.
fn span(
    body: &BacktestBody,
    learned_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), BacktestError> {
    let before = body.before.unwrap_or(now);
    let usual = before.checked_sub(USUAL_SPAN).unwrap_or(Timestamp::MIN);
    let of_this_model =
        learned_at.filter(|learned| *learned < before).map_or(usual, |learned| usual.max(learned));
    let after = body.after.unwrap_or(of_this_model);
    if after >= before {
        return Err(BacktestError::Asked("`after` must be earlier than `before`".into()));
    }
    if before.duration_since(after).unsigned_abs() > LONGEST_SPAN {
        let days = LONGEST_SPAN.as_secs() / 86_400;
        return Err(BacktestError::Asked(format!(
            "a backtest is over {days} days at most: name a later `after`"
        )));
    }
    Ok((after, before))
}

/// What is to be tried: the ways to set a limit, and the rules.
fn wishes(subject: &Subject, body: &BacktestBody) -> Result<(Vec<Wish>, Vec<Rule>), BacktestError> {
    let (rule, threshold) = (subject.judging.rule, subject.threshold);
    let ks = body.k.clone().unwrap_or_else(|| {
        let own = (threshold.budget.is_none() && !subject.limit_of_scores).then_some(threshold.k);
        let mut ks: Vec<f64> = USUAL_K.into_iter().chain(own).collect();
        ks.sort_by(f64::total_cmp);
        ks.dedup();
        ks
    });
    let budgets = body.budget.clone().unwrap_or_else(|| {
        let own = threshold.budget.filter(|own| !USUAL_BUDGETS.contains(own));
        USUAL_BUDGETS.into_iter().chain(own).collect()
    });
    let openings = body.debounce.clone().unwrap_or_else(|| {
        let own = [rule.open_n, rule.open_m];
        let others = USUAL_OPENINGS.into_iter().filter(|opening| *opening != own);
        [own].into_iter().chain(others).collect()
    });
    if let Some(k) = ks.iter().find(|k| !(0.0..=GREATEST_K).contains(*k)) {
        return Err(BacktestError::Asked(format!("k = {k}: k is from 0 to {GREATEST_K}")));
    }
    if let Some([n, m]) = openings.iter().find(|[n, m]| !(1..=*m).contains(n) || *m > LONGEST_WINDOW) {
        return Err(BacktestError::Asked(format!(
            "debounce {n} of {m}: the first is from 1 to the second, and that at most {LONGEST_WINDOW}"
        )));
    }
    let settings = (ks.len() + budgets.len()) * openings.len();
    if settings > MOST_SETTINGS {
        return Err(BacktestError::Asked(format!(
            "{settings} settings are too many at once: k and budgets, times debounces, are {MOST_SETTINGS} at most"
        )));
    }
    let wishes = ks.into_iter().map(Wish::K).chain(budgets.into_iter().map(Wish::Budget)).collect();
    Ok((wishes, openings.into_iter().map(|[open_n, open_m]| Rule { open_n, open_m, ..rule }).collect()))
}

impl Subject {
    /// Tries settings over scores. `newest`: time of the newest one and the limit then; `incidents` are no normal life.
    ///
    /// # Errors
    /// When what is asked for cannot be.
    pub fn table(
        &self,
        scores: &History,
        newest: Option<(i64, f64)>,
        incidents: &[Range<f64>],
        known: &[Known],
        body: &BacktestBody,
    ) -> Result<Table, BacktestError> {
        let (wishes, rules) = wishes(self, body)?;
        let Judging { rule, hysteresis, day } = &self.judging;
        let found = || {
            let seconds = block_seconds(rule);
            Rhythm::of(
                &outside(&scores.blocks(*rule), incidents, rule.close_after.as_secs_f64()),
                seconds,
                day,
            )
        };
        let rhythm = self.rhythm.clone().or_else(found);
        let (mut usual, mut told) = (Usual { mu: self.threshold.mu, sigma: self.threshold.sigma }, None);
        let mut measured = None;
        let mut k = self.threshold.k;
        if let Some(rhythm) = &rhythm {
            let mut clock = UsualAt::new(rhythm, day);
            measured = Some(scores.measured(|time_us| clock.at(time_us)));
            told = newest.map(|(time_us, _)| clock.at(time_us)).or(Some(usual));
            usual = Usual { mu: 0.0, sigma: 1.0 };
        }
        let told = told.unwrap_or(usual);
        if let Some((_, limit)) = newest.filter(|_| self.limit_of_scores) {
            k = (limit - told.mu) / told.sigma;
        }
        let history = measured.as_ref().unwrap_or(scores);
        let hours = history.hours(rule.close_after);
        let trial = Trial { history, hours, usual, told, hysteresis: *hysteresis, incidents, known };
        let (rows, notes) = trial.rows(&wishes, &rules);
        let count = |worth: bool| known.iter().filter(|known| known.worth == worth).count();
        Ok(Table {
            hours,
            segments: history.len(),
            true_alarms: count(true),
            false_alarms: count(false),
            in_force: trial.row(k, self.threshold.budget, *rule),
            rows,
            notes,
        })
    }
}

/// What is usual at a time, looked up once a quarter of an hour.
pub(super) struct UsualAt<'a> {
    rhythm: &'a Rhythm,
    day: &'a DayParts,
    known: Option<(i64, Usual)>,
}

impl<'a> UsualAt<'a> {
    pub(super) fn new(rhythm: &'a Rhythm, day: &'a DayParts) -> Self {
        Self { rhythm, day, known: None }
    }

    pub(super) fn at(&mut self, time_us: i64) -> Usual {
        let quarter = time_us.div_euclid(QUARTER_US);
        match self.known.filter(|(known, _)| *known == quarter) {
            Some((_, usual)) => usual,
            None => {
                let usual = self.rhythm.usual(self.day.part(time_us as f64 / 1e6));
                self.known = Some((quarter, usual));
                usual
            }
        }
    }
}

/// Scores as they are kept, and the newest one's time and limit.
pub(super) struct Recorded {
    pub(super) scores: History,
    newest: Option<(i64, f64)>,
}

/// A detector's scores of some time.
pub(super) fn history(
    store: &Store,
    (camera, detector): (&CameraName, &DetectorName),
    (after, before): (Timestamp, Timestamp),
) -> Result<Recorded, BacktestError> {
    let (mut scores, mut newest, mut too_many) = (History::default(), None, false);
    store.timeline(camera, detector, after, before, &mut |time_us, score, limit| {
        too_many |= scores.len() >= MOST_SCORES;
        if !too_many && scores.push(time_us, score) {
            newest = Some((time_us, limit));
        }
    })?;
    match too_many {
        true => Err(BacktestError::Asked(format!(
            "more than {MOST_SCORES} scores were kept in that time: name a later `after`"
        ))),
        false => Ok(Recorded { scores, newest }),
    }
}

/// That there is nothing in that time, and where there is something.
fn nothing(
    store: &Store,
    (camera, detector): (&CameraName, &DetectorName),
    (after, before): (Timestamp, Timestamp),
) -> Result<BacktestError, StoreError> {
    let there = match store.score_span(camera, detector)? {
        Some((first, last)) => format!("there are some from {first:.0} to {last:.0}: name that time"),
        None => "none were kept at all: see whether it is armed".into(),
    };
    Ok(BacktestError::Nothing(format!(
        "no scores of {camera}'s detector {detector} from {after:.0} to {before:.0}; {there}"
    )))
}

/// A detector's events of some time, newest first.
pub(super) fn events(
    store: &Store,
    (camera, detector): (&CameraName, &DetectorName),
    (after, before): (Timestamp, Timestamp),
) -> Result<Vec<Event>, StoreError> {
    let (cameras, after, before) = (vec![camera.clone()], Some(after), Some(before));
    let mut found = store.all_events(EventFilter { cameras, after, before, ..Default::default() })?;
    found.retain(|event| event.detector == *detector);
    Ok(found)
}

/// From an event's beginning to its last moment above the threshold, microseconds since 1970.
pub(super) fn span_of(event: &Event) -> (i64, i64) {
    (event.start_time.as_microsecond(), event.last_time.as_microsecond())
}

/// An event of which somebody said what it was.
fn known(event: &Event) -> Option<Known> {
    let worth = match event.review.as_ref()?.label? {
        Label::TrueAlarm => true,
        Label::FalseAlarm => false,
        Label::Unsure => return None,
    };
    Some(Known { id: event.id.clone(), span: span_of(event), worth })
}
