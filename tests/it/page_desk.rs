//! What an operator does besides looking, in a real browser: the switch of a camera, quiet events, zones, deliveries.

use crate::browser::Browser;
use crate::desk::{Desk, http};
use crate::fixture::{event, viewer};
use crate::page::{SETTLED, busy_desk, faults, keep};
use crate::sink_place::{Place, hook, web_that_refuses_until};
use serde_json::json;
use sigmawatch::api::{DetectState, DetectStatus, Parts, serve};
use sigmawatch::base::Timestamp;
use sigmawatch::config::User;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Fails where the page that is shown breaks a rule.
fn audited(browser: &mut Browser, what: &str) {
    let audit = browser.evaluate(include_str!("page_audit.js"));
    assert_eq!(audit, json!([]), "{what}: {audit:#}");
}

#[test]
fn a_camera_is_switched_off_and_on_and_says_why_it_opens_no_events() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url("/"), 360, 1200);
    browser.wait_for(SETTLED);
    let says = |text: &str| {
        format!("document.querySelector('[data-camera=gate] .detect')?.innerText.includes('{text}')")
    };
    let wanted = || desk.cameras.list.lock().expect("held by no panic")[0].detect.on;
    browser.wait_for(&says("opens events, by its schedule"));
    browser.click("[data-camera=gate] .switch");
    browser.wait_for(&says("opens no events: switched off by hand"));
    assert!(!wanted());
    assert_eq!(desk.store.detect("gate").expect("read"), Some(false), "it is remembered");
    audited(&mut browser, "off");

    // On the camera's own page, by keyboard.
    browser.visit("#/cameras/gate");
    browser.wait_for("!!document.querySelector('#camera .switch')");
    browser.evaluate("document.querySelector('#camera .switch').focus()");
    browser.key("Enter");
    browser.wait_for("document.querySelector('#camera .switch').ariaChecked === 'true'");
    assert!(wanted());
    let put = |state| {
        desk.cameras.list.lock().expect("held by no panic")[0].detect = DetectStatus { on: true, state };
    };
    put(DetectState::Schedule);
    let words = "not now";
    assert!(!browser.text("#camera .detect").contains(words));
    browser.wait_for(&says(
        "by its schedule: Monday to Friday, 18:00 to 06:00 of the next day; Saturday to Sunday, all day",
    ));
    put(DetectState::SceneChange);
    browser.wait_for(&says("while the whole picture changes"));
    audited(&mut browser, "the camera's page");
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

#[test]
fn who_only_looks_sees_how_a_camera_stands_and_no_switch() {
    let user = User { cameras: Some(vec!["gate".into()]), ..viewer() };
    let desk = Desk::start_with(Timestamp::now(), &[user]);
    let mut browser = Browser::open(&desk.url("/"), 1280, 900);
    browser.wait_for("!!document.querySelector('#login')");
    for (name, text) in [("name", "anna"), ("password", "open sesame")] {
        browser.evaluate(&format!("document.querySelector('[name={name}]').focus()"));
        browser.type_text(text);
    }
    browser.key("Enter");
    browser.wait_for("document.querySelector('[data-camera=gate] .detect')?.innerText === 'opens events'");
    assert_eq!(browser.evaluate("document.querySelectorAll('.switch').length"), 0);
    let views = browser.text("nav");
    assert!(!views.contains("Deliveries"), "they are of every camera: {views}");
}

#[test]
fn quiet_events_and_zones_are_marked_and_zones_and_masks_are_drawn() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url("/#/events"), 1280, 900);
    browser.wait_for("document.querySelectorAll('#events li').length === 2");
    let row = |n: u64| format!("[data-event='{}']", event(n).id);
    assert!(browser.text(&row(2)).contains("quiet: right after another"), "{}", browser.text(&row(2)));
    assert!(browser.text(&row(0)).contains("fountain"), "{}", browser.text(&row(0)));

    browser.visit(&format!("#/events/{}", event(2).id));
    browser
        .wait_for("document.querySelector('#event')?.innerText.includes('after another event (cool_down)')");
    browser.visit(&format!("#/events/{}", event(0).id));
    let drawn = |kind: &str| format!("document.querySelectorAll('.outlines polygon.{kind}').length");
    browser.wait_for(&format!("{} === 1", drawn("zone")));
    let named = browser.evaluate("document.querySelector('#event .outlines').ariaLabel");
    assert_eq!(named, "zones: fountain", "only those that the event lies in");
    browser.key("m");
    browser.wait_for(&format!("{} === 0", drawn("zone")));

    for (width, height) in [(1280, 900), (360, 780)] {
        let mut browser = Browser::open(&desk.url("/#/cameras/gate"), width, height);
        browser.wait_for(&format!("{} === 2 && {} === 1", drawn("zone"), drawn("mask")));
        let named = browser.evaluate("document.querySelector('#camera .outlines').ariaLabel");
        assert_eq!(named, "zones: fountain, gate; masks: 1");
        // The lines lie over the picture, as wide and as high as it.
        let apart = browser.evaluate(
            "(() => { const [a, b] = ['.outlines', '.picture'].map((s) => \
             document.querySelector('#camera ' + s).getBoundingClientRect()); \
             return Math.abs(a.x - b.x) + Math.abs(a.y - b.y) + Math.abs(a.width - b.width) \
             + Math.abs(a.height - b.height); })()",
        );
        assert!(apart.as_f64().expect("a number") < 2.0, "{apart} pixels apart");
        audited(&mut browser, "a camera with zones");
        browser.click("#outlined");
        browser.wait_for(&format!("{} === 0", drawn("zone")));
    }
}

#[test]
fn deliveries_say_how_sinks_stand_and_dead_letters_are_tried_again() {
    let desk = busy_desk();
    let fixed = Arc::new(AtomicBool::new(false));
    let url = web_that_refuses_until(&fixed);
    let place = Place::new();
    let log = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n";
    let posts = Arc::new(place.start(&format!("{}{log}", hook(&url, ""))));
    let parts = Parts { sinks: posts.clone(), store: place.store.clone(), ..desk.parts.clone() };
    let server = serve(&http("127.0.0.1:0"), parts).expect("served");
    place.announce(4..6);
    let mut browser = Browser::open(&format!("http://{}/", server.addr), 1280, 1000);
    browser.wait_for("document.querySelector('#link')?.textContent === 'connected'");
    browser.key("g");
    browser.key("d");
    let dead = "document.querySelector('[data-sink=hook]')?.innerText.includes('2 letters')";
    browser.wait_for(dead);
    browser.wait_for("document.querySelector('[data-sink=log]')?.innerText.includes('nothing waits')");
    let said = browser.text("[data-sink=hook]");
    assert!(said.contains("404") && !said.contains("secret-path"), "{said}");
    browser.click("[data-sink=hook] .list");
    browser.wait_for("document.querySelectorAll('.letters li').length === 2");
    browser.click(".letters summary");
    browser
        .wait_for(&format!("document.querySelector('.letters pre').innerText.includes('{}')", event(4).id));
    audited(&mut browser, "deliveries");
    keep("deliveries", &browser.screenshot());
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        json!({"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": false}),
    );
    browser.wait_for("innerWidth === 360");
    audited(&mut browser, "deliveries on a telephone");

    fixed.store(true, Relaxed);
    browser.evaluate("document.querySelector('.retry').focus()");
    browser.key("Enter");
    browser.wait_for("document.querySelector('.toast')?.innerText === 'hook: 2 letters are tried again'");
    browser.wait_for("!document.querySelector('.letters') && !document.querySelector('.list')");
    browser.wait_for("document.querySelector('[data-sink=hook]').innerText.includes('delivers')");
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
    drop(browser);
    drop(server);
    if let Ok(posts) = Arc::try_unwrap(posts) {
        posts.stop();
    }
}
