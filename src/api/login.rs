//! Logging in and out, and who one is.

use super::dto::{LoginBody, MeDto};
use super::guard::{cookie_name, credential};
use super::problem::Problem;
use super::routes::blocking;
use super::serve::Shared;
use crate::access::{Caller, LoginRefused, SESSION_LIFETIME};
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use std::net::SocketAddr;
use std::sync::Arc;

/// Longest name and longest password, bytes.
const LONGEST: usize = 1024;

type Api = State<Arc<Shared>>;

/// `POST /api/login`: a session in a cookie that scripts cannot read and other sites cannot send.
pub async fn login(
    State(api): Api,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Json<LoginBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(LoginBody { name, password }) = body?;
    if name.len() > LONGEST || password.len() > LONGEST {
        return Err(Problem::bad_request(format!("name and password have at most {LONGEST} bytes")));
    }
    blocking(move || {
        let shown: String = name.chars().take(64).collect();
        let address = peer.ip();
        match api.parts.access.login(&name, &password, address) {
            Ok((caller, secret)) => {
                tracing::info!(target: "audit", user = shown, %address, "logged in");
                let cookie = cookie(&secret, SESSION_LIFETIME.as_secs(), api.secure);
                Ok(([(header::SET_COOKIE, cookie)], Json(of(&caller, true))).into_response())
            }
            Err(refused) => {
                tracing::warn!(target: "audit", user = ?shown, %address, "a login was refused: {refused}");
                Err(refused.into())
            }
        }
    })
    .await
}

/// `POST /api/logout`: ends the session, if there is one.
pub async fn logout(State(api): Api, headers: HeaderMap) -> Response {
    if let Some(shown) = credential(&headers, api.secure) {
        if let Some(name) = api.parts.access.recognise(&shown).and_then(|caller| caller.name) {
            tracing::info!(target: "audit", user = &*name, "logged out");
        }
        api.parts.access.logout(&shown);
    }
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie("", 0, api.secure))]).into_response()
}

/// `GET /api/me`.
pub async fn me(State(api): Api, Extension(caller): Extension<Caller>) -> Json<MeDto> {
    Json(of(&caller, api.parts.access.is_needed()))
}

fn of(caller: &Caller, login: bool) -> MeDto {
    MeDto {
        name: caller.name.as_deref().map(str::to_owned),
        role: caller.role,
        cameras: caller.cameras.as_deref().map(<[_]>::to_vec),
        login,
    }
}

fn cookie(secret: &str, seconds: u64, secure: bool) -> String {
    let name = cookie_name(secure);
    let by_tls = if secure { "; Secure" } else { "" };
    format!("{name}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{by_tls}")
}

impl From<LoginRefused> for Problem {
    fn from(refused: LoginRefused) -> Self {
        let code = match refused {
            LoginRefused::Wrong => StatusCode::UNAUTHORIZED,
            LoginRefused::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
            LoginRefused::Busy => StatusCode::SERVICE_UNAVAILABLE,
            LoginRefused::NoUsers => StatusCode::CONFLICT,
        };
        let problem = Self::new(code, refused.to_string());
        match refused {
            LoginRefused::Wait(wait) => problem.after(wait),
            LoginRefused::Busy => problem.after(std::time::Duration::from_secs(1)),
            LoginRefused::Wrong | LoginRefused::NoUsers => problem,
        }
    }
}
