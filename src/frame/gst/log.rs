//! GStreamer's own debug log (`GST_DEBUG`, `GST_DEBUG_FILE`), without passwords.

use super::damage;
use super::error::without_userinfo;
use crate::config;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gstreamer as gst;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, Once, OnceLock, PoisonError, RwLock};

/// Headers (RFC 2617, RFC 7826) whose values prove who somebody is.
const PROOFS: [&str; 2] = ["authorization", "authentication-info"];

/// Every form in which a password that this process was given could be written, longest first.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Starts GStreamer, once, with a log that passes through [`clean`].
///
/// # Errors
/// As GStreamer says it.
pub(super) fn init() -> Result<(), gst::glib::Error> {
    static OURS: Once = Once::new();
    // Before GStreamer starts, so that not a line goes past.
    OURS.call_once(|| {
        gst::log::remove_default_log_function();
        gst::log::add_log_function(|category, level, _, _, _, _, message| {
            damage::hear(category, level, message)
        });
        if std::env::var_os("GST_DEBUG").is_some_and(|wanted| !wanted.is_empty()) {
            gst::log::add_log_function(|category, level, file, _, line, object, message| {
                let file = file.rsplit('/').next().unwrap_or_default();
                let object = object.map(|object| format!("<{object}> ")).unwrap_or_default();
                let message = message.get();
                let said = message.as_deref().map_or("", |text| text.as_str());
                let said = clean(&format!("{object}{said}"));
                write(&format!("{} {} {file}:{line} {said}\n", level.name(), category.name()));
            });
        }
    });
    gst::init()
}

/// From now on this camera's password shows in no line of the log.
pub(super) fn keep_secret(camera: &config::Gst) {
    let Some(password) = camera.password.as_deref().filter(|password| !password.is_empty()) else { return };
    let basic = BASE64_STANDARD.encode(format!("{}:{password}", camera.user.as_deref().unwrap_or("")));
    let escaped = |kept: &str| -> String {
        let escape = |byte: u8| match byte {
            b if b.is_ascii_alphanumeric() || kept.as_bytes().contains(&b) => (b as char).to_string(),
            b => format!("%{b:02X}"),
        };
        password.bytes().map(escape).collect()
    };
    // RFC 3986: the least and the most that may stand unescaped in a user's information.
    let forms = [password.to_owned(), basic, escaped("-._~"), escaped("-._~!$&'()*+,;=:")];
    // As GStreamer writes strings of structures and properties.
    let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    let lowered = forms.iter().map(|form| lower_escapes(form)).collect::<Vec<_>>();
    let all: BTreeSet<String> = secrets.drain(..).chain(forms).chain(lowered).chain([quoted]).collect();
    secrets.extend(all);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// The same with `%2f` for `%2F`.
fn lower_escapes(text: &str) -> String {
    let mut left = 0;
    text.chars()
        .map(|c| {
            left = if c == '%' { 2 } else { i32::max(left - 1, -1) };
            if left >= 0 { c.to_ascii_lowercase() } else { c }
        })
        .collect()
}

/// A text without the passwords of cameras, without users in URLs, and without values of headers that log in.
pub(super) fn clean(text: &str) -> String {
    let mut text = without_userinfo(text);
    for secret in SECRETS.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), "***");
        }
    }
    let lines = text.split('\n').map(|line| {
        let small = line.to_ascii_lowercase();
        let end = PROOFS.iter().filter_map(|proof| Some(small.find(proof)? + proof.len())).min();
        end.map_or_else(|| line.to_owned(), |end| format!("{} ***", &line[..end]))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// To where GStreamer would write: `GST_DEBUG_FILE` (`%p` in it is the process, `-` standard output), else standard
/// error.
fn write(line: &str) {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let name = std::env::var("GST_DEBUG_FILE").ok().filter(|name| !name.is_empty())?;
        let name = match name.as_str() {
            "-" => "/dev/stdout".into(),
            name => name.replace("%p", &std::process::id().to_string()),
        };
        Some(Mutex::new(OpenOptions::new().create(true).append(true).open(name).ok()?))
    });
    // A log that cannot be written must not stop a camera.
    let _ = match file {
        Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()),
        None => std::io::stderr().lock().write_all(line.as_bytes()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Gst, Transport};

    #[test]
    fn no_form_of_a_password_is_left() {
        keep_secret(&Gst {
            pipeline: "rtsp".into(),
            location: "rtsp://h/main".into(),
            user: Some("wächter".into()),
            password: Some("c4n/Ry:\"ö+".into()),
            transport: Transport::Tcp,
            live: true,
            ca: None,
            real_time: false,
            isolate: false,
        });
        let basic = BASE64_STANDARD.encode("wächter:c4n/Ry:\"ö+");
        for leak in
            ["c4n/Ry:\"ö+", "c4n%2FRy%3A%22%C3%B6%2B", "c4n%2fRy%3a%22%c3%b6%2b", "c4n%2FRy:%22%C3%B6+"]
        {
            assert_eq!(clean(&format!("at {leak} here")), "at *** here");
        }
        assert_eq!(clean("user-pw=(string)\"c4n/Ry:\\\"ö+\""), "user-pw=(string)\"***\"");
        assert_eq!(clean(&format!("with {basic}")), "with ***");
        assert_eq!(
            clean("key: 'Authorization', value: 'Digest response=\"1\"'\nCSeq: 4"),
            "key: 'Authorization ***\nCSeq: 4"
        );
        assert_eq!(clean("opening rtsp://u:p@h/x"), "opening rtsp://***@h/x");
        assert_eq!(lower_escapes("A%2FB%C3"), "A%2fB%c3");
    }
}
