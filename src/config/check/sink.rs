//! The rules of a `[[sink]]`.

use super::super::location::{expand, split};
use super::super::raw::Section;
use super::super::sample::{sample_alert, sample_camera_state};
use super::super::sink::{Email, EmailTls, Grade, Jsonl, Mqtt, Secret, Sink, SinkKind, To, Wants, Webhook};
use super::Check;
use crate::base::{CameraName, Template};

/// Keys that every kind of sink has.
const COMMON: &[&str] =
    &["name", "kind", "cameras", "min_severity", "changes", "camera_states", "give_up_after"];

const WEBHOOK: &[&str] = &[
    "url",
    "secret",
    "secret_file",
    "token",
    "token_file",
    "user",
    "password",
    "password_file",
    "template",
    "content_type",
    "timeout",
    "ca_file",
];

const MQTT: &[&str] = &[
    "url",
    "user",
    "password",
    "password_file",
    "timeout",
    "ca_file",
    "prefix",
    "qos",
    "discovery",
    "scores",
    "commands",
    "client_id",
];
const EMAIL: &[&str] = &[
    "server",
    "tls",
    "user",
    "password",
    "password_file",
    "timeout",
    "ca_file",
    "from",
    "to",
    "subject",
    "template",
    "at_most_every",
];
/// What a mail says unless told otherwise.
const MAIL: &str = "{% for letter in letters %}{{ letter.time }}  {{ letter.text }}\n{% endfor %}\
                    {% if more %}and {{ more }} more\n{% endif %}";

impl Check<'_, '_> {
    /// `cameras`: the names there are.
    pub fn sink(&mut self, section: &Section, cameras: &[CameraName]) -> Option<Sink> {
        for key in ["name", "kind"].iter().filter(|key| !section.has(key)) {
            let remedy = match *key {
                "name" => "add name = \"...\", 1 to 64 of a-z, 0-9, \"-\" and \"_\"".into(),
                _ => format!("add kind = \"...\", one of {}", SinkKind::NAMES.join(", ")),
            };
            self.problem(section, key, "missing", remedy);
        }
        let name: String = section.find("name").unwrap_or_default();
        if ["store", "stream"].contains(&&*name) {
            self.problem(
                section,
                "name",
                "taken: metrics know the daemon's own by this name",
                "choose another",
            );
        }
        let kind = SinkKind::named(&section.find::<String>("kind")?)?;
        let own: &[&str] = match kind {
            SinkKind::Webhook => WEBHOOK,
            SinkKind::Mqtt => MQTT,
            SinkKind::Email => EMAIL,
            SinkKind::Jsonl => &["path", "max_size", "keep_files"],
        };
        let unused: Vec<&str> =
            section.given().filter(|key| !COMMON.contains(key) && !own.contains(key)).collect();
        for key in unused {
            self.warn(section, key, format!("has no effect on a \"{kind}\" sink"), "remove it");
        }
        let wants = self.wants(section, kind, cameras);
        let to = match kind {
            SinkKind::Webhook => To::Webhook(Box::new(self.webhook(section, &wants)?)),
            SinkKind::Mqtt => To::Mqtt(Box::new(self.mqtt(section, &name)?)),
            SinkKind::Email => To::Email(Box::new(self.email(section)?)),
            SinkKind::Jsonl => To::Jsonl(self.jsonl(section)?),
        };
        Some(Sink { name, wants, give_up_after: section.get("give_up_after"), to })
    }

    fn wants(&mut self, section: &Section, kind: SinkKind, cameras: &[CameraName]) -> Wants {
        let wanted: Vec<String> = section.find("cameras").unwrap_or_default();
        for stranger in wanted.iter().filter(|name| !cameras.iter().any(|c| **c == ***name)) {
            let known = cameras.iter().map(|c| c.to_string()).collect::<Vec<_>>().join(", ");
            let message = format!("there is no camera `{stranger}`");
            self.problem(section, "cameras", message, format!("name some of {known}"));
        }
        let changes: Option<Vec<String>> = section.find("changes");
        let usual: &[&str] = if kind == SinkKind::Email { &["new"] } else { &["new", "update", "end"] };
        let has = |change: &str| match &changes {
            Some(changes) => changes.iter().any(|c| c == change),
            None => usual.contains(&change),
        };
        Wants {
            cameras: wanted.into_iter().map(Into::into).collect(),
            min_severity: Grade::named(&section.get::<String>("min_severity")).unwrap_or(Grade::Low),
            new: has("new"),
            update: has("update"),
            end: has("end"),
            camera_states: section.get("camera_states"),
        }
    }

    /// The value of a key that this kind needs.
    fn needed<T: super::super::raw::FromValue>(
        &mut self,
        section: &Section,
        key: &str,
        example: &str,
    ) -> Option<T> {
        let found = section.find(key);
        if found.is_none() && !section.has(key) {
            let kind: String = section.find("kind").unwrap_or_default();
            self.problem(
                section,
                key,
                format!("missing for a \"{kind}\" sink"),
                format!("add {key} = {example}"),
            );
        }
        found
    }

    fn jsonl(&mut self, section: &Section) -> Option<Jsonl> {
        let written: String = self.needed(section, "path", "\"alerts.jsonl\"")?;
        let path = self.around.dir.join(written);
        if path.is_dir() {
            self.problem(section, "path", "this is a folder", "name a file; it is made if it does not exist");
        } else if !path.parent().is_some_and(|dir| dir.is_dir()) {
            self.problem(
                section,
                "path",
                "its folder does not exist",
                "make the folder, or name a file elsewhere",
            );
        }
        Some(Jsonl {
            path,
            max_size: section.get::<u64>("max_size") << 20,
            keep_files: section.get::<u64>("keep_files") as usize,
        })
    }

    fn webhook(&mut self, section: &Section, wants: &Wants) -> Option<Webhook> {
        let written: String = self.needed(section, "url", "\"https://example.org/alerts\"")?;
        let url = match expand(&written, self.around.env) {
            Ok(url) => url,
            Err(message) => {
                let remedy = "set the variable, or write \"$${\" for a plain \"${\"";
                self.problem(section, "url", message, remedy);
                return None;
            }
        };
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let host = url
            .split_once("://")
            .map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let odd = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii();
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            self.problem(
                section,
                "url",
                "not an HTTP address",
                "write https://HOST/PATH or http://HOST/PATH",
            );
        } else if host.is_empty() || url.contains(odd) {
            self.problem(
                section,
                "url",
                "not a URL",
                "write https://HOST/PATH, percent-encoded where needed",
            );
        } else if split(&url).is_ok_and(|parts| parts.user.is_some()) {
            let remedy = "give them as user and password, or as token";
            self.problem(section, "url", "credentials inside the URL", remedy);
        }
        let content_type: String = section.get("content_type");
        let template = self.template(section, "template", |template, check| {
            let mut samples = vec![sample_alert()];
            samples.extend(wants.camera_states.then(sample_camera_state));
            for sample in samples {
                let topic = sample["topic"].as_str().unwrap_or_default();
                let made = template.render(&sample).and_then(|text| match content_type.as_str() {
                    "application/json" => serde_json::from_str(&text)
                        .map(|_: serde_json::Value| ())
                        .map_err(|error| format!("makes no JSON: {error}; `| tojson` quotes a value")),
                    _ => Ok(()),
                });
                if let Err(message) = made {
                    check(format!("of {topic}: {message}"));
                }
            }
        });
        Some(Webhook {
            url,
            secret: self.secret_of(section, "secret", "secret_file").map(Secret),
            token: self.secret_of(section, "token", "token_file").map(Secret),
            user: self.secret(section, "user").map(Secret),
            password: self.secret_of(section, "password", "password_file").map(Secret),
            template,
            content_type,
            timeout: section.get("timeout"),
            ca: self.certificates(section),
        })
    }

    /// A template, tried by `test`, which says what is wrong.
    fn template(
        &mut self,
        section: &Section,
        key: &str,
        test: impl FnOnce(&Template, &mut dyn FnMut(String)),
    ) -> Option<Template> {
        let text: String = section.find(key)?;
        let remedy = "mend the template; docs/guide/integrators.md lists what it may name";
        match Template::new(&text) {
            Ok(template) => {
                let mut wrong = vec![];
                test(&template, &mut |message| wrong.push(message));
                wrong.into_iter().for_each(|message| self.problem(section, key, message, remedy));
                Some(template)
            }
            Err(message) => {
                self.problem(section, key, message, remedy);
                None
            }
        }
    }

    /// The certificates in `ca_file`, as DER.
    fn certificates(&mut self, section: &Section) -> Option<Vec<Vec<u8>>> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let path = self.around.dir.join(section.find::<String>("ca_file")?);
        let read =
            CertificateDer::pem_file_iter(&path).and_then(|found| found.collect::<Result<Vec<_>, _>>());
        let message = match read {
            Ok(found) if !found.is_empty() => return Some(found.iter().map(|der| der.to_vec()).collect()),
            Ok(_) => format!("no certificate in {}", path.display()),
            Err(error) => format!("cannot read {}: {error}", path.display()),
        };
        self.problem(section, "ca_file", message, "name a PEM file of certificates");
        None
    }

    fn mqtt(&mut self, section: &Section, name: &str) -> Option<Mqtt> {
        let url: String = self.needed(section, "url", "\"mqtt://192.168.1.5:1883\"")?;
        let parsed = match url.split_once("://") {
            Some(("mqtt", rest)) => host_and_port(rest, 1883).map(|at| (at, false)),
            Some(("mqtts", rest)) => host_and_port(rest, 8883).map(|at| (at, true)),
            _ => None,
        };
        let Some(((host, port), tls)) = parsed else {
            let remedy =
                "write mqtt://HOST[:PORT] or mqtts://HOST[:PORT]; user and password have keys of their own";
            self.problem(section, "url", "not the address of a broker", remedy);
            return None;
        };
        for key in ["prefix", "discovery"] {
            let topic: String = section.get(key);
            if topic.contains(['+', '#', '\0']) || topic.starts_with('/') || topic.ends_with('/') {
                self.problem(
                    section,
                    key,
                    "no topic can begin so",
                    "write words with \"/\" between them, such as \"house/a\"",
                );
            }
        }
        let user = self.secret(section, "user").map(Secret);
        let password = self.secret_of(section, "password", "password_file").map(Secret);
        if password.is_some() && !section.has("user") {
            self.problem(section, "user", "missing beside the password", "add user = \"...\"");
        }
        Some(Mqtt {
            host,
            port,
            tls,
            ca: self.certificates(section),
            user,
            password,
            client_id: section.find("client_id").unwrap_or_else(|| format!("sigmawatch-{name}")),
            prefix: section.get("prefix"),
            qos: section.get::<u64>("qos") as u8,
            discovery: Some(section.get::<String>("discovery")).filter(|prefix| prefix != "none"),
            scores: section.get("scores"),
            commands: section.get("commands"),
            timeout: section.get("timeout"),
        })
    }

    fn email(&mut self, section: &Section) -> Option<Email> {
        let server: Option<String> = self.needed(section, "server", "\"smtp.example.org:587\"");
        let from: Option<String> = self.needed(section, "from", "\"sigmawatch@example.org\"");
        let to: Option<Vec<String>> = self.needed(section, "to", "[\"guard@example.org\"]");
        let addresses =
            from.iter().map(|from| ("from", from)).chain(to.iter().flatten().map(|to| ("to", to)));
        for (key, address) in addresses {
            if address.parse::<lettre::message::Mailbox>().is_err() {
                self.problem(section, key, "not an e-mail address", "write NAME@HOST");
            }
        }
        if to.as_ref().is_some_and(Vec::is_empty) {
            self.problem(section, "to", "nobody gets the mail", "name somebody");
        }
        let tls = EmailTls::named(&section.get::<String>("tls")).unwrap_or(EmailTls::Starttls);
        let usual = match tls {
            EmailTls::Starttls => 587,
            EmailTls::Tls => 465,
            EmailTls::None => 25,
        };
        let server = server?;
        let Some((host, port)) = host_and_port(&server, usual) else {
            self.problem(section, "server", "not HOST[:PORT]", "write for example \"smtp.example.org:587\"");
            return None;
        };
        let letters = vec![sample_alert(), sample_camera_state()];
        let values = serde_json::json!({ "count": 3, "more": 1, "first": letters[0], "letters": letters });
        let tried = |check: &mut Self, key| {
            check.template(section, key, |template, wrong| {
                template.render(&values).map_or_else(wrong, drop);
            })
        };
        let subject = tried(self, "subject")?;
        let template = match section.has("template") {
            true => tried(self, "template")?,
            false => Template::new(MAIL).expect("a constant"),
        };
        Some(Email {
            host,
            port,
            tls,
            ca: self.certificates(section),
            user: self.secret(section, "user").map(Secret),
            password: self.secret_of(section, "password", "password_file").map(Secret),
            from: from?,
            to: to?,
            subject,
            template,
            at_most_every: section.get("at_most_every"),
            timeout: section.get("timeout"),
        })
    }
}

/// `HOST[:PORT]`, an IPv6 address in brackets.
fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (text, usual),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let odd = |c: char| c.is_whitespace() || c.is_control() || ['/', '@', '?', '#', '[', ']'].contains(&c);
    (!host.is_empty() && !host.contains(odd)).then(|| (host.to_owned(), port))
}
