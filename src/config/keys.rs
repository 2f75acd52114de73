//! Every key that the configuration knows: its name, its kind and its default, in one table.
//!
//! A new key is one line here, its use in `check`, and its paragraph in `config.toml` (a test holds the
//! two together).

use super::{Baseline, EmailTls, Grade, Provider, Role, Sampler, SceneChange, SinkKind, Transport};
use std::time::Duration;

/// What a key may hold.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    /// Text that is never shown; `${ENV}` is expanded.
    Secret,
    /// A URL, file or device, shown without credentials; `${ENV}` is expanded.
    Location,
    /// A camera's name.
    Name,
    Path,
    Choice(&'static [&'static str]),
    Flag,
    Integer(u64, u64),
    Number(f64, f64),
    Duration(Duration, Duration),
    /// A duration or `"never"`.
    DurationOrNever(Duration, Duration),
    /// Text of several lines with places to fill in.
    Template,
    /// A list of names.
    Names,
    /// A list of some of these.
    Choices(&'static [&'static str]),
    /// `"1/day"` and the like, or `"none"`.
    RateOrNone,
    /// Bytes, with kB, MB, GB or TB.
    Size(u64, u64),
    /// A list of polygons, each a list of corners `[x, y]`, 0 to 1.
    Polygons,
    /// A table of polygons by name.
    Zones,
    /// `"always"`, or a list of spans of the week.
    Schedule,
    /// A name of the time zone database.
    TimeZone,
    /// An IP address and a port.
    Address,
    /// A list of texts.
    Texts,
}

/// What holds where a key is not given, as TOML text; [`crate::config::check`] reads it the way it reads
/// what the user wrote.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    Is(&'static str),
    /// Nothing; the text is an example.
    Nothing(&'static str),
    /// It depends on other keys, as the manual says; the text is an example.
    Depends(&'static str),
    /// It must be given; the text is an example.
    Required(&'static str),
}

impl Default {
    /// A value that may stand there, as TOML text.
    pub fn example(self) -> &'static str {
        match self {
            Default::Is(text) | Default::Nothing(text) | Default::Depends(text) | Default::Required(text) => {
                text
            }
        }
    }
}

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
}

const fn key(name: &'static str, kind: Kind, default: Default) -> Key {
    Key { name, kind, default }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: Duration = seconds(3600);
const DAY: Duration = seconds(86_400);

/// `[http]`
pub const HTTP: &[Key] = &[
    key("listen", Kind::Address, Default::Is("\"127.0.0.1:8710\"")),
    key("hosts", Kind::Texts, Default::Nothing("[\"cameras.example.org\"]")),
    key("tls_cert", Kind::Path, Default::Nothing("\"server.crt\"")),
    key("tls_key", Kind::Path, Default::Nothing("\"server.key\"")),
];

/// `[[user]]`
pub const USER: &[Key] = &[
    key("name", Kind::Name, Default::Required("\"anna\"")),
    key("role", Kind::Choice(&Role::NAMES), Default::Required("\"operator\"")),
    key("password_hash", Kind::Secret, Default::Nothing("\"$argon2id$v=19$m=19456,t=2,p=1$...\"")),
    key("password_hash_file", Kind::Path, Default::Nothing("\"anna.hash\"")),
    key("token_hash", Kind::Secret, Default::Nothing("\"sha256:...\"")),
    key("token_hash_file", Kind::Path, Default::Nothing("\"anna.token\"")),
    key("expires", Kind::Text, Default::Nothing("\"2027-12-31T00:00:00Z\"")),
    key("cameras", Kind::Names, Default::Nothing("[\"plaza\"]")),
];

/// `[store]`
pub const STORE: &[Key] = &[
    key("dir", Kind::Path, Default::Is("\"data\"")),
    key("keep", Kind::Duration(HOUR, seconds(3650 * 86_400)), Default::Is("\"30d\"")),
    key("keep_reviewed", Kind::Duration(HOUR, seconds(3650 * 86_400)), Default::Is("\"365d\"")),
    key("max_size", Kind::Size(100_000_000, 1_000_000_000_000_000), Default::Is("\"20GB\"")),
    key("min_free", Kind::Size(0, 1_000_000_000_000_000), Default::Is("\"1GB\"")),
];

/// `[runtime]`
pub const RUNTIME: &[Key] = &[
    key("onnxruntime", Kind::Path, Default::Is("\"runtime/libonnxruntime.so\"")),
    key("pipelines", Kind::Path, Default::Is("\"pipelines\"")),
    key("workers", Kind::Integer(0, 256), Default::Is("0")),
    key("timezone", Kind::TimeZone, Default::Depends("\"Europe/Berlin\"")),
];

/// `[detector]`, and each `detector` of a camera
pub const DETECTOR: &[Key] = &[
    key("name", Kind::Name, Default::Is("\"main\"")),
    key("extractor", Kind::Text, Default::Is("\"v1\"")),
    key("width", Kind::Integer(64, 1920), Default::Is("360")),
    key("height", Kind::Integer(64, 1920), Default::Is("240")),
    key("fps", Kind::Number(1.0, 60.0), Default::Is("10.0")),
    key("whole_frame", Kind::Flag, Default::Is("false")),
    key("provider", Kind::Choice(&Provider::NAMES), Default::Is("\"cpu\"")),
    key("stride", Kind::Integer(1, 16), Default::Depends("2")),
    key("scorer", Kind::Text, Default::Is("\"diffusion\"")),
    key("start", Kind::Integer(0, 9), Default::Is("6")),
    key("sampler", Kind::Choice(&Sampler::NAMES), Default::Is("\"lms4\"")),
    key("watch_for", Kind::Duration(seconds(20), seconds(7 * 86_400)), Default::Is("\"10m\"")),
    key(
        "learn_again_every",
        Kind::DurationOrNever(seconds(600), seconds(365 * 86_400)),
        Default::Is("\"never\""),
    ),
    key("k", Kind::Number(0.0, 1000.0), Default::Is("3.0")),
    key("budget", Kind::Text, Default::Is("\"none\"")),
    key("open_n", Kind::Integer(1, 100), Default::Is("2")),
    key("open_m", Kind::Integer(1, 100), Default::Is("3")),
    key("close_after", Kind::Duration(Duration::from_millis(100), DAY), Default::Is("\"30s\"")),
    key("hysteresis", Kind::Number(0.0, 1.0), Default::Is("0.0")),
    key("baseline", Kind::Choice(&Baseline::NAMES), Default::Is("\"one\"")),
    key("cool_down", Kind::Duration(Duration::ZERO, DAY), Default::Is("\"0s\"")),
    key("most_alerts", Kind::RateOrNone, Default::Is("\"none\"")),
];

/// `[[camera]]`
pub const CAMERA: &[Key] = &[
    key("name", Kind::Name, Default::Required("\"plaza\"")),
    key("source", Kind::Text, Default::Required("\"rtsp\"")),
    key("location", Kind::Location, Default::Nothing("\"rtsp://192.168.1.20:554/stream1\"")),
    key("user", Kind::Secret, Default::Nothing("\"sigmawatch\"")),
    key("password", Kind::Secret, Default::Nothing("\"${PLAZA_PASSWORD}\"")),
    key("password_file", Kind::Path, Default::Nothing("\"plaza.password\"")),
    key("ca", Kind::Path, Default::Nothing("\"camera-ca.pem\"")),
    key("transport", Kind::Choice(&Transport::NAMES), Default::Is("\"tcp\"")),
    key("live", Kind::Flag, Default::Depends("true")),
    key("real_time", Kind::Flag, Default::Is("true")),
    key("isolate", Kind::Flag, Default::Is("false")),
    key("seed", Kind::Integer(0, i64::MAX as u64), Default::Is("1")),
    key("stall_after", Kind::Duration(Duration::from_millis(500), HOUR), Default::Is("\"4s\"")),
    key("hold", Kind::Duration(Duration::ZERO, DAY), Default::Is("\"10s\"")),
    key("clips", Kind::Flag, Default::Is("true")),
    key("clip_before", Kind::Duration(seconds(0), seconds(60)), Default::Is("\"5s\"")),
    key("clip_after", Kind::Duration(seconds(0), seconds(60)), Default::Is("\"5s\"")),
    key("clip_longest", Kind::Duration(seconds(10), HOUR), Default::Is("\"2m\"")),
    key("clip_memory", Kind::Size(1_000_000, 1_000_000_000), Default::Is("\"16MB\"")),
    key("fusion", Kind::Choice(&["none", "min", "fisher"]), Default::Is("\"none\"")),
    key("enabled", Kind::Flag, Default::Is("true")),
    key("detect", Kind::Flag, Default::Is("true")),
    key("schedule", Kind::Schedule, Default::Is("\"always\"")),
    key("scene_change", Kind::Choice(&SceneChange::NAMES), Default::Is("\"pause\"")),
    key("masks", Kind::Polygons, Default::Is("[]")),
    key("zones", Kind::Zones, Default::Is("{}")),
];

/// `[[sink]]`
pub const SINK: &[Key] = &[
    key("name", Kind::Name, Default::Required("\"log\"")),
    key("kind", Kind::Choice(&SinkKind::NAMES), Default::Required("\"jsonl\"")),
    key("cameras", Kind::Names, Default::Nothing("[\"gate\"]")),
    key("min_severity", Kind::Choice(&Grade::NAMES), Default::Is("\"low\"")),
    key(
        "changes",
        Kind::Choices(&["new", "update", "end"]),
        Default::Depends("[\"new\", \"update\", \"end\"]"),
    ),
    key("camera_states", Kind::Flag, Default::Is("true")),
    key("give_up_after", Kind::Duration(seconds(60), seconds(7 * 86_400)), Default::Is("\"1d\"")),
    key("url", Kind::Secret, Default::Nothing("\"https://example.org/alerts\"")),
    key("secret", Kind::Secret, Default::Nothing("\"${HOOK_SECRET}\"")),
    key("secret_file", Kind::Path, Default::Nothing("\"hook.secret\"")),
    key("token", Kind::Secret, Default::Nothing("\"${HOOK_TOKEN}\"")),
    key("token_file", Kind::Path, Default::Nothing("\"hook.token\"")),
    key("user", Kind::Secret, Default::Nothing("\"sigmawatch\"")),
    key("password", Kind::Secret, Default::Nothing("\"${SINK_PASSWORD}\"")),
    key("password_file", Kind::Path, Default::Nothing("\"sink.password\"")),
    key("template", Kind::Template, Default::Nothing("'{\"text\": {{ text | tojson }}}'")),
    key("content_type", Kind::Text, Default::Is("\"application/json\"")),
    key("timeout", Kind::Duration(seconds(1), seconds(300)), Default::Is("\"10s\"")),
    key("ca_file", Kind::Path, Default::Nothing("\"ca.pem\"")),
    key("path", Kind::Path, Default::Nothing("\"alerts.jsonl\"")),
    key("max_size", Kind::Integer(1, 10_240), Default::Is("64")),
    key("keep_files", Kind::Integer(0, 100), Default::Is("5")),
    key("prefix", Kind::Text, Default::Is("\"sigmawatch\"")),
    key("qos", Kind::Integer(0, 2), Default::Is("1")),
    key("discovery", Kind::Text, Default::Is("\"homeassistant\"")),
    key("scores", Kind::Flag, Default::Is("true")),
    key("commands", Kind::Flag, Default::Is("false")),
    key("client_id", Kind::Text, Default::Depends("\"sigmawatch-house\"")),
    key("server", Kind::Text, Default::Nothing("\"smtp.example.org:587\"")),
    key("tls", Kind::Choice(&EmailTls::NAMES), Default::Is("\"starttls\"")),
    key("from", Kind::Text, Default::Nothing("\"sigmawatch@example.org\"")),
    key("to", Kind::Texts, Default::Nothing("[\"guard@example.org\"]")),
    key(
        "subject",
        Kind::Template,
        Default::Is("'{{ first.text }}{% if count > 1 %}, and {{ count - 1 }} more{% endif %}'"),
    ),
    key("at_most_every", Kind::Duration(Duration::ZERO, seconds(7 * 86_400)), Default::Is("\"10m\"")),
];

/// The tables with their names, in the manual's order; `camera` and `sink` are arrays of tables.
pub const TABLES: &[(&str, &[Key])] = &[
    ("http", HTTP),
    ("user", USER),
    ("store", STORE),
    ("runtime", RUNTIME),
    ("detector", DETECTOR),
    ("camera", CAMERA),
    ("sink", SINK),
];

#[cfg(test)]
mod tests {
    use super::super::problem::Report;
    use super::*;

    /// The lines `key = value` of the manual with their tables; `true` where commented out.
    fn documented(manual: &str) -> Vec<(&str, &str, &str, bool)> {
        let mut table = "";
        let mut found = Vec::new();
        for line in manual.lines() {
            // A list of tables that is empty by default is commented out with its header.
            if let Some(header) = line.strip_prefix("# ").unwrap_or(line).strip_prefix('[') {
                table = header.trim_matches(['[', ']']);
            }
            let (line, commented) = line.strip_prefix("# ").map_or((line, false), |line| (line, true));
            if let Some((name, value)) = line.split_once(" = ")
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.')
            {
                found.push((table, name, value, commented));
            }
        }
        found
    }

    /// Every difference between the manual and [`TABLES`].
    fn differences(manual: &str) -> Vec<String> {
        let documented = documented(manual);
        let mut differences = Vec::new();
        for (table, keys) in TABLES {
            for key in *keys {
                let lines: Vec<_> =
                    documented.iter().filter(|(t, name, ..)| t == table && *name == key.name).collect();
                match (lines.as_slice(), key.default) {
                    ([], _) => differences.push(format!("{table}.{} is not in the manual", key.name)),
                    ([(.., value, true)], Default::Is(default)) if *value != default => {
                        differences
                            .push(format!("{table}.{} is {default}, the manual says {value}", key.name));
                    }
                    ([(.., false)], Default::Is(_)) => {
                        differences.push(format!("{table}.{}: its default is not shown", key.name));
                    }
                    ([_], _) => {}
                    _ => differences.push(format!("{table}.{} stands there twice", key.name)),
                }
            }
        }
        for (table, name, ..) in &documented {
            let keys = TABLES.iter().find(|(t, _)| t == table).map_or(&[][..], |(_, keys)| keys);
            let override_of = name.strip_prefix("detector.").filter(|_| *table == "camera");
            let known = match override_of {
                Some(name) => DETECTOR.iter().any(|key| key.name == name),
                None => keys.iter().any(|key| key.name == *name),
            };
            if !known {
                differences.push(format!("{table}.{name} is no key"));
            }
        }
        differences
    }

    fn manual() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
        std::fs::read_to_string(path).expect("config.toml")
    }

    #[test]
    fn the_manual_and_the_code_agree() {
        assert_eq!(differences(&manual()), Vec::<String>::new());
    }

    #[test]
    fn a_manual_that_lies_is_noticed() {
        let manual = manual();
        for (from, to) in [
            ("# fps = 10.0", "# fps = 12.0"),
            ("# workers = 0", "#"),
            ("# seed = 1", "# sede = 1"),
            ("# keep = \"30d\"", "keep = \"1d\""),
        ] {
            assert!(!differences(&manual.replacen(from, to, 1)).is_empty(), "{from} -> {to}");
        }
    }

    #[test]
    fn every_line_of_the_manual_can_be_used_as_it_stands() {
        let manual = manual();
        let uncommented: Vec<&str> = manual
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if documented(line).len() == 1 || key.starts_with("[[") => key,
                _ => line,
            })
            .collect();
        let uncommented = uncommented.join("\n");
        let mut report = Report::new("config.toml", &uncommented);
        super::super::raw::read(&uncommented, &mut report);
        assert_eq!(report.problems, []);
    }
}
