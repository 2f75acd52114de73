//! `POST /api/config/reload`: the configuration read again, and what came of it.

use super::check::{CheckDto, MistakeDto};
use super::problem::Problem;
use super::routes::{Api, blocking};
use crate::base::CameraName;
use crate::config::{self, Invalid};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// What the API needs of the configuration.
pub trait Configuration: Send + Sync {
    /// The configuration in force, without secrets.
    fn in_force(&self) -> serde_json::Value;
    /// Reads it again, and changes what has changed while the rest goes on. Takes as long as that.
    ///
    /// # Errors
    /// Why everything is as it was.
    fn reload(&self) -> Result<Reloaded, ReloadRefused>;
}

/// What came of it. Holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Reloaded {
    /// Cameras that are watched now, and were not.
    pub added: Vec<CameraName>,
    /// Cameras that were connected anew, since something of theirs is another.
    pub changed: Vec<CameraName>,
    pub removed: Vec<CameraName>,
    /// Cameras that have not noticed.
    pub unchanged: Vec<CameraName>,
    /// Keys whose change takes effect after a restart; until then they are as they were.
    pub needs_restart: Vec<String>,
    /// What is odd about it.
    pub warnings: Vec<MistakeDto>,
}

/// Why nothing has changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReloadRefused {
    #[error("the configuration is being read again just now: wait for it, and ask once more")]
    Busy,
    #[error("the daemon is stopping")]
    Stopping,
    /// It cannot be used.
    #[error("the configuration cannot be used")]
    Invalid(Invalid),
}

/// What is wrong is told as `POST /api/config/check` tells it.
pub async fn reload(State(api): Api) -> Result<Response, Problem> {
    blocking(move || match api.parts.configuration.reload() {
        Ok(reloaded) => Ok(Json(reloaded).into_response()),
        Err(ReloadRefused::Invalid(Invalid { problems, warnings })) => {
            let told = |list: Vec<config::Problem>| list.into_iter().map(MistakeDto::from).collect();
            let found = CheckDto { ok: false, problems: told(problems), warnings: told(warnings) };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(found)).into_response())
        }
        Err(refused @ ReloadRefused::Busy) => Err(Problem::new(StatusCode::CONFLICT, refused.to_string())),
        Err(refused) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string())),
    })
    .await
}
