//! Cameras by TLS: who is trusted, and what is said of those who are not.

use crate::clips::{SPEC, mp4, open, take};
use crate::rtsp::camera;
use crate::rtsp_camera::RtspCamera;
use sigmawatch::config;
use sigmawatch::frame::{SourceError, SourceErrorKind};
use std::path::{Path, PathBuf};

/// A certificate for a name that signed itself, as a file; and the same with its key.
fn certificate(dir: &Path, name: &str) -> (PathBuf, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
    let (path, pem) = (dir.join(format!("{name}.pem")), made.cert.pem());
    std::fs::write(&path, &pem).expect("written");
    (path, format!("{pem}{}", made.signing_key.serialize_pem()))
}

fn pictures(server: &RtspCamera, ca: Option<&Path>) -> Result<usize, SourceError> {
    let url = format!("rtsps://localhost:{}/stream", server.port);
    let config = config::Gst { ca: ca.map(Path::to_path_buf), ..camera(url) };
    Ok(take(open(config, &SPEC)?.as_mut(), 3)?.len())
}

#[test]
fn only_a_camera_that_is_trusted_by_its_name_is_watched() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "clip.mp4", 200, 20);
    let (ours, key) = certificate(dir.path(), "localhost");
    let (other, other_key) = certificate(dir.path(), "elsewhere.example");
    let server = RtspCamera::encrypted(&clip, &key);
    assert_eq!(pictures(&server, Some(&ours)).expect("it is trusted"), 3);

    let refused = |server: &RtspCamera, ca: Option<&Path>, cause: &str, remedy: &str| {
        let error = pictures(server, ca).expect_err("it is not to be trusted");
        println!("{error}");
        assert_eq!(error.kind, SourceErrorKind::Setup, "{error}");
        assert!(error.message.contains(cause) && error.remedy.contains(remedy), "{error}");
    };
    refused(&server, Some(&other), "signed by none of those in", "`ca`");
    refused(&server, None, "nobody whom this system trusts", "`ca`");
    refused(&server, Some(&clip), "no certificate can be read", "PEM");
    let elsewhere = RtspCamera::encrypted(&clip, &other_key);
    refused(&elsewhere, Some(&other), "for another name", "`location`");
}
