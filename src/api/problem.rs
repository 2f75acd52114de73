//! Errors as RFC 9457 problem documents: what is wrong, and what to do.

use super::LearnRefused;
use crate::store::StoreError;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    #[serde(skip)]
    code: StatusCode,
    status: u16,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub fn new(code: StatusCode, detail: impl Into<String>) -> Self {
        let title = code.canonical_reason().unwrap_or("Error");
        Self { code, status: code.as_u16(), title, detail: detail.into() }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn no_camera(name: &str) -> Self {
        Self::not_found(format!("no camera is named `{name}`; GET /api/cameras lists them"))
    }

    pub fn no_event(id: &str) -> Self {
        Self::not_found(format!("no event has the id `{id}`; it may have grown too old to be kept"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem is plain data");
        let kind = HeaderValue::from_static("application/problem+json");
        (self.code, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The log names the file; the outside need not know where the daemon keeps its things.
        tracing::error!(%error, "the store failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the store failed: {} ({})", error.problem, error.remedy),
        )
    }
}

impl From<QueryRejection> for Problem {
    fn from(error: QueryRejection) -> Self {
        Self::bad_request(error.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(error: JsonRejection) -> Self {
        Self::bad_request(error.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(error: PathRejection) -> Self {
        Self::bad_request(error.body_text())
    }
}

impl From<LearnRefused> for Problem {
    fn from(error: LearnRefused) -> Self {
        let code = match error {
            LearnRefused::NoSuchCamera | LearnRefused::NoSuchDetector => StatusCode::NOT_FOUND,
            LearnRefused::Busy | LearnRefused::Impossible(_) => StatusCode::CONFLICT,
        };
        Self::new(code, error.to_string())
    }
}
