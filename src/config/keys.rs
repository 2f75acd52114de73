//! Every key that the configuration knows: its name, its kind and its default, in one table.
//!
//! A new key is one line here, its use in `check`, and its paragraph in `config.toml` (a test holds the
//! two together).

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
    /// An IP address and a port.
    Address,
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
pub const HTTP: &[Key] = &[key("listen", Kind::Address, Default::Is("\"127.0.0.1:8710\""))];

/// `[store]`
pub const STORE: &[Key] = &[
    key("dir", Kind::Path, Default::Is("\"data\"")),
    key("keep", Kind::Duration(HOUR, seconds(3650 * 86_400)), Default::Is("\"30d\"")),
];

/// `[runtime]`
pub const RUNTIME: &[Key] = &[
    key("onnxruntime", Kind::Path, Default::Is("\"runtime/libonnxruntime.so\"")),
    key("pipelines", Kind::Path, Default::Is("\"pipelines\"")),
    key("workers", Kind::Integer(0, 256), Default::Is("0")),
];

/// `[detector]`, and `detector` of a camera
pub const DETECTOR: &[Key] = &[
    key("extractor", Kind::Text, Default::Is("\"v1\"")),
    key("width", Kind::Integer(64, 1920), Default::Is("360")),
    key("height", Kind::Integer(64, 1920), Default::Is("240")),
    key("fps", Kind::Number(1.0, 60.0), Default::Is("10.0")),
    key("whole_frame", Kind::Flag, Default::Is("false")),
    key("stride", Kind::Integer(1, 16), Default::Is("8")),
    key("scorer", Kind::Text, Default::Is("\"learned\"")),
    key("watch_for", Kind::Duration(seconds(20), seconds(7 * 86_400)), Default::Is("\"10m\"")),
    key(
        "learn_again_every",
        Kind::DurationOrNever(seconds(600), seconds(365 * 86_400)),
        Default::Is("\"never\""),
    ),
    key("k", Kind::Number(0.0, 1000.0), Default::Is("4.0")),
    key("open_n", Kind::Integer(1, 100), Default::Is("2")),
    key("open_m", Kind::Integer(1, 100), Default::Is("3")),
    key("close_after", Kind::Duration(Duration::from_millis(100), DAY), Default::Is("\"30s\"")),
];

/// `[[camera]]`
pub const CAMERA: &[Key] = &[
    key("name", Kind::Name, Default::Required("\"plaza\"")),
    key("source", Kind::Text, Default::Required("\"rtsp\"")),
    key("location", Kind::Location, Default::Nothing("\"rtsp://192.168.1.20:554/stream1\"")),
    key("user", Kind::Secret, Default::Nothing("\"sigmawatch\"")),
    key("password", Kind::Secret, Default::Nothing("\"${PLAZA_PASSWORD}\"")),
    key("password_file", Kind::Path, Default::Nothing("\"plaza.password\"")),
    key("transport", Kind::Choice(&["tcp", "udp"]), Default::Is("\"tcp\"")),
    key("live", Kind::Flag, Default::Depends("true")),
    key("real_time", Kind::Flag, Default::Is("true")),
    key("seed", Kind::Integer(0, i64::MAX as u64), Default::Is("1")),
    key("stall_after", Kind::Duration(Duration::from_millis(500), HOUR), Default::Is("\"5s\"")),
];

/// The tables with their names, in the manual's order; `camera` is an array of tables.
pub const TABLES: &[(&str, &[Key])] =
    &[("http", HTTP), ("store", STORE), ("runtime", RUNTIME), ("detector", DETECTOR), ("camera", CAMERA)];
