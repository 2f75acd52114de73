//! The live page in a real browser, against a real server.

use crate::browser::Browser;
use crate::desk::{Desk, scene};
use crate::fixture::{event, row};
use sigmawatch::alert::{Change, Map, snapshot};
use sigmawatch::base::Timestamp;
use sigmawatch::infer::Covers;
use sigmawatch::store::ScoreRow;
use std::time::Duration;

/// A gate with ten minutes of scores and two alerts (one with a picture), and a yard that is away.
fn busy_desk() -> Desk {
    let now = Timestamp::now();
    let desk = Desk::start_at(now);
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
        desk.store.put_event(&e).expect("written");
        let map = Map { grid: e.grid, covers: Covers::default(), regions: &e.regions, threshold: 2.5 };
        let drawn = snapshot(&scene(640, 360), &map).expect("drawn");
        desk.store.put_snapshot(&e.id, &drawn.full, &drawn.thumbnail).expect("written");
    }
    desk
}

/// True once both cameras, the gate's picture and chart, both alerts and the stream are there.
const SETTLED: &str = "document.querySelectorAll('.camera').length === 2 \
    && document.querySelectorAll('.alerts li').length === 2 \
    && document.querySelector('[data-camera=gate] .picture').hasAttribute('aria-label') \
    && /[1-9]\\d* points/.test(document.querySelector('[data-camera=gate] .chart').ariaLabel) \
    && [...document.querySelectorAll('.alerts img:not([hidden])')].every((i) => i.complete && i.naturalWidth) \
    && document.querySelector('#link').textContent === 'connected'";

#[test]
fn a_browser_shows_cameras_scores_and_alerts() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url("/"), 1440, 900);
    browser.wait_for(SETTLED);
    let mut text = |selector: &str| -> String {
        let found = browser.evaluate(&format!("document.querySelector({selector:?}).innerText"));
        found.as_str().expect("text").to_owned()
    };
    let gate = text("[data-camera=gate]");
    for part in ["live", "armed", "μ 1.00 + 3 σ 0.50", "ababababab", "1280×720 H.264 12.5 fps"] {
        assert!(gate.contains(part), "{part} in {gate}");
    }
    let yard = text("[data-camera=yard]");
    for part in
        ["reconnecting", "stale: 4", "nothing answers (see to its power)", "watching · 40 %", "none yet"]
    {
        assert!(yard.contains(part), "{part} in {yard}");
    }
    let alerts = text("#alerts");
    assert!(alerts.contains("score 4.25 over 2.00 (k = 2)"), "{alerts}");
    let stale = browser.evaluate("[...document.querySelectorAll('.view')].map((v) => v.matches('.stale'))");
    assert_eq!(stale, serde_json::json!([false, true]), "what is away never looks live");
    let order = browser.evaluate("[...document.querySelectorAll('.alerts li')].map((i) => i.dataset.event)");
    assert_eq!(order, serde_json::json!([event(2).id, event(0).id]), "newest first");
    // The yard never gave a picture, which is no fault of the page.
    let faults: Vec<_> = browser.complaints.iter().filter(|c| !c.contains("yard/latest.jpg")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
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
    browser.wait_for("document.querySelectorAll('.alerts li').length === 3");
    let first = "document.querySelector('.alerts li')";
    let name = browser.evaluate(&format!("{first}.querySelector('.camera-name').textContent"));
    assert_eq!(name, "<img src=x onerror=alert(1)>", "text stays text");
    desk.bus.score(&ScoreRow { score: 7.77, ..row(Timestamp::now()) }, 1e-4);
    browser.wait_for("document.querySelector('[data-camera=gate] .score').matches('.over-limit')");

    browser.evaluate("[...document.querySelectorAll('.alert')].at(-1).focus()");
    let enter = serde_json::json!({"type": "keyDown", "key": "Enter", "code": "Enter", "text": "\r",
        "windowsVirtualKeyCode": 13});
    browser.call("Input.dispatchKeyEvent", enter);
    browser.wait_for("document.querySelector('#detail').open");
    browser.wait_for("document.querySelector('#detail-picture').naturalWidth === 640");
    keep("detail", &browser.screenshot());
    let escape = serde_json::json!({"type": "keyDown", "key": "Escape", "code": "Escape",
        "windowsVirtualKeyCode": 27});
    browser.call("Input.dispatchKeyEvent", escape);
    browser.wait_for("!document.querySelector('#detail').open");

    // A daemon that is gone: nothing may go on looking live.
    let mut desk = desk;
    drop(desk.server.take());
    browser.wait_for("document.querySelector('#link').textContent === 'connection lost'");
    browser.wait_for("[...document.querySelectorAll('.view')].every((v) => v.matches('.stale'))");
}

#[test]
fn the_page_paints_and_fits_a_telephone() {
    let desk = busy_desk();
    for (name, width, height) in [("desk", 1440, 900), ("telephone", 390, 1400)] {
        let mut browser = Browser::open(&desk.url("/"), width, height);
        browser.wait_for(SETTLED);
        let png = browser.screenshot();
        keep(name, &png);
        let too_wide = browser.evaluate("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(too_wide, false, "{name}: no scrolling sideways");
        let picture = image::load_from_memory(&png).expect("a picture").to_rgb8();
        assert_eq!(picture.dimensions(), (width, height));
        // Red of the line above the threshold, green of the one below, amber of the threshold.
        for colour in [[255, 107, 74], [79, 209, 197], [245, 184, 79]] {
            let near =
                |p: &&image::Rgb<u8>| p.0.iter().zip(colour).all(|(a, b): (&u8, u8)| a.abs_diff(b) < 24);
            let count = picture.pixels().filter(near).count();
            assert!(count > 40, "{name}: {count} pixels of {colour:?}");
        }
    }
}

/// Keeps a screenshot where somebody wants to look at it.
fn keep(name: &str, png: &[u8]) {
    if let Some(folder) = std::env::var_os("SIGMAWATCH_KEEP_SCREENSHOTS") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), png).expect("kept");
    }
}
