//! Where alerts are delivered: what `[[sink]]` means once checked.

use crate::base::{CameraName, Template, choices};
use std::path::PathBuf;
use std::time::Duration;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

choices! {
    /// How grave an alert must be to be told.
    #[derive(PartialOrd, Ord)]
    pub enum Grade { Low = "low", Medium = "medium", High = "high" }
}

choices! {
    /// Kinds of sinks.
    pub enum SinkKind { Webhook = "webhook", Mqtt = "mqtt", Jsonl = "jsonl", Email = "email" }
}

/// A sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// Unique; neither `store` nor `stream`.
    pub name: String,
    pub wants: Wants,
    /// What could not be delivered for this long is given up.
    pub give_up_after: Duration,
    pub to: To,
}

/// What a sink is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Wants {
    /// Empty: every camera.
    pub cameras: Vec<CameraName>,
    pub min_severity: Grade,
    pub new: bool,
    pub update: bool,
    pub end: bool,
    pub camera_states: bool,
}

/// Where a sink delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum To {
    Webhook(Box<Webhook>),
    Mqtt(Box<Mqtt>),
    Jsonl(Jsonl),
    Email(Box<Email>),
}

impl To {
    pub fn kind(&self) -> SinkKind {
        match self {
            To::Webhook(_) => SinkKind::Webhook,
            To::Mqtt(_) => SinkKind::Mqtt,
            To::Jsonl(_) => SinkKind::Jsonl,
            To::Email(_) => SinkKind::Email,
        }
    }
}

/// An address that each announcement is posted to.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    /// `http` or `https`, without credentials; its path may be a secret.
    pub url: String,
    /// Signs what is posted.
    pub secret: Option<Secret>,
    /// Bearer token.
    pub token: Option<Secret>,
    /// Of basic authentication.
    pub user: Option<Secret>,
    pub password: Option<Secret>,
    /// Makes the body; `None`: JSON.
    pub template: Option<Template>,
    pub content_type: String,
    /// Until the whole answer is there.
    pub timeout: Duration,
    /// Certificates (DER) of those who may vouch for the other side; `None`: the usual ones.
    pub ca: Option<Vec<Vec<u8>>>,
}

impl Webhook {
    /// Scheme, host and port of the URL.
    pub fn host(&self) -> &str {
        let start = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[start..].find(['/', '?', '#']).map_or(self.url.len(), |at| start + at);
        &self.url[..end]
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("host", &self.host()).finish_non_exhaustive()
    }
}

/// A file that gets a line of JSON for each announcement.
#[derive(Debug, Clone, PartialEq)]
pub struct Jsonl {
    pub path: PathBuf,
    /// Bytes from which the file is moved to `path.1`, that to `path.2` and so on.
    pub max_size: u64,
    /// Moved files that are kept.
    pub keep_files: usize,
}

/// An MQTT broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// As of a [`Webhook`].
    pub ca: Option<Vec<Vec<u8>>>,
    pub user: Option<Secret>,
    pub password: Option<Secret>,
    /// Unique at the broker.
    pub client_id: String,
    /// What every topic begins with.
    pub prefix: String,
    /// 0, 1 or 2; from 1 on, what the broker acknowledged is told.
    pub qos: u8,
    /// Prefix of Home Assistant's discovery; `None`: no discovery.
    pub discovery: Option<String>,
    /// Newest scores are told, too.
    pub scores: bool,
    /// Whoever may publish at the broker may switch these cameras on and off.
    pub commands: bool,
    /// For the broker's answers.
    pub timeout: Duration,
}

choices! {
    /// How a mail server's connection is encrypted.
    pub enum EmailTls {
        /// From the moment that both have agreed to it; without that no mail is sent.
        Starttls = "starttls",
        /// From the start.
        Tls = "tls",
        None = "none",
    }
}

/// A mail server, and who gets mail.
#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    pub host: String,
    pub port: u16,
    pub tls: EmailTls,
    /// As of a [`Webhook`].
    pub ca: Option<Vec<Vec<u8>>>,
    pub user: Option<Secret>,
    pub password: Option<Secret>,
    pub from: String,
    pub to: Vec<String>,
    pub subject: Template,
    pub template: Template,
    /// What comes sooner after a mail waits, and goes with the next one.
    pub at_most_every: Duration,
    pub timeout: Duration,
}
