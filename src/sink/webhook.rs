//! A webhook: each announcement posted, signed, to an address that answers with a status.

use super::{Deliver, Delivered, Then, address, message};
use crate::base::Clock;
use crate::config::Webhook;
use crate::store::Letter;
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io;
use std::sync::Arc;
use ureq::config::Config;
use ureq::http::{StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

/// Bytes of an answer that are read, so that its connection can be used again; nobody looks at them.
const ANSWER: u64 = 64 << 10;

pub(super) struct Hook {
    to: Webhook,
    agent: Agent,
    clock: Arc<dyn Clock>,
}

impl Hook {
    pub(super) fn new(to: &Webhook, clock: Arc<dyn Clock>) -> Self {
        let roots = match &to.ca {
            None => RootCerts::WebPki,
            Some(certificates) => RootCerts::from(
                certificates.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()),
            ),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Who answers could send the alert, and its signature, anywhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy would resolve names itself, and reach what is refused here.
            .proxy(None)
            .timeout_global(Some(to.timeout))
            .user_agent(concat!("sigmawatch/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Guarded::default());
        Self { to: to.clone(), agent, clock }
    }

    /// `Ok(None)`: taken.
    fn post(&self, letter: &Letter) -> Result<(), Then> {
        let message = message(letter);
        let body = match &self.to.template {
            None => message.to_string(),
            Some(template) => {
                template.render(&message).map_err(|why| Then::Refused(format!("template: {why}")))?
            }
        };
        let (delivery, time) = (letter.delivery(), self.clock.now().as_second().to_string());
        let mut request = self
            .agent
            .post(&self.to.url)
            .header("Content-Type", &self.to.content_type)
            .header("X-Sigmawatch-Delivery", &delivery)
            .header("X-Sigmawatch-Timestamp", &time);
        if let Some(secret) = &self.to.secret {
            let signed = signature(secret.0.as_bytes(), &time, &delivery, body.as_bytes());
            request = request.header("X-Sigmawatch-Signature", format!("v1={signed}"));
        }
        if let Some(token) = &self.to.token {
            request = request.header("Authorization", format!("Bearer {}", token.0));
        } else if let (Some(user), Some(password)) = (&self.to.user, &self.to.password) {
            let both = base64::prelude::BASE64_STANDARD.encode(format!("{}:{}", user.0, password.0));
            request = request.header("Authorization", format!("Basic {both}"));
        }
        let mut answer = request.send(body).map_err(|error| Then::Later(self.explain(&error)))?;
        let status = answer.status();
        // What it says beside the status changes nothing.
        let _ = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
        let answered = format!("it answers {status}");
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Then::Later(answered)),
            _ if status.is_server_error() => Err(Then::Later(answered)),
            _ if status.is_redirection() => {
                Err(Then::Refused(format!("{answered}; redirections are not followed: name the new address")))
            }
            _ => Err(Then::Refused(answered)),
        }
    }

    /// Without the URL, which may hold a secret.
    fn explain(&self, error: &Error) -> String {
        match error {
            Error::Timeout(_) => format!("no whole answer within {:.0} s", self.to.timeout.as_secs_f64()),
            Error::HostNotFound => "there is no such host".into(),
            Error::Io(error) => error.to_string(),
            Error::Tls(_) | Error::Rustls(_) => format!("TLS: {error}"),
            Error::Protocol(_) => format!("the answer is not HTTP: {error}"),
            Error::ConnectionFailed => "no connection".into(),
            _ => "the request cannot be sent".into(),
        }
    }
}

impl Deliver for Hook {
    fn page(&self) -> usize {
        8
    }

    fn deliver(&mut self, letters: &[&Letter]) -> Delivered {
        for (taken, letter) in letters.iter().enumerate() {
            if let Err(then) = self.post(letter) {
                return Delivered { taken, then };
            }
        }
        Delivered { taken: letters.len(), then: Then::Done }
    }
}

/// HMAC-SHA256 (RFC 2104) over `TIME.DELIVERY.BODY`, lower-case hexadecimal.
fn signature(secret: &[u8], time: &str, delivery: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    for part in [time.as_bytes(), b".", delivery.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Resolves names, and refuses those that mean an address that is not to be reached. The connection is made to what
/// was looked at here.
#[derive(Debug, Default)]
struct Guarded(DefaultResolver);

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        match found.iter().find_map(|socket| address::refused(socket.ip())) {
            None => Ok(found),
            Some(why) => {
                let message = format!("the host is at {why}, which no sink may reach");
                Err(Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, message)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_any_hmac() {
        // python3 -c 'import hmac; print(hmac.new(b"key", b"17.e.1.{}", "sha256").hexdigest())'
        assert_eq!(
            signature(b"key", "17", "e.1", b"{}"),
            "ebe35ce0de883fe964f148aeab3951105c1472f7aa3ea3b4bbbbd22a5432a0bc"
        );
    }
}
