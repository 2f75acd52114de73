//! E-mail: the announcements of a while in one mail, so that a flood of alerts is no flood of mails.

use super::{Deliver, Delivered, Then, message};
use crate::base::Clock;
use crate::config::{Email, EmailTls};
use crate::store::{Letter, Store};
use lettre::message::header::ContentType;
use lettre::message::{Attachment, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Letters that one mail stands for, at most ...
const PAGE: usize = 1000;
/// ... and those of them that its templates are given.
const SHOWN: usize = 50;
/// A mail waits for the newest of its letters to be so old: an alert's picture comes after it.
const SETTLE: Duration = Duration::from_secs(3);
/// Pictures in one mail.
const PICTURES: usize = 5;

pub(super) struct Mailer {
    to: Email,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Monotonic time of the last mail.
    sent: Option<Duration>,
}

impl Mailer {
    pub(super) fn new(to: &Email, store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { to: to.clone(), store, clock, sent: None }
    }

    fn mail(&self, letters: &[&Letter]) -> Result<Message, String> {
        let values = values(letters.iter().map(|letter| message(letter)).collect());
        let subject = self.to.subject.render(&values).map_err(|why| format!("subject: {why}"))?;
        let text = self.to.template.render(&values).map_err(|why| format!("template: {why}"))?;
        let mut parts = MultiPart::mixed().singlepart(SinglePart::plain(text));
        let mut pictured: Vec<&str> = vec![];
        for letter in letters.iter().filter(|letter| letter.announcement.severity.is_some()) {
            let id = &*letter.announcement.about;
            if pictured.contains(&id) || pictured.len() == PICTURES {
                continue;
            }
            // A mail without its picture is better than none.
            if let Ok(Some(picture)) = self.store.snapshot(id) {
                let kind = ContentType::parse("image/jpeg").expect("a type of content");
                parts = parts.singlepart(Attachment::new(format!("{id}.jpg")).body(picture, kind));
                pictured.push(id);
            }
        }
        let mut mail = Message::builder().subject(subject.lines().next().unwrap_or_default());
        mail = mail.from(self.to.from.parse().map_err(|error| format!("from: {error}"))?);
        for address in &self.to.to {
            mail = mail.to(address.parse().map_err(|error| format!("to: {error}"))?);
        }
        mail.multipart(parts).map_err(|error| error.to_string())
    }

    fn transport(&self) -> Result<SmtpTransport, String> {
        let parameters = || {
            let mut made = TlsParameters::builder(self.to.host.clone());
            if let Some(certificates) = &self.to.ca {
                made = made.certificate_store(CertificateStore::None);
                for der in certificates {
                    made = made.add_root_certificate(Certificate::from_der(der.clone())?);
                }
            }
            made.build_rustls()
        };
        let tls = match self.to.tls {
            EmailTls::None => Ok(Tls::None),
            EmailTls::Starttls => parameters().map(Tls::Required),
            EmailTls::Tls => parameters().map(Tls::Wrapper),
        };
        let made = SmtpTransport::builder_dangerous(&self.to.host)
            .port(self.to.port)
            .timeout(Some(self.to.timeout))
            .tls(tls.map_err(|error| format!("TLS: {error}"))?);
        Ok(match (&self.to.user, &self.to.password) {
            (Some(user), Some(password)) => {
                made.credentials(Credentials::new(user.0.clone(), password.0.clone())).build()
            }
            _ => made.build(),
        })
    }
}

/// What templates are given.
fn values(mut letters: Vec<Value>) -> Value {
    let count = letters.len();
    letters.truncate(SHOWN);
    let first = letters.first().cloned();
    json!({ "count": count, "more": count - letters.len(), "first": first, "letters": letters })
}

impl Deliver for Mailer {
    fn page(&self) -> usize {
        PAGE
    }

    fn deliver(&mut self, letters: &[&Letter]) -> Delivered {
        let now = self.clock.monotonic();
        let early = self.sent.map_or(Duration::ZERO, |at| (at + self.to.at_most_every).saturating_sub(now));
        if !early.is_zero() {
            return Delivered { taken: 0, then: Then::NotBefore(early) };
        }
        let newest =
            letters.last().map_or(0, |letter| self.clock.now().duration_since(letter.time).as_millis());
        let young = u64::try_from(newest).ok().map(Duration::from_millis).filter(|age| *age < SETTLE);
        if let Some(age) = young {
            return Delivered { taken: 0, then: Then::NotBefore(SETTLE - age) };
        }
        let mail = match self.mail(letters) {
            Ok(mail) => mail,
            Err(why) => return Delivered { taken: 0, then: Then::Refused(why) },
        };
        match self.transport().and_then(|server| match server.send(&mail) {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.is_permanent() => Ok(Err(format!("the server refuses: {error}"))),
            Err(error) => Err(error.to_string()),
        }) {
            Ok(Ok(())) => {
                self.sent = Some(now);
                Delivered { taken: letters.len(), then: Then::Done }
            }
            Ok(Err(why)) => Delivered { taken: 0, then: Then::Refused(why) },
            Err(why) => Delivered { taken: 0, then: Then::Later(why) },
        }
    }
}
