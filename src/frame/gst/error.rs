//! GStreamer's errors in an operator's words: cause, remedy, and never a password.

use crate::config;
use crate::frame::{SourceError, SourceErrorKind};
use gstreamer as gst;

/// Takes credentials out of a text: whatever stands before the `@` of a URL, and the password itself.
pub(super) fn redact(text: &str, config: &config::Gst) -> String {
    let out = without_userinfo(text);
    match config.password.as_deref() {
        Some(password) if !password.is_empty() => out.replace(password, "***"),
        _ => out,
    }
}

/// Takes out what stands before the `@` of URLs.
pub(super) fn without_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let authority = tail.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(tail.len());
        rest = match tail[..authority].rfind('@') {
            Some(end) => {
                out.push_str("***");
                &tail[end..]
            }
            None => tail,
        };
    }
    out.push_str(rest);
    out
}

/// Says what an error on the bus means. `missing`: the plugin that GStreamer missed before it, if any;
/// `started`: frames have come already.
pub(super) fn explain(
    error: &gst::glib::Error,
    missing: Option<&str>,
    started: bool,
    config: &config::Gst,
) -> SourceError {
    use SourceErrorKind::*;
    use gst::{CoreError as C, ResourceError as R, StreamError as S};
    let said = error.message().trim_end_matches('.');
    let network = config.location.contains("://");
    let (kind, message, remedy) = if let Some(missing) = missing {
        (
            Setup,
            format!("GStreamer lacks a {missing}"),
            "apt-get install gstreamer1.0-libav gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
        )
    } else if let Some(kind) = error.kind::<R>() {
        match kind {
            R::NotAuthorized => (
                Unauthorized,
                "the camera refuses the user name or password".into(),
                "set the camera's `user` and `password`; try them in the camera's own page",
            ),
            R::NotFound if network => {
                (NotFound, format!("the camera has no such stream ({said})"), "check the path of the URL")
            }
            R::NotFound => (NotFound, said.into(), "check the camera's `location`"),
            R::Busy => (Unreachable, said.into(), "close the other program that uses it"),
            R::Settings => (Setup, said.into(), "check the camera's keys and its pipeline description"),
            _ if network && !started => return unreachable(said, config),
            _ => (Broken, said.into(), "check the connection or the file"),
        }
    } else if let Some(kind) = error.kind::<S>() {
        match kind {
            S::Decode | S::Demux | S::Decrypt | S::Format | S::Failed if started => {
                (Broken, said.into(), "check the connection, or copy the file again")
            }
            S::Demux | S::Decode | S::Decrypt => (
                Broken,
                format!("the video is damaged or cannot be decoded ({said})"),
                "copy or record it again; try it in another player",
            ),
            _ => no_video(said),
        }
    } else if matches!(error.kind::<C>(), Some(C::MissingPlugin)) || error.is::<gst::ParseError>() {
        no_video("none of its streams is video")
    } else {
        (Broken, said.into(), "see the log with SIGMAWATCH_LOG=debug")
    };
    SourceError {
        kind,
        message: redact(&format!("{}: {message}", config.location), config),
        remedy: remedy.into(),
    }
}

/// Nobody is where the camera should be, or it does not let in.
pub(super) fn unreachable(said: &str, config: &config::Gst) -> SourceError {
    SourceError {
        kind: SourceErrorKind::Unreachable,
        message: redact(&format!("{}: cannot be reached ({said})", config.location), config),
        remedy: "check the host, the port, the network and that the camera is on".into(),
    }
}

fn no_video(said: &str) -> (SourceErrorKind, String, &'static str) {
    (
        SourceErrorKind::NoVideo,
        format!("holds no video that can be decoded ({said})"),
        "give a video file or stream; `gst-discoverer-1.0` shows what is in it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(password: &str) -> config::Gst {
        config::Gst {
            pipeline: "rtsp".into(),
            location: "rtsp://cam.example/main".into(),
            user: Some("admin".into()),
            password: Some(password.into()),
            transport: config::Transport::Tcp,
            live: true,
            ca: None,
            real_time: false,
            isolate: false,
        }
    }

    #[test]
    fn credentials_leave_no_trace() {
        let c = camera("p@ss/w:rd!");
        assert_eq!(redact("to rtsp://u:x@h:1/a and rtsp://h/b", &c), "to rtsp://***@h:1/a and rtsp://h/b");
        assert_eq!(redact("Could not open rtsp://a:b@c@h/x?y=@", &c), "Could not open rtsp://***@h/x?y=@");
        assert_eq!(redact("said p@ss/w:rd! twice: p@ss/w:rd!", &c), "said *** twice: ***");
        assert_eq!(redact("nothing", &camera("")), "nothing");
    }

    #[test]
    fn each_cause_has_its_kind() {
        use SourceErrorKind::*;
        gst::init().expect("GStreamer starts");
        let c = camera("secret");
        let kind = |e: gst::glib::Error, started| explain(&e, None, started, &c).kind;
        let new = gst::glib::Error::new::<gst::ResourceError>;
        assert_eq!(kind(new(gst::ResourceError::NotAuthorized, "no"), false), Unauthorized);
        assert_eq!(kind(new(gst::ResourceError::OpenRead, "no"), false), Unreachable);
        assert_eq!(kind(new(gst::ResourceError::Read, "no"), true), Broken);
        let text = gst::glib::Error::new(gst::StreamError::TypeNotFound, "no type");
        assert_eq!(kind(text.clone(), false), NoVideo);
        let lacking = explain(&text, Some("H.265 decoder"), false, &c);
        assert_eq!(lacking.kind, Setup);
        assert!(lacking.message.contains("H.265") && lacking.remedy.contains("gstreamer1.0-libav"));
    }
}
