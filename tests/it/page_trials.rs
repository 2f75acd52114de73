//! Trying before trusting, in a real browser: a backtest on a camera's page, and what a review would change.

use crate::browser::Browser;
use crate::desk::Desk;
use crate::fixture::event;
use crate::page::{busy_desk, faults, keep};
use serde_json::json;
use sigmawatch::alert::Label;

fn audited(browser: &mut Browser, what: &str) {
    let audit = browser.evaluate(include_str!("page_audit.js"));
    assert_eq!(audit, json!([]), "{what}: {audit:#}");
}

/// True once the map is drawn over an event's picture: by then the view listens to keys.
const DRAWN: &str = "(() => { const c = document.querySelector('#event .overlay'); \
    return !!c && c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); })()";

/// A busy desk whose first event was a true alarm.
fn reviewed_desk() -> Desk {
    let desk = busy_desk();
    desk.store.review(&event(0).id, Some(Label::TrueAlarm), "", None).expect("written").expect("there");
    desk
}

#[test]
fn other_settings_are_tried_on_a_cameras_page_and_say_what_they_would_have_missed() {
    let desk = reviewed_desk();
    let mut browser = Browser::open(&desk.url("/#/cameras/gate"), 1280, 1000);
    browser.wait_for("!!document.querySelector('.backtest button[type=submit]')");
    browser.evaluate("document.querySelector('.backtest [name=k]').focus()");
    browser.type_text("2, 4, 12");
    browser.evaluate("document.querySelector('.backtest [name=debounce]').focus()");
    browser.type_text("2 of 3, 4 of 4");
    browser.key("Enter");
    browser.wait_for("!!document.querySelector('.backtest .in-force')");
    let said = browser.text(".backtest .seen");
    assert!(said.contains("589 scores") && said.contains("1 of their events reviewed as true"), "{said}");
    let now = browser.text(".backtest .in-force");
    assert!(now.contains("k 3") && now.contains("in force, 2 of 3") && now.contains("1 raised"), "{now}");
    let row = |k: &str| {
        format!(
            "[...document.querySelectorAll('.backtest tbody tr')].find((r) => r.cells[0].innerText === 'k {k}')"
        )
    };
    assert!(
        browser.evaluate(&format!("{}.innerText", row("12"))).as_str().expect("a row").contains("1 missed")
    );
    assert!(
        browser.evaluate(&format!("{}.innerText", row("2"))).as_str().expect("a row").contains("0 missed")
    );
    let told = browser.evaluate("document.querySelector('.backtest svg').ariaLabel");
    assert!(told.as_str().expect("text").contains("k 12 0.00"), "{told}");
    assert_eq!(browser.evaluate("document.querySelectorAll('.backtest svg circle.now').length"), 1);

    // Another debounce is chosen by keyboard.
    browser.evaluate("[...document.querySelectorAll('.backtest .result .buttons button')][1].focus()");
    browser.key("Enter");
    browser
        .wait_for("document.querySelector('.backtest .buttons [aria-pressed=true]').innerText === '4 of 4'");
    browser.evaluate("[...document.querySelectorAll('.backtest .result .buttons button')][0].click()");
    browser.evaluate(&format!("{}.querySelector('summary').click()", row("12")));
    browser.wait_for("!!document.querySelector('.backtest .ids a time')");
    browser.evaluate("document.querySelector('.backtest').scrollIntoView()");
    keep("backtest", &browser.screenshot());
    audited(&mut browser, "a backtest");
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        json!({"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": false}),
    );
    browser.wait_for("innerWidth === 360");
    audited(&mut browser, "a backtest on a telephone");
    browser.click(".backtest .ids a");
    browser.wait_for(&format!("location.hash === '#/events/{}'", event(0).id));
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));

    // What cannot be tried says why.
    browser.visit("#/cameras/gate");
    browser.wait_for("!!document.querySelector('.backtest [name=k]')");
    let minus_one = |browser: &mut Browser| {
        browser.evaluate("document.querySelector('.backtest [name=k]').select()");
        browser.type_text("-1");
        browser.key("Enter");
    };
    let refused = "document.querySelector('.backtest [role=alert]')?.innerText.includes('k is from 0')";
    browser.act_until(minus_one, refused);
}

#[test]
fn what_a_review_would_change_is_shown_before_it_is_stored() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url(&format!("/#/events/{}", event(0).id)), 1280, 900);
    browser.wait_for(DRAWN);
    let review = || desk.store.event(&event(0).id).expect("read").expect("there").review;
    browser.key("f");
    browser.wait_for("!!document.querySelector('.preview .threshold-change')");
    let said = browser.text(".preview");
    assert!(said.contains("False alarm: what it would change") && said.contains("Threshold"), "{said}");
    assert_eq!(review(), None, "nothing is stored yet");
    keep("preview", &browser.screenshot());
    audited(&mut browser, "a preview");
    browser.key("Escape");
    browser.wait_for("!document.querySelector('.preview') && !!document.querySelector('#event')");
    assert_eq!(review(), None);
    // Another key shows another, and Enter stores what is shown.
    browser.key("t");
    browser.key("u");
    browser.wait_for("document.querySelector('.preview h4')?.innerText.startsWith('Unsure')");
    browser.key("Enter");
    browser.wait_for("document.querySelector('.labels .unsure').ariaPressed === 'true'");
    assert_eq!(review().expect("a review").label, Some(Label::Unsure));
    assert_eq!(browser.evaluate("document.querySelectorAll('.preview').length"), 0);

    // By mouse, on a telephone.
    let mut browser = Browser::open(&desk.url(&format!("/#/events/{}", event(0).id)), 360, 780);
    browser.wait_for(DRAWN);
    browser.click(".labels .false_alarm");
    browser.wait_for("!!document.querySelector('.preview .threshold-change')");
    audited(&mut browser, "a preview on a telephone");
    browser.click(".preview .cancel");
    browser.wait_for("!document.querySelector('.preview')");
    browser.click(".labels .false_alarm");
    browser.wait_for("!!document.querySelector('.preview .save')");
    browser.click(".preview .save");
    browser.wait_for("document.querySelector('.labels .false_alarm').ariaPressed === 'true'");
    assert_eq!(review().expect("a review").label, Some(Label::FalseAlarm));
    browser.click(".take-back");
    browser.wait_for("document.querySelector('.labels .false_alarm').ariaPressed === 'false'");
    assert_eq!(review(), None);
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}
