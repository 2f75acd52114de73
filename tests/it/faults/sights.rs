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
fn turning(dir: &Path, name: &str, then: &str) -> PathBuf {
    let path = dir.join(format!("{name}.mp4"));
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
    // The last one stands still but for noise in a corner, as a scene at night does.
    let views = [("black", "pattern=black"), ("frozen", "pattern=smpte100"), ("still", "pattern=smpte")];
    let cameras = views.map(|(name, then)| Cameras::serve(&turning(dir.path(), name, then), 1));
    let tables: String = cameras.iter().zip(views).map(|(cameras, (name, _))| cameras.tables(name)).collect();
    let home = watched(Says::Difference, "stride = 16", &tables);
    let daemon = home.start();
    let of = |name: &str| daemon.camera(&format!("{name}0"));
    daemon.until("live cameras", || views.iter().all(|(name, _)| of(name)["state"] == "live").then_some(()));
    let began = Instant::now() + Duration::from_secs(MOVES.into());
    let mut flagged = views.map(|_| None);
    while Instant::now() < began + Duration::from_secs(scale.pick(20, 50)) {
        for ((name, _), flagged) in views.iter().zip(&mut flagged) {
            let said = of(name)["picture"]["state"].as_str().unwrap_or_default().to_owned();
            if flagged.is_none() && said != "healthy" {
                *flagged = Some((said, Instant::now()));
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let finding = |((name, _), flagged): ((&str, &str), Option<(String, Instant)>)| match (name, flagged) {
        ("still", flagged) => row.finding(
            "a still scene with noise is not flagged",
            flagged.as_ref().map_or("never flagged".into(), |(said, _)| format!("flagged as {said}")),
            flagged.is_none(),
        ),
        (name, None) => row.finding(format!("a {name} picture is flagged <= 15 s"), "never flagged", false),
        (name, Some((said, at))) => row.finding(
            format!("a {name} picture is flagged <= 15 s"),
            format!("{said} after {:.1} s", at.saturating_duration_since(began).as_secs_f64()),
            said == name && at > began && at - began <= Duration::from_secs(15),
        ),
    };
    views.into_iter().zip(flagged).map(finding).collect()
}

#[test]
fn a_camera_that_shows_nothing_is_said_to() {
    super::short(7);
}
