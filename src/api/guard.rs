//! What stands before every route: who may ask, and headers that keep browsers strict.

use super::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};

/// The names by which a server on loopback may be asked for.
#[derive(Debug, Clone)]
pub struct Guard {
    /// `None`: any, since a server on a network cannot know its names.
    hosts: Option<Vec<String>>,
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
    pub fn new(listen: SocketAddr) -> Self {
        let hosts = listen.ip().is_loopback().then(|| {
            let own = match listen.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned(), own]
        });
        Self { hosts }
    }

    /// A page of another site could have its own name resolve to this machine and then read everything
    /// (DNS rebinding); it cannot change the Host header, which gives that name.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        let host = text(headers, &header::HOST).unwrap_or_default();
        let name = if host.starts_with('[') {
            host.find(']').map_or(host, |end| &host[..=end])
        } else {
            host.split(':').next().unwrap_or_default()
        };
        if hosts.iter().any(|h| h.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this server listens on loopback and only answers to localhost; set `http.listen` to an address \
             of the network to ask for it by other names",
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

/// Lets a request through or answers it, and puts the headers on every answer.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let allowed = guard
        .check_host(request.headers())
        .and_then(|()| Guard::check_origin(request.method(), request.headers()));
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn host_ok(listen: &str, host: &'static str) -> bool {
        Guard::new(listen.parse().expect("an address")).check_host(&headers(&[("host", host)])).is_ok()
    }

    #[test]
    fn loopback_answers_to_its_own_names_only() {
        for host in ["localhost:8930", "LOCALHOST", "127.0.0.1:1", "[::1]:8930", "[::1]"] {
            assert!(host_ok("127.0.0.1:8930", host), "{host}");
        }
        for host in
            ["evil.example:8930", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "::1"]
        {
            assert!(!host_ok("127.0.0.1:8930", host), "{host}");
        }
        assert!(host_ok("127.0.0.2:8930", "127.0.0.2:8930"));
        assert!(host_ok("0.0.0.0:8930", "gate.example"), "on a network, any name");
        let none = Guard::new("127.0.0.1:1".parse().expect("an address")).check_host(&HeaderMap::new());
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
