//! Where alerts are delivered: how the sinks stand, what they would not take, and another attempt at it.

use super::problem::Problem;
use super::routes::{Api, blocking};
use crate::base::Timestamp;
use crate::store::{DeadLetter, StoreError};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

/// What the API needs of the sinks.
pub trait Sinks: Send + Sync {
    /// Every configured sink, in the configuration's order.
    fn list(&self) -> Result<Vec<SinkStatus>, StoreError>;
    /// What a sink would not take, oldest first; `None`: no such sink.
    fn dead(&self, sink: &str) -> Result<Option<Vec<DeadLetter>>, StoreError>;
    /// Has these tried once more; gives their number. `None`: no such sink.
    fn retry(&self, sink: &str) -> Result<Option<usize>, StoreError>;
}

/// How a sink stands.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SinkStatus {
    pub name: String,
    /// `webhook`, `mqtt`, `jsonl` or `email`.
    pub kind: &'static str,
    pub state: SinkState,
    /// Since the daemon started.
    pub delivered: u64,
    /// Letters that it has not come to, of them those that it does not want.
    pub waiting: u64,
    pub failing_since: Option<Timestamp>,
    /// Without secrets.
    pub last_error: Option<String>,
    pub dead_letters: u64,
}

/// Whether a sink takes what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// It took the last letter, or there was none yet.
    Ok,
    /// It did not, and is tried again.
    Failing,
}

/// A letter that its sink would not take.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DeadLetterDto {
    /// The same in every delivery of this letter, and of no other.
    pub delivery: String,
    /// `alert.new` and so on.
    pub topic: &'static str,
    pub camera: String,
    /// When it was announced.
    pub time: Timestamp,
    /// When it was given up.
    pub died: Timestamp,
    pub why: String,
    /// What it says.
    pub body: serde_json::Value,
}

impl From<DeadLetter> for DeadLetterDto {
    fn from(dead: DeadLetter) -> Self {
        let delivery = dead.letter.delivery();
        let said = dead.letter.announcement;
        Self {
            delivery,
            topic: said.subject.name(),
            camera: said.camera.into(),
            time: dead.letter.time,
            died: dead.died,
            why: dead.why,
            body: serde_json::from_str(&said.body).unwrap_or_default(),
        }
    }
}

/// How many dead letters are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct RetryDto {
    pub retried: usize,
}

pub async fn sinks(State(api): Api) -> Result<Json<Vec<SinkStatus>>, Problem> {
    blocking(move || Ok(Json(api.parts.sinks.list()?))).await
}

pub async fn dead(State(api): Api, Path(name): Path<String>) -> Result<Json<Vec<DeadLetterDto>>, Problem> {
    blocking(move || {
        let letters = api.parts.sinks.dead(&name)?.ok_or_else(|| no_sink(&name))?;
        Ok(Json(letters.into_iter().map(Into::into).collect()))
    })
    .await
}

pub async fn retry(
    State(api): Api,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<RetryDto>), Problem> {
    blocking(move || {
        let retried = api.parts.sinks.retry(&name)?.ok_or_else(|| no_sink(&name))?;
        Ok((StatusCode::ACCEPTED, Json(RetryDto { retried })))
    })
    .await
}

fn no_sink(name: &str) -> Problem {
    Problem::not_found(format!("no sink is named `{name}`; GET /api/sinks lists them"))
}
