//! `POST /api/config/check`: what is wrong with a configuration that somebody is about to write.

use super::problem::Problem;
use super::routes::{Api, blocking};
use crate::config::{self, Invalid, Surroundings};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /api/config/check`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    /// Of a `config.toml`.
    pub text: String,
}

/// What was found. Holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CheckDto {
    /// It could be used.
    pub ok: bool,
    /// In order of their places.
    pub problems: Vec<MistakeDto>,
    pub warnings: Vec<MistakeDto>,
}

/// One mistake, or something odd.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MistakeDto {
    /// From 1; 0 where it concerns the whole.
    pub line: usize,
    /// In characters, from 1; 0 where it concerns the whole.
    pub column: usize,
    /// Full name of the key; empty for the whole.
    pub key: String,
    /// As written.
    pub value: Option<String>,
    pub message: String,
    pub allowed: Option<String>,
    pub remedy: String,
}

impl From<config::Problem> for MistakeDto {
    fn from(problem: config::Problem) -> Self {
        let config::Problem { file: _, line, column, key, value, message, allowed, remedy } = problem;
        Self { line, column, key, value, message, allowed, remedy }
    }
}

/// Paths in the text start from the folder of the configuration in force. Nothing is changed.
pub async fn check(
    State(api): Api,
    body: Result<Json<CheckBody>, JsonRejection>,
) -> Result<Json<CheckDto>, Problem> {
    let Json(CheckBody { text }) = body?;
    blocking(move || {
        let env = |name: &str| std::env::var(name).ok();
        let around = Surroundings { dir: &api.parts.config_dir, env: &env, world_readable: false };
        let told = |list: Vec<config::Problem>| list.into_iter().map(MistakeDto::from).collect::<Vec<_>>();
        let found = match config::load_text("config.toml", &text, &around) {
            Ok(loaded) => CheckDto { ok: true, problems: Vec::new(), warnings: told(loaded.warnings) },
            Err(Invalid { problems, warnings }) => {
                CheckDto { ok: false, problems: told(problems), warnings: told(warnings) }
            }
        };
        Ok(Json(found))
    })
    .await
}
