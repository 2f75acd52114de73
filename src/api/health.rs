//! How the store fares: whether it takes what is written, what waits in memory, and what was put aside.

use super::routes::Api;
use crate::base::Timestamp;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

/// How the store fares.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StoreDto {
    pub state: StoreState,
    /// Why it fails, with a remedy; null while all is well.
    pub problem: Option<String>,
    pub failing_since: Option<Timestamp>,
    /// Changes of alerts that were told (`stored`: false) and wait in memory.
    pub waiting: usize,
    /// Changes of alerts that were given up because too many waited; since the start.
    pub dropped: u64,
    /// Scores that were given up for the same reason.
    pub dropped_scores: u64,
    /// Bytes free on its disk; null where that cannot be found out.
    pub free_bytes: Option<u64>,
    /// Folders in it that hold damaged databases which were put aside, oldest first.
    pub put_aside: Vec<String>,
}

/// Whether the store takes what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    Ok,
    /// It does not, and is tried again and again.
    Failing,
}

pub async fn store(State(api): Api) -> Json<StoreDto> {
    let store = &api.parts.store;
    let health = store.health();
    let (problem, failing_since) = health.trouble.unzip();
    Json(StoreDto {
        state: if problem.is_none() { StoreState::Ok } else { StoreState::Failing },
        problem,
        failing_since,
        waiting: health.waiting,
        dropped: health.dropped,
        dropped_scores: health.dropped_scores,
        free_bytes: store.free_bytes(),
        put_aside: store.put_aside(),
    })
}
