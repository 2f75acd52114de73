//! Errors as RFC 9457 problem documents: what is wrong, and what to do.

use super::LearnRefused;
use crate::access::Refusal;
use crate::store::StoreError;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Problem {
    #[serde(skip)]
    code: StatusCode,
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: Box<str>,
    /// The path that was asked for.
    instance: Box<str>,
    /// Seconds to wait before another try.
    #[serde(skip)]
    retry_after: Option<u32>,
    /// Methods that the path knows, for the header of this name.
    #[serde(skip)]
    allow: Option<Box<str>>,
}

impl Problem {
    pub fn new(code: StatusCode, detail: impl Into<String>) -> Self {
        let title = code.canonical_reason().unwrap_or("Error");
        Self {
            code,
            kind: "about:blank",
            title,
            status: code.as_u16(),
            detail: detail.into().into(),
            instance: Box::default(),
            retry_after: None,
            allow: None,
        }
    }

    /// Says when to try again.
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs_f64().ceil() as u32);
        self
    }

    /// `known`: the methods that the path knows.
    pub fn no_method(known: &[&str]) -> Self {
        let allow: Vec<&str> = known
            .iter()
            .flat_map(|method| if *method == "GET" { vec!["GET", "HEAD"] } else { vec![*method] })
            .collect();
        let detail = format!("this path knows {} only", allow.join(" and "));
        Self { allow: Some(allow.join(",").into()), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
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
    /// The status and the problem itself; [`finished`] writes the body once the path is known.
    fn into_response(self) -> Response {
        let mut response = self.code.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Makes every answer that is an error a problem document, whoever gave it.
pub async fn finished(response: Response, path: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let mut problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        // An answer of the framework's: one line of text. The daemon's own (`/readyz`) is JSON.
        None if parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json") => {
            return Response::from_parts(parts, body);
        }
        None => {
            let text = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
            Problem::new(status, String::from_utf8_lossy(&text))
        }
    };
    problem.instance = path.into();
    let text = serde_json::to_vec(&problem).expect("a problem is plain data");
    let headers = &mut parts.headers;
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(allow) = problem.allow.as_deref().and_then(|allow| allow.parse().ok()) {
        headers.insert(header::ALLOW, allow);
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Response::from_parts(parts, Body::from(text))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Unknown => StatusCode::UNAUTHORIZED,
            Refusal::NoRule | Refusal::Role { .. } | Refusal::Camera => StatusCode::FORBIDDEN,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(error: JsonRejection) -> Self {
        Self::new(error.status(), error.body_text())
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
