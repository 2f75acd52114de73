//! What stands before every route: who may ask, and headers that keep browsers strict.

use super::problem::{Problem, finished};
use super::routes::blocking;
use super::serve::Shared;
use crate::access::{self, Caller, Credential, Rule, Scope};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

/// The names by which the server may be asked for.
#[derive(Debug, Clone)]
pub struct Guard {
    hosts: Vec<String>,
    /// By any address, too, since a server on all addresses of a machine cannot know them. A name is what a page of
    /// another site would need.
    any_address: bool,
}

const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

impl Guard {
    /// `hosts`: what the configuration adds.
    pub fn new(listen: SocketAddr, hosts: &[String]) -> Self {
        let own = match listen.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let known = ["localhost", "127.0.0.1", "[::1]", &own].map(str::to_owned);
        Self {
            hosts: known.into_iter().chain(hosts.iter().cloned()).collect(),
            any_address: !listen.ip().is_loopback(),
        }
    }

    /// A page of another site could have its own name resolve to this machine and then read everything
    /// (DNS rebinding); it cannot change the Host header, which gives that name.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = text(headers, &header::HOST).unwrap_or_default();
        let name = if host.starts_with('[') {
            host.find(']').map_or(host, |end| &host[..=end])
        } else {
            host.split(':').next().unwrap_or_default()
        };
        let address = || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        if self.hosts.iter().any(|h| h.eq_ignore_ascii_case(name)) || self.any_address && address() {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this server does not answer to this host name, only to localhost and to its address; add further names \
             to `http.hosts` of its configuration",
        ))
    }

    /// A page of another site could have the browser send a request that changes something. Browsers say
    /// where a request comes from; other programs say nothing and are let through.
    fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        if method.is_safe() {
            return Ok(());
        }
        let site_ok = text(headers, &HeaderName::from_static("sec-fetch-site"))
            .is_none_or(|site| site == "same-origin" || site == "none");
        let host = text(headers, &header::HOST).unwrap_or_default();
        let origin_ok = text(headers, &header::ORIGIN).is_none_or(|origin| {
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        });
        if site_ok && origin_ok {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "requests that change something are not taken from other sites",
        ))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // One that is not text is no name of ours.
    headers.get(name).map(|v| v.to_str().unwrap_or("\u{fffd}"))
}

/// Name of the cookie. Browsers take one of the latter name only by TLS and for the whole host.
pub fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-sigmawatch" } else { "sigmawatch" }
}

/// What the request shows to be recognised by: a bearer token, else a session.
pub fn credential(headers: &HeaderMap, secure: bool) -> Option<Credential> {
    if let Some(given) = text(headers, &header::AUTHORIZATION) {
        // Another scheme is no token of ours.
        let token = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return Some(Credential::token(token.map_or("", |(_, token)| token.trim())));
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let ours =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let mut ours = ours.filter(|(name, _)| *name == cookie_name(secure));
    ours.next().map(|(_, secret)| Credential::session(secret))
}

/// Lets a request through or answers it, and puts the headers on every answer.
pub async fn guard(
    State((guard, shared)): State<(Guard, Arc<Shared>)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let param = params.ok().and_then(|params| params.iter().next().map(|(_, value)| value.to_owned()));
    let admitted = match guard
        .check_host(request.headers())
        .and_then(|()| Guard::check_origin(request.method(), request.headers()))
    {
        Ok(()) => admit(&shared, &mut request, param).await,
        Err(problem) => Err(problem),
    };
    let who = request.extensions().get::<Caller>().and_then(|caller| caller.name.clone());
    let response = match admitted {
        Ok(()) => unharmed(next.run(request)).await,
        Err(problem) => problem.into_response(),
    };
    let mut response = finished(response, &path).await;
    if !method.is_safe() && !path.starts_with("/api/log") {
        let (status, who) = (response.status().as_u16(), who.as_deref().unwrap_or("-"));
        tracing::info!(target: "audit", user = who, %method, path, status, "a change was asked for");
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Finds out who asks, and holds it against the table; the handlers find the [`Caller`] in the extensions.
async fn admit(shared: &Arc<Shared>, request: &mut Request, param: Option<String>) -> Result<(), Problem> {
    // Nothing is routed there: the fallback answers, and knows nothing of anybody.
    let Some(matched) = request.extensions().get::<MatchedPath>().cloned() else { return Ok(()) };
    let Some(rule) = access::rule(request.method().as_str(), matched.as_str()) else {
        let of = |rule: &&Rule| rule.path == matched.as_str();
        let known: Vec<&str> = access::TABLE.iter().filter(of).map(|rule| rule.method).collect();
        return Err(Problem::no_method(&known));
    };
    let access = &shared.parts.access;
    let shown = credential(request.headers(), shared.secure);
    let caller = match (access.is_needed(), &shown) {
        (false, _) => Some(Caller::anyone()),
        (true, None) => None,
        (true, Some(shown)) => access.recognise(shown),
    };
    let limited = caller.as_ref().is_some_and(|caller| caller.cameras.is_some());
    let camera = match (rule.scope, param) {
        (Scope::Camera, param) => param,
        // Only then it costs a look into the store.
        (Scope::Event, Some(id)) if limited => camera_of(shared, id).await?,
        _ => None,
    };
    access::allows(rule, caller.as_ref(), camera.as_deref())?;
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    if let Some(shown) = shown.filter(|_| access.is_needed()) {
        request.extensions_mut().insert(shown);
    }
    Ok(())
}

/// The camera of an event.
async fn camera_of(shared: &Arc<Shared>, id: String) -> Result<Option<String>, Problem> {
    let shared = shared.clone();
    blocking(move || Ok(shared.parts.store.event(&id)?.map(|event| event.camera.to_string()))).await
}

/// What the handler answers, or 500 where it panics: others' requests on the connection go on.
async fn unharmed(answer: impl Future<Output = Response>) -> Response {
    let mut answer = std::pin::pin!(answer);
    let caught = std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    });
    caught.await.unwrap_or_else(|| {
        let detail = "the daemon has a fault here, and its log says which; please report it";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn host_ok(listen: &str, host: &'static str) -> bool {
        Guard::new(listen.parse().expect("an address"), &["cam.example".into()])
            .check_host(&headers(&[("host", host)]))
            .is_ok()
    }

    #[test]
    fn the_server_answers_to_its_own_names_only() {
        for host in ["localhost:8930", "LOCALHOST", "127.0.0.1:1", "[::1]:8930", "[::1]"] {
            assert!(host_ok("127.0.0.1:8930", host), "{host}");
        }
        for host in
            ["evil.example:8930", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "::1"]
        {
            assert!(!host_ok("127.0.0.1:8930", host), "{host}");
        }
        assert!(host_ok("127.0.0.2:8930", "127.0.0.2:8930"));
        assert!(host_ok("127.0.0.1:8930", "Cam.Example:443"), "one of the configuration");
        assert!(!host_ok("127.0.0.1:8930", "192.168.1.2"));
        for host in ["192.168.1.2:8930", "[fe80::1]", "localhost", "cam.example"] {
            assert!(host_ok("0.0.0.0:8930", host), "on a network: {host}");
        }
        assert!(!host_ok("0.0.0.0:8930", "evil.example"), "a name must be known there, too");
        let none = Guard::new("127.0.0.1:1".parse().expect("an address"), &[]).check_host(&HeaderMap::new());
        assert!(none.is_err());
    }

    #[test]
    fn changes_are_taken_from_this_site_and_from_programs() {
        let ok = |method: Method, pairs: &[(&'static str, &'static str)]| {
            Guard::check_origin(&method, &headers(pairs)).is_ok()
        };
        let host = ("host", "localhost:8930");
        assert!(ok(Method::POST, &[host]), "a program");
        assert!(ok(
            Method::POST,
            &[host, ("origin", "http://localhost:8930"), ("sec-fetch-site", "same-origin")]
        ));
        assert!(!ok(Method::POST, &[host, ("origin", "http://evil.example")]));
        assert!(
            !ok(Method::POST, &[host, ("origin", "http://localhost:9999")]),
            "another port is another site"
        );
        assert!(!ok(Method::POST, &[host, ("origin", "null")]));
        assert!(!ok(Method::POST, &[host, ("sec-fetch-site", "cross-site")]));
        assert!(!ok(Method::POST, &[host, ("sec-fetch-site", "same-site")]));
        assert!(ok(Method::GET, &[host, ("sec-fetch-site", "cross-site")]), "a link to the page");
    }
}
