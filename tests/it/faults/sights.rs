//! Cameras that show nothing while packets flow: frozen and black pictures, and a still scene that is neither.

use super::cameras::Cameras;
use super::stalls::watched;
use super::{Finding, Row, Scale};
use crate::clips::render;
use crate::daemon::Says;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Seconds of something that moves before it.
const MOVES: u32 = 5;

/// Something that moves, then a minute of this.
fn turning(dir: &Path, then: &str) -> PathBuf {
    let path = dir.join("turning.mp4");
    let part = |source: &str, seconds: u32| {
        format!(
            "videotestsrc {source} num-buffers={} ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! all. ",
            seconds * 10
        )
    };
    render(&format!(
        "concat name=all ! x264enc speed-preset=ultrafast key-int-max=10 bframes=0 ! h264parse ! mp4mux ! filesink \
         location={} {}{}",
        path.display(),
        part("pattern=ball", MOVES),
        part(then, 60)
    ));
    path
}

pub fn blind(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut findings = vec![];
    // The last one stands still but for noise in a corner, as a scene at night does.
    for (state, then) in
        [("black", "pattern=black"), ("frozen", "pattern=smpte100"), ("healthy", "pattern=smpte")]
    {
        let patience = if state == "healthy" { scale.pick(20, 50) } else { 30 };
        let cameras = Cameras::serve(&turning(dir.path(), then), 1);
        let home = watched(Says::Difference, "stride = 16", &cameras.tables("gate"));
        let daemon = home.start();
        daemon.until("a live camera", || (daemon.camera("gate0")["state"] == "live").then_some(()));
        let began = Instant::now() + Duration::from_secs(MOVES.into());
        let said = loop {
            let said = daemon.camera("gate0")["picture"]["state"].as_str().unwrap_or_default().to_owned();
            if said != "healthy" || Instant::now() > began + Duration::from_secs(patience) {
                break said;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let after = Instant::now().saturating_duration_since(began).as_secs_f64();
        findings.push(match state {
            "healthy" => row.finding(
                "a still scene with noise is not flagged",
                format!("{said} for {after:.0} s"),
                said == state,
            ),
            _ => row.finding(
                format!("a {state} picture is flagged <= 15 s"),
                format!("{said} after {after:.1} s"),
                said == state && after <= 15.0 && Instant::now() > began,
            ),
        });
    }
    findings
}

#[test]
fn a_camera_that_shows_nothing_is_said_to() {
    super::short(7);
}
