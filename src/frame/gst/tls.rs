//! RTSP by TLS: whom to trust, and in plain words why a camera is not trusted. Nothing is ever trusted unseen.

use super::error;
use crate::config;
use crate::frame::{SourceError, SourceErrorKind};
use gio::TlsCertificateFlags as Flags;
use gio::prelude::*;
use gstreamer as gst;
use std::sync::{Arc, OnceLock};

/// Why a certificate was refused, once one was.
pub(super) type Refused = Arc<OnceLock<Flags>>;

/// Has an RTSP source trust the certificates of the camera's `ca`, or else those that the system trusts. Gives the
/// place where it is told why it refuses one.
pub(super) fn secure(source: &gst::Element, config: &config::Gst) -> Result<Refused, SourceError> {
    let refused = Refused::default();
    if !config.location.starts_with("rtsps") {
        return Ok(refused);
    }
    let setup = |message: String, remedy: &str| SourceError {
        kind: SourceErrorKind::Setup,
        message: error::redact(&format!("{}: {message}", config.location), config),
        remedy: remedy.into(),
    };
    if !gio::TlsBackend::default().supports_tls() {
        return Err(setup("this machine cannot speak TLS".into(), "apt-get install glib-networking"));
    }
    if let Some(ca) = &config.ca {
        let trusted = gio::TlsFileDatabase::new(ca).map_err(|e| {
            let message = format!("no certificate can be read from {}: {}", ca.display(), e.message());
            setup(message, "name a PEM file of the certificates that are trusted as the camera's `ca`")
        })?;
        source.set_property("tls-database", &trusted);
    }
    let told = Arc::clone(&refused);
    source.connect("accept-certificate", false, move |args| {
        let flags = args.iter().find_map(|arg| arg.get::<Flags>().ok()).unwrap_or(Flags::GENERIC_ERROR);
        // Only the first one is of interest.
        let _ = told.set(flags);
        Some(false.to_value())
    });
    Ok(refused)
}

/// What a refusal means.
pub(super) fn explain(flags: Flags, config: &config::Gst) -> SourceError {
    // A signer of the same name with another key is a generic error.
    let (message, remedy) = if flags.intersects(Flags::UNKNOWN_CA | Flags::GENERIC_ERROR) {
        match &config.ca {
            Some(ca) => (
                format!("the certificate is signed by none of those in {}", ca.display()),
                "put the certificate of whoever signed the camera's, or the camera's own, into the file of its `ca`",
            ),
            None => (
                "the certificate is signed by nobody whom this system trusts".into(),
                "name a PEM file with the certificate of whoever signed it, or the camera's own, as the camera's `ca`",
            ),
        }
    } else if flags.contains(Flags::BAD_IDENTITY) {
        (
            "the certificate is for another name".into(),
            "name the camera in `location` as its certificate does, or give it one for this name",
        )
    } else if flags.intersects(Flags::EXPIRED | Flags::NOT_ACTIVATED) {
        ("the certificate is out of date".into(), "renew it; see whether both clocks are right")
    } else {
        ("the certificate cannot be trusted".into(), "give the camera a new one")
    };
    SourceError {
        kind: SourceErrorKind::Setup,
        message: error::redact(&format!("{}: {message}", config.location), config),
        remedy: remedy.into(),
    }
}
