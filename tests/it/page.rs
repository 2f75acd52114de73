//! The page's camera wall in a real browser, against a real server.

use crate::browser::Browser;
use crate::clips::take;
use crate::desk::Desk;
use crate::fixture::{event, row};
use sigmawatch::alert::{Change, Map, Quiet, Similar, Why, jpeg, snapshot};
use sigmawatch::api::{Places, Zone};
use sigmawatch::base::{Polygon, SystemClock, Timestamp};
use sigmawatch::config::{Source, Synthetic};
use sigmawatch::frame::{FrameSpec, Picture, PixelFormat, open_source};
use sigmawatch::infer::Covers;
use sigmawatch::score::Moved;
use sigmawatch::store::ScoreRow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The demo plaza after a few seconds, 640 by 360.
static PLAZA: LazyLock<Picture> = LazyLock::new(|| {
    let plaza = Source::Synthetic(Synthetic { seed: 7, as_fast_as_possible: true });
    let spec = FrameSpec { width: 360, height: 240, format: PixelFormat::Gray8, fps: 10.0 };
    let mut source =
        open_source(&plaza, std::path::Path::new("."), Arc::new(SystemClock::default())).expect("a source");
    let mut stream = source.open(&[spec]).expect("it opens");
    take(stream.as_mut(), 40).expect("frames");
    stream.pictures().latest(640).expect("a picture")
});

/// The trees at the plaza's rim are masked, and its middle has a name.
fn places() -> Places {
    let polygon = |corners: &[(f64, f64)]| Polygon::new(corners.to_vec()).expect("a polygon");
    let zone = |name: &str, corners: &[(f64, f64)]| Zone { name: name.into(), polygon: polygon(corners) };
    Places {
        schedule: Some(vec!["mon-fri 18:00-06:00".into(), "sat-sun 00:00-24:00".into()]),
        masks: vec![polygon(&[(0.0, 0.0), (0.3, 0.0), (0.2, 0.25), (0.0, 0.3)])],
        zones: vec![
            zone("fountain", &[(0.35, 0.3), (0.65, 0.3), (0.7, 0.75), (0.3, 0.75)]),
            zone("gate", &[(0.78, 0.5), (1.0, 0.5), (1.0, 1.0), (0.82, 1.0)]),
        ],
    }
}

/// Somebody runs to the right, most in the tenth frame; one of three moments of normal life has lost its picture.
fn why(at: Timestamp, ago: &dyn Fn(u64) -> Timestamp) -> Why {
    let similar = |n: u64| Similar { time: ago(1000 + 600 * n), distance: 2.25 + n as f32, picture: n < 2 };
    Why {
        frames: (0..16_i32).map(|i| 1.0 - (i - 9).abs() as f32 / 12.0).collect(),
        peak_frame: 9,
        peak_time: Some(at),
        features: vec![Moved {
            name: "motion to the right".into(),
            direction: Some("right".into()),
            speed: Some(2.4),
            z: 8.25,
        }],
        similar: (0..3).map(similar).collect(),
    }
}

/// A gate with ten minutes of scores and two alerts (one with a picture), and a yard that is away.
pub fn busy_desk() -> Desk {
    let now = Timestamp::now();
    let desk = Desk::start_at(now);
    desk.cameras.list.lock().expect("held by no panic")[0].places = Arc::new(places());
    *desk.cameras.shown.lock().expect("held by no panic") = Some(PLAZA.clone());
    desk.cameras.moving.store(true, Ordering::Relaxed);
    let ago = |seconds: u64| now.checked_sub(Duration::from_secs(seconds)).expect("in range");
    let rows: Vec<_> = (0..590)
        .map(|s| {
            let high = (300..330).contains(&s) || (60..75).contains(&s);
            let noise = ((s * 7919) % 101) as f32 / 101.0;
            let score = 0.8 + 0.6 * noise + if high { 2.5 + noise } else { 0.0 };
            ScoreRow { score, ..row(ago(s)) }
        })
        .collect();
    desk.store.put_scores(&rows).expect("written");
    for (n, begin, with_picture) in [(0, 330, true), (2, 75, false)] {
        let mut e = event(n);
        e.start_time = ago(begin);
        e.last_time = ago(begin - 15);
        e.end_time = Some(e.last_time);
        e.top_score = 4.25;
        e.has_snapshot = with_picture;
        if with_picture {
            e.zones = vec!["fountain".into()];
            e.why = Some(why(e.start_time, &ago));
        } else {
            e.quiet = Some(Quiet::CoolDown);
        }
        desk.store.put_event(&e).expect("written");
        let map = Map { grid: e.grid, covers: Covers::default(), regions: &e.regions, threshold: 2.5 };
        let drawn = snapshot(&PLAZA, &map).expect("drawn");
        desk.store.put_snapshot(&e.id, &drawn.full, &drawn.thumbnail).expect("written");
        let plain = jpeg(&PLAZA).expect("drawn");
        desk.store.put_similar(&e.id, &[Some(&plain), Some(&plain), None]).expect("written");
    }
    desk
}

/// True once both cameras, the gate's picture and chart, both alerts and the stream are there.
pub const SETTLED: &str = "document.querySelectorAll('.camera').length === 2 \
    && document.querySelectorAll('#alerts li').length === 2 \
    && /gate at /.test(document.querySelector('[data-camera=gate] .picture').ariaLabel) \
    && /[1-9]\\d* points/.test(document.querySelector('[data-camera=gate] .chart').ariaLabel) \
    && [...document.querySelectorAll('#alerts img')].every((i) => i.complete && i.naturalWidth) \
    && document.querySelector('#link').textContent === 'connected'";

/// What scripts complained of, less that the yard never gave a picture, which is no fault of the page.
pub fn faults(browser: &Browser) -> Vec<&String> {
    browser.complaints.iter().filter(|c| !c.contains("yard/latest.jpg")).collect()
}

#[test]
fn a_browser_shows_cameras_scores_and_alerts() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url("/"), 1440, 900);
    browser.wait_for(SETTLED);
    browser.wait_for("document.querySelector('[data-camera=gate] .age')?.innerText === 'now'");
    let gate = browser.text("[data-camera=gate]");
    for part in ["live", "armed", "score", "of 2.50"] {
        assert!(gate.contains(part), "{part} in {gate}");
    }
    let yard = browser.text("[data-camera=yard]");
    for part in [
        "reconnecting: no picture for 4",
        "nothing answers (see to its power)",
        "watching · 40 %",
        "learning",
    ] {
        assert!(yard.contains(part), "{part} in {yard}");
    }
    assert_eq!(browser.text("#summary"), "1 of 2 live · 1 learning");
    let alerts = browser.text("#alerts");
    assert!(alerts.contains("score 4.25 over 2.00") && alerts.contains("ababababab"), "{alerts}");
    let stale = browser.evaluate("[...document.querySelectorAll('.view')].map((v) => v.matches('.stale'))");
    assert_eq!(stale, serde_json::json!([false, true]), "what is away never looks live");
    let order = browser.evaluate("[...document.querySelectorAll('#alerts li')].map((i) => i.dataset.event)");
    assert_eq!(order, serde_json::json!([event(2).id, event(0).id]), "newest first");
    let times = browser.evaluate("document.querySelector('#alerts time').title");
    assert!(times.as_str().expect("text").ends_with(" UTC"), "{times}");
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

#[test]
fn news_arrives_by_itself_and_an_alert_opens_by_keyboard() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url("/"), 1440, 900);
    browser.wait_for(SETTLED);
    let mut e = event(4);
    e.camera = "<img src=x onerror=alert(1)>".into();
    e.end_time = None;
    desk.bus.alert(Change::New, &e);
    browser.wait_for("document.querySelectorAll('#alerts li').length === 3");
    let first = "document.querySelector('#alerts li')";
    let name = browser.evaluate(&format!("{first}.querySelector('.camera-name').textContent"));
    assert_eq!(name, "<img src=x onerror=alert(1)>", "text stays text");
    desk.bus.score(&ScoreRow { score: 7.77, ..row(Timestamp::now()) }, 1e-4, false);
    browser.wait_for("document.querySelector('[data-camera=gate] .score').matches('.over-limit')");
    assert!(
        browser.text("[data-camera=gate] .numbers").contains("7.77 ▲ over"),
        "colour is not all that says so"
    );

    browser.evaluate("[...document.querySelectorAll('#alerts .alert')].at(-1).focus()");
    browser.key("Enter");
    browser.wait_for("document.querySelector('#snapshot')?.naturalWidth === 640");
    assert_eq!(browser.evaluate("document.activeElement.id"), "main", "the new view has the focus");
    browser.key("Escape");
    browser.wait_for("!document.querySelector('#event') && !!document.querySelector('.cameras')");

    // A daemon that is gone: nothing may go on looking live.
    browser.wait_for("document.querySelector('[data-camera=gate] .view').className === 'view'");
    let mut desk = desk;
    drop(desk.server.take());
    browser.wait_for("document.querySelector('#link').textContent === 'connection lost'");
    browser.wait_for("[...document.querySelectorAll('.view')].every((v) => v.matches('.stale'))");
    let says = "document.querySelector('[data-camera=gate] .veil')?.innerText.startsWith('the daemon does not answer')";
    browser.wait_for(says);
}

#[test]
fn a_picture_that_stands_still_is_veiled_whatever_the_camera_says_of_itself() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url("/"), 900, 700);
    browser.wait_for(SETTLED);
    browser.wait_for("!document.querySelector('[data-camera=gate] .view').matches('.stale')");
    desk.cameras.moving.store(false, Ordering::Relaxed);
    browser.wait_for(
        "document.querySelector('[data-camera=gate] .veil')?.innerText.startsWith('no picture for')",
    );
    desk.cameras.moving.store(true, Ordering::Relaxed);
    browser.wait_for("!document.querySelector('[data-camera=gate] .view').matches('.stale')");
}

#[test]
fn the_wall_paints_and_fits_a_telephone() {
    let desk = busy_desk();
    for (name, width, height) in [("wall", 1440, 900), ("wall-telephone", 360, 1400)] {
        let mut browser = Browser::open(&desk.url("/"), width, height);
        browser.wait_for(SETTLED);
        browser.wait_for("document.querySelector('[data-camera=gate] .age')?.innerText === 'now'");
        let png = browser.screenshot();
        let audit = browser.evaluate(include_str!("page_audit.js"));
        assert_eq!(audit, serde_json::json!([]), "{name}: {audit:#}");
        let picture = image::load_from_memory(&png).expect("a picture").to_rgb8();
        assert_eq!(picture.dimensions(), (width, height));
        // Red of the line above the threshold, green of the one below, amber of the threshold.
        for colour in [[255, 107, 74], [79, 209, 197], [245, 184, 79]] {
            let near =
                |p: &&image::Rgb<u8>| p.0.iter().zip(colour).all(|(a, b): (&u8, u8)| a.abs_diff(b) < 24);
            let count = picture.pixels().filter(near).count();
            assert!(count > 40, "{name}: {count} pixels of {colour:?}");
        }
        keep(name, &png);
    }
}

/// Writes a screenshot into the guide where `UPDATE_DOCS` asks for it.
pub fn keep(name: &str, png: &[u8]) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let images = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
        std::fs::write(images.join(format!("{name}.png")), png).expect("kept");
    }
}
