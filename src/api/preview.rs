//! `POST /api/events/{id}/review/preview`: what the threshold would become if an event were labelled so. Nothing is kept.

use super::DetectorStatus;
use super::backtest::{UsualAt, events, history, span_of};
use super::dto::EventDto;
use super::problem::Problem;
use super::routes::{Api, blocking, detector, status};
use crate::alert::{Event, Label, incident, incident_if};
use crate::base::Timestamp;
use crate::config::Budget;
use crate::store::Store;
use crate::threshold::{Alarm, History, Look, Normal, Rhythm, Setting, Threshold, any_overlaps};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// Events of the newest time of this length may vanish or appear.
const LOOKED_BACK: Duration = Duration::from_secs(28 * 86_400);
/// Limits closer than this are one: it is what rounding makes of them.
const SAME: f64 = 1e-9;
/// Budgets that are recommended, from the loosest.
const BUDGETS: [Budget; 3] = [Budget::HOURLY, Budget::DAILY, Budget::WEEKLY];

/// Body of `/api/events/{id}/review/preview`: the label that the event would get; null takes it back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewBody {
    #[serde(default)]
    pub label: Option<Label>,
}

/// What a review would change.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PreviewDto {
    pub threshold: PreviewThreshold,
    /// Events of the last four weeks that the threshold in force would raise, and the other one would not; newest first.
    pub would_vanish: Vec<EventDto>,
    /// Alarms that the other one would have raised in that time, and the threshold in force would not; oldest first.
    pub would_appear: Vec<AppearingDto>,
    /// The same for people, and what else would help.
    pub text: String,
}

/// Limits at this time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct PreviewThreshold {
    pub now: f64,
    pub then: f64,
}

/// An alarm that there was not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct AppearingDto {
    pub start_time: Timestamp,
    pub end_time: Timestamp,
    pub top_score: f32,
}

pub(super) async fn preview(
    State(api): Api,
    Path(id): Path<String>,
    body: Result<Json<PreviewBody>, JsonRejection>,
) -> Result<Json<PreviewDto>, Problem> {
    let Json(PreviewBody { label }) = body?;
    let turn = api.trials.clone().acquire_owned().await;
    blocking(move || {
        let _turn = turn;
        let store = &api.parts.store;
        let event = store.event(&id)?.ok_or_else(|| Problem::no_event(&id))?;
        let status = status(&api, &event.camera)?;
        let detector = detector(&status, Some(&event.detector))?;
        let now = api.parts.clock.now();
        Ok(Json(imagine(store, detector, &event, label, now)?))
    })
    .await
}

/// A threshold, and what is usual when, in which it is meant.
struct Judge<'a> {
    threshold: Threshold,
    rhythm: Option<&'a Rhythm>,
}

impl Judge<'_> {
    /// Scores as the threshold takes them, and what is above it among them.
    fn measured(&self, scores: &History, detector: &DetectorStatus) -> (Option<History>, Threshold) {
        match self.rhythm {
            None => (None, self.threshold),
            Some(rhythm) => {
                let mut clock = UsualAt::new(rhythm, &detector.judging.day);
                let measured = scores.measured(|time_us| clock.at(time_us));
                (Some(measured), Threshold { mu: 0.0, sigma: 1.0, ..self.threshold })
            }
        }
    }

    fn alarms(&self, scores: &History, detector: &DetectorStatus) -> Vec<Alarm> {
        let (measured, threshold) = self.measured(scores, detector);
        let setting =
            Setting { threshold, rule: detector.judging.rule, hysteresis: detector.judging.hysteresis };
        measured.as_ref().unwrap_or(scores).alarms(&setting)
    }
}

fn imagine(
    store: &Store,
    detector: &DetectorStatus,
    event: &Event,
    label: Option<Label>,
    now: Timestamp,
) -> Result<PreviewDto, Problem> {
    let Some(threshold) = detector.threshold else {
        let problem = format!("detector {} has no threshold yet: it is still learning", detector.name);
        return Err(Problem::new(StatusCode::CONFLICT, problem));
    };
    let whose = (&event.camera, &event.detector);
    let normal = detector.normal.as_deref();
    let in_force =
        Judge { threshold, rhythm: detector.outlook.as_ref().and_then(|outlook| outlook.rhythm.as_ref()) };
    // With every review so far, and this one.
    let begins = normal.and_then(Normal::begins).map(|begins| (begins * 1e6) as i64);
    let begins = begins.and_then(|begins| Timestamp::from_microsecond(begins).ok()).filter(|b| *b < now);
    let of_life = begins.map_or(Ok(vec![]), |begins| events(store, whose, (begins, now)))?;
    let incidents: Vec<Range<f64>> = (of_life.iter())
        .filter_map(|other| if other.id == event.id { incident_if(event, label) } else { incident(other) })
        .collect();
    let look = normal.map(|normal| normal.look(&incidents));
    let moved = normal.filter(|normal| normal.budget.is_some()).zip(look.as_ref());
    let then = match moved {
        None => Judge { threshold, ..in_force },
        Some((normal, Look { outlook, limit })) => {
            let (rhythm, at) = (outlook.rhythm.as_ref(), now.as_microsecond() as f64 / 1e6);
            Judge { threshold: normal.threshold(rhythm, *limit, threshold, at), rhythm }
        }
    };
    let back = now.checked_sub(LOOKED_BACK).unwrap_or(Timestamp::MIN);
    let after = detector.learning.learned_at.or(begins).map_or(back, |since| back.max(since)).min(now);
    let mut answer = PreviewDto {
        threshold: PreviewThreshold { now: threshold.limit(), then: then.threshold.limit() },
        would_vanish: vec![],
        would_appear: vec![],
        text: String::new(),
    };
    let scores = if after < now { history(store, whose, (after, now))?.scores } else { History::default() };
    let moves = (answer.threshold.then - answer.threshold.now).abs() > SAME * threshold.sigma.abs().max(1.0);
    let mut still_raised = true;
    if moves {
        let (was, would) = (in_force.alarms(&scores, detector), then.alarms(&scores, detector));
        let known = events(store, whose, (after, now))?;
        let seen = |alarm: &Alarm| any_overlaps(&was, (alarm.start_us, alarm.end_us));
        let told = |alarm: &Alarm| known.iter().any(|event| alarm.overlaps(span_of(event)));
        let time = |us: i64| Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
        let appearing = |alarm: &Alarm| AppearingDto {
            start_time: time(alarm.start_us),
            end_time: time(alarm.end_us),
            top_score: scores.highest((alarm.start_us, alarm.end_us)).unwrap_or(alarm.top),
        };
        let gone =
            |event: &&Event| any_overlaps(&was, span_of(event)) && !any_overlaps(&would, span_of(event));
        answer.would_vanish = known.iter().filter(gone).map(EventDto::listed).collect();
        answer.would_appear = would.iter().filter(|a| !seen(a) && !told(a)).map(appearing).collect();
        still_raised = any_overlaps(&would, span_of(event));
    }
    let other_model =
        detector.learning.model_sha256.as_ref().is_some_and(|sha256| *sha256 != event.model.sha256);
    answer.text = match moved {
        _ if other_model => "It was raised by another model than the one in force: its review changes no \
                             threshold any more."
            .into(),
        Some((normal, _)) => {
            let budget = normal.budget.map(|budget| budget.to_string()).unwrap_or_default();
            with_budget(&answer, &budget, moves, still_raised)
        }
        None => {
            let (measured, of_scores) = in_force.measured(&scores, detector);
            let scores = measured.as_ref().unwrap_or(&scores);
            let level = scores.level(detector.judging.rule, span_of(event)).map(f64::from);
            let silenced = Silenced { normal, incidents: &incidents, level, threshold: of_scores };
            silenced.text(label)
        }
    };
    Ok(answer)
}

/// What a review does to a limit that keeps a budget.
fn with_budget(answer: &PreviewDto, budget: &str, moves: bool, still_raised: bool) -> String {
    let PreviewThreshold { now, then } = answer.threshold;
    if !moves {
        return format!(
            "The threshold stays at {now:.4}, which keeps {budget}: the review changes nothing of it."
        );
    }
    let (direction, vanish) = (if then > now { "rise" } else { "sink" }, answer.would_vanish.len());
    let itself = if still_raised { "would still be raised" } else { "would not be raised again" };
    format!(
        "The threshold would {direction} from {now:.4} to {then:.4} to keep {budget}: an event like this one {itself}. \
         Of the last four weeks' events {vanish} would vanish, and {} would appear.",
        answer.would_appear.len()
    )
}

/// What would have kept an event from being raised.
struct Silenced<'a> {
    normal: Option<&'a Normal>,
    incidents: &'a [Range<f64>],
    /// Under limits below this it is raised; `None` where its scores are not kept any more.
    level: Option<f64>,
    threshold: Threshold,
}

impl Silenced<'_> {
    fn text(&self, label: Option<Label>) -> String {
        let Threshold { mu, sigma, k, .. } = self.threshold;
        let stays = format!("The threshold is mu + {k} sigma, and moves with no review.");
        if label != Some(Label::FalseAlarm) {
            return stays;
        }
        let Some(level) = self.level.filter(|_| sigma > 0.0) else {
            return format!(
                "{stays} Its scores are not kept any more: what would have silenced it cannot be said."
            );
        };
        // Up to the next tenth: a score has to be above the limit.
        let needed = ((level - mu) / sigma * 10.0 - SAME).ceil() / 10.0;
        if needed <= k {
            return format!("{stays} The one in force would not raise it again.");
        }
        let budget = match self.budget(level) {
            Some((budget, hours)) => {
                format!(
                    ", and so would budget = \"{budget}\", as far as {hours:.1} hours of normal life tell"
                )
            }
            None => String::new(),
        };
        format!(
            "{stays} k = {needed:.1} would have silenced it{budget}; a backtest says what else they would change."
        )
    }

    /// The loosest budget whose limit lets it pass, and the hours that this rests on.
    fn budget(&self, level: f64) -> Option<(Budget, f64)> {
        let normal = self.normal?;
        BUDGETS.into_iter().find_map(|budget| {
            let asked = Normal { budget: Some(budget), ..normal.clone() }.look(self.incidents);
            asked.limit.filter(|limit| *limit >= level).map(|_| (budget, asked.outlook.hours))
        })
    }
}
