//! The page's other views in a real browser: timeline, events, one event, a camera, the configuration.

use crate::browser::Browser;
use crate::desk::Desk;
use crate::fixture::{event, viewer};
use crate::page::{SETTLED, busy_desk, faults, keep};
use serde_json::json;
use sigmawatch::alert::Label;
use sigmawatch::api::LearningState;
use sigmawatch::base::Timestamp;
use sigmawatch::config::Budget;
use sigmawatch::threshold::{Outlook, Rule, blocks};
use std::sync::Arc;

fn open(desk: &Desk, hash: &str, width: u32, height: u32) -> Browser {
    let mut browser = Browser::open(&desk.url("/"), width, height);
    browser.wait_for(SETTLED);
    browser.visit(hash);
    browser
}

/// True once the timeline has points and both events.
const DRAWN: &str = "/: [1-9]\\d+ points and 2 events in/.test(document.querySelector('.plot')?.ariaLabel)";

/// Seconds that the timeline shows, once its address has come to rest.
fn span(browser: &mut Browser) -> i64 {
    browser.wait_for("location.hash.includes('span=')");
    let before = browser.evaluate("location.hash");
    std::thread::sleep(std::time::Duration::from_millis(300));
    if browser.evaluate("location.hash") != before {
        return span(browser);
    }
    let found = browser.evaluate("Number(new URLSearchParams(location.hash.split('?')[1]).get('span'))");
    found.as_f64().expect("a number") as i64
}

#[test]
fn the_timeline_zooms_from_a_minute_to_a_month_and_leads_to_its_events() {
    let desk = busy_desk();
    let mut browser = open(&desk, "#/timeline?camera=gate&span=900", 1280, 900);
    browser.wait_for(DRAWN);
    assert_eq!(browser.evaluate("document.querySelectorAll('.marks a').length"), 2);
    keep("timeline", &browser.screenshot());

    browser.key("+");
    assert_eq!(span(&mut browser), 450);
    browser.key("-");
    browser.key("-");
    assert_eq!(span(&mut browser), 1800);
    let chart = browser.middle(".plot .u-over");
    browser.wheel(chart, -100.0);
    assert_eq!(span(&mut browser), 1440, "the wheel looks closer");
    browser.drag((chart.0 - 100.0, chart.1), (chart.0 + 100.0, chart.1));
    assert!(span(&mut browser) < 400, "a drag looks at what it marks");
    let ended = browser.evaluate("location.hash.includes('end=')");
    assert_eq!(ended, true, "what is past stands still");
    browser.key("ArrowRight");
    browser.key("0");
    browser.wait_for("!location.hash.includes('end=')");
    for (button, seconds) in [("1 min", 60), ("1 month", 30 * 86400)] {
        let find = format!(
            "[...document.querySelectorAll('.buttons button')].find((b) => b.innerText === '{button}')"
        );
        browser.evaluate(&format!("{find}.click()"));
        assert_eq!(span(&mut browser), seconds);
    }
    browser.visit("#/timeline?camera=gate&span=900");
    browser.wait_for(DRAWN);
    browser.wait_for("!!document.querySelector('.plot .u-over')");
    // The younger event began 75 seconds ago: near the right end of a quarter of an hour.
    let place = browser.evaluate(
        "(() => { const b = document.querySelector('.plot .u-over').getBoundingClientRect(); \
         return [b.right - b.width * 70 / 900, b.top + b.height / 2]; })()",
    );
    let at = (place[0].as_f64().expect("a number"), place[1].as_f64().expect("a number"));
    browser.drag(at, at);
    browser.wait_for(&format!("location.hash === '#/events/{}'", event(2).id));
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

#[test]
fn events_are_filtered_leafed_through_and_opened_by_keyboard() {
    let desk = busy_desk();
    for n in 10..70 {
        let mut e = event(n);
        e.start_time = Timestamp::from_second(1_700_000_000 + n as i64).expect("in range");
        e.end_time = Some(e.start_time);
        e.last_time = e.start_time;
        desk.store.put_event(&e).expect("written");
    }
    let mut browser = Browser::open(&desk.url("/#/events"), 1280, 900);
    let rows = "document.querySelectorAll('#events li').length";
    browser.wait_for(&format!("{rows} === 40"));
    keep("events", &browser.screenshot());
    browser.click("#main > section > button");
    browser.wait_for(&format!("{rows} === 62"));

    browser.key("j");
    browser.key("j");
    browser.key("k");
    browser.key("j");
    let second = browser.evaluate("document.querySelectorAll('#events li')[1].dataset.event");
    let chosen = browser.evaluate("document.activeElement.closest('li').dataset.event");
    assert_eq!(chosen, second);
    browser.key("?");
    browser.wait_for("document.querySelector('#help')?.open");
    browser.key("Escape");
    browser.wait_for("!document.querySelector('#help')");
    browser.key("Enter");
    browser
        .wait_for(&format!("location.hash === '#/events/' + {second} && !!document.querySelector('#event')"));
    // The list behind it may still be on its way.
    let another = format!("!location.hash.endsWith({second}) && !!document.querySelector('#event')");
    browser.act_until(|browser| browser.key("j"), &another);
    browser.key("Escape");
    browser.wait_for("document.querySelector('#event h2')?.innerText.includes('gate') || document.querySelector('#events')");

    browser.visit("#/events");
    browser.wait_for("!!document.querySelector('select[name=cameras]')");
    let choose = |browser: &mut Browser, name: &str, value: &str| {
        browser.evaluate(&format!(
            "(() => {{ const e = document.querySelector('[name={name}]'); e.value = '{value}'; \
             e.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
        ));
    };
    choose(&mut browser, "cameras", "yard");
    browser.wait_for(&format!("{rows} === 30"));
    assert_eq!(browser.evaluate("location.hash"), "#/events?cameras=yard", "what is shown can be linked");
    browser.evaluate("document.querySelector('[name=min_score]').focus()");
    browser.type_text("60");
    browser.key("Enter");
    browser.wait_for(&format!("{rows} === 5"));
    choose(&mut browser, "in_progress", "true");
    browser.wait_for("document.querySelector('.empty')?.innerText === 'No event fits these filters.'");
    browser.click(".filters button");
    browser.wait_for(&format!("{rows} === 40"));
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

#[test]
fn an_event_says_why_and_its_map_can_be_taken_off() {
    let desk = busy_desk();
    let mut browser = open(&desk, &format!("#/events/{}", event(0).id), 1280, 1150);
    browser.wait_for("document.querySelector('#snapshot')?.naturalWidth === 640");
    browser.wait_for("!!document.querySelector('.overlay')");
    let said = browser.text("#event");
    let hash = "ab".repeat(32);
    for part in [
        "factor 7 (with leftward motion energy, r = .71) above 99.98 %",
        "2.00 = μ 1.00 + 2 σ 0.50",
        "row 2, column 2",
        "1 in 1,000",
        &hash,
        "v1+diffusion",
        "motion to the right: 8.2 deviations above normal",
        "most in frame 10 of 16",
        "2.25 σ away",
        "no picture",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let bars = browser.evaluate("document.querySelectorAll('.frames rect').length");
    let peak = "[...document.querySelectorAll('.frames rect')].findIndex((r) => r.matches('.peak'))";
    assert_eq!((bars, browser.evaluate(peak)), (json!(16), json!(9)));
    let alike = "[...document.querySelectorAll('.similar img')]";
    browser.wait_for(&format!("{alike}.length === 2 && {alike}.every((i) => i.complete && i.naturalWidth)"));
    keep("event", &browser.screenshot());
    // Reddish pixels over a grey picture.
    let warm = "(() => { const c = document.querySelector('.overlay'); if (!c) return 0; \
        const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
        let n = 0; for (let i = 3; i < p.length; i += 4) n += p[i] > 60; return n; })()";
    assert!(browser.evaluate(warm).as_u64().expect("a count") > 1000);
    browser.key("m");
    browser.wait_for("!document.querySelector('.overlay')");
    browser.click("#map");
    browser.wait_for("!!document.querySelector('.overlay')");
    browser.visit("#/events/none");
    browser.wait_for("document.querySelector('.problem')?.innerText.includes('no event has the id')");
    assert!(browser.complaints.iter().all(|c| c.contains(" 404 ")), "{:#?}", browser.complaints);
}

#[test]
fn events_are_reviewed_by_keyboard_in_the_list_and_in_their_own_view() {
    let desk = busy_desk();
    let mut browser = Browser::open(&desk.url("/#/events"), 1280, 900);
    browser.wait_for("document.querySelectorAll('#events li').length === 2");
    let review = |n: u64| desk.store.event(&event(n).id).expect("read").expect("there").review;
    browser.key("j");
    browser.key("f");
    let chip = |text: &str| format!("document.querySelector('#events li .label')?.innerText === '{text}'");
    browser.wait_for(&chip("✗ false alarm"));
    assert_eq!(review(2).expect("a review").label, Some(Label::FalseAlarm));
    browser.key("n");
    browser
        .wait_for("document.querySelector('dialog.note')?.open && document.activeElement.tagName !== 'BODY'");
    browser.click("dialog.note textarea");
    browser.type_text("a <b>fox</b> and t, f, u");
    browser.click("dialog.note button[type=submit]");
    browser.wait_for("!document.querySelector('dialog.note')");
    let said = review(2).expect("a review");
    assert_eq!((said.label, said.note.as_str()), (Some(Label::FalseAlarm), "a <b>fox</b> and t, f, u"));
    let chosen = browser.evaluate("document.activeElement.closest('li')?.dataset.event");
    assert_eq!(chosen, json!(event(2).id), "the focus is where it was");

    browser.key("Enter");
    browser.wait_for("document.querySelector('#note')?.value === 'a <b>fox</b> and t, f, u'");
    let pressed = "[...document.querySelectorAll('.labels [aria-pressed=true]')].map((b) => b.innerText)";
    assert!(browser.evaluate(pressed)[0].as_str().is_some_and(|text| text.contains("False alarm")));
    // Once shows what it would change, again stores it.
    browser.key("t");
    browser.wait_for("!!document.querySelector('.preview')");
    assert_eq!(review(2).expect("a review").label, Some(Label::FalseAlarm));
    browser.key("t");
    browser.wait_for("document.querySelector('.labels .true_alarm').ariaPressed === 'true'");
    assert_eq!(review(2).expect("a review").label, Some(Label::TrueAlarm));
    assert_eq!(review(2).expect("a review").note, "a <b>fox</b> and t, f, u", "the note stays");
    // While somebody writes, letters are letters.
    browser.key("n");
    browser.wait_for("document.activeElement.id === 'note'");
    browser.key("u");
    browser.wait_for("document.querySelector('#note').value.endsWith('u')");
    assert_eq!(review(2).expect("a review").label, Some(Label::TrueAlarm));
    browser.key("Escape");
    browser.wait_for("document.activeElement.id !== 'note'");

    browser.visit("#/events?reviewed=true");
    browser.wait_for("document.querySelectorAll('#events li').length === 1");
    browser.visit("#/events?label=false_alarm");
    browser.wait_for("document.querySelector('.empty')?.innerText === 'No event fits these filters.'");
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

#[test]
fn a_camera_shows_what_it_learned_and_learns_again() {
    let desk = busy_desk();
    {
        let (rule, mut list) = (Rule::default(), desk.cameras.list.lock().expect("held by no panic"));
        // Ever rarer, the higher.
        let chance = |i: u32| ((i * 7919) % 10_007 + 1) as f32 / 10_008.0;
        let scores = (0..24_000).map(|i| (f64::from(i) * 0.6, 0.8 - 0.2 * chance(i).ln()));
        let outlook = Outlook::of(&blocks(rule, scores, 1), &rule, Some(Budget::DAILY));
        list[0].detectors[0].outlook = Some(Arc::new(outlook));
    }
    let mut browser = open(&desk, "#/cameras/gate", 1280, 1100);
    browser.wait_for("document.querySelectorAll('.calibration .curve').length > 0");
    assert!(
        browser.text(".calibration").contains("hours seen: can promise"),
        "{}",
        browser.text(".calibration")
    );
    browser.wait_for("document.querySelectorAll('#camera .alerts li').length === 2");
    browser.wait_for("document.querySelector('#camera .age')?.innerText === 'now'");
    let said = browser.text("#camera");
    let hash = "ab".repeat(32);
    for part in ["live", "armed", "μ 1.00 + 3 σ 0.50", "1280×720 H.264 12.5 fps", "v1+diffusion", &hash] {
        assert!(said.contains(part), "{part} in {said}");
    }
    keep("camera", &browser.screenshot());
    browser.click("button.learn");
    browser.wait_for("document.querySelector('button.learn').innerText === 'Yes, learn again'");
    browser.click("button.learn");
    browser.wait_for("document.querySelector('#camera .mode').innerText === 'learning again'");
    let state = desk.cameras.list.lock().expect("no panic")[0].detectors[0].learning.state;
    assert_eq!(state, LearningState::Relearning);
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

#[test]
fn the_configuration_in_force_and_ill_cameras_are_shown() {
    let desk = busy_desk();
    let mut browser = open(&desk, "#/config", 1280, 900);
    browser.wait_for("!!document.querySelector('.tree')");
    let said = browser.text("#config");
    for part in ["yard: nothing answers (see to its power)", "cameras", "gate", "***"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // What a configuration names is there.
    let dir = &desk.parts.config_dir;
    for folder in ["pipelines", "runtime"] {
        std::fs::create_dir(dir.join(folder)).expect("a folder");
    }
    std::fs::write(dir.join("runtime/libonnxruntime.so"), "").expect("written");
    browser.click("#text");
    browser.type_text("[http]\nlisten = \"nowhere\"\n\n[[camera]]\nname = \"gate\"\nsource = \"synthetic\"\nstal_after = \"5 s\"\n\n");
    browser.click(".config form button[type=submit]");
    browser.wait_for("document.querySelectorAll('#found li').length === 2");
    let found = browser.text("#found");
    for part in ["line 2", "http.listen", "line 7", "stal_after", "→ "] {
        assert!(found.contains(part), "{part} in {found}");
    }
    keep("config", &browser.screenshot());
    browser.click("#found button");
    let marked = "document.querySelector('#text').value.slice(document.querySelector('#text').selectionStart, document.querySelector('#text').selectionEnd)";
    assert_eq!(browser.evaluate(marked), "listen = \"nowhere\"");
    browser.evaluate("document.querySelector('#text').select()");
    browser.type_text("[[camera]]\nname = \"gate\"\nsource = \"synthetic\"\n");
    browser.click(".config form button[type=submit]");
    browser.wait_for("!!document.querySelector('#found .fine')");
    browser.click("#reload");
    browser.wait_for("!!document.querySelector('#reloaded .fine')");
    let answer = browser.text("#reloaded");
    assert!(answer.contains("No camera has changed") && answer.contains("runtime.workers"), "{answer}");
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

/// Every view on a desk and on a telephone: names of controls, contrast, and no scrolling sideways.
#[test]
fn every_view_is_accessible_and_fits_a_telephone() {
    let desk = busy_desk();
    for (width, height) in [(1280, 900), (360, 780)] {
        let mut browser = Browser::open(&desk.url("/"), width, height);
        browser.wait_for(SETTLED);
        let one = format!("#/events/{}", event(0).id);
        for (hash, there) in [
            ("#/timeline?camera=gate&span=900", DRAWN),
            ("#/events", "document.querySelectorAll('#events li').length === 2"),
            (&one, "document.querySelector('#snapshot')?.naturalWidth === 640"),
            ("#/cameras/gate", "document.querySelectorAll('#camera .alerts li').length === 2"),
            ("#/cameras/yard", "!!document.querySelector('#camera')"),
            ("#/config", "!!document.querySelector('.tree')"),
        ] {
            browser.visit(hash);
            browser.wait_for(there);
            let audit = browser.evaluate(include_str!("page_audit.js"));
            assert_eq!(audit, json!([]), "{hash} at {width}: {audit:#}");
        }
        browser.key("?");
        browser.wait_for("document.querySelector('#help')?.open");
        let audit = browser.evaluate(include_str!("page_audit.js"));
        assert_eq!(audit, json!([]), "help at {width}: {audit:#}");
    }
}

#[test]
fn the_first_stop_of_the_keyboard_skips_to_the_content_and_two_keys_go_anywhere() {
    let desk = busy_desk();
    let mut browser = open(&desk, "#/", 1280, 900);
    browser.evaluate("document.activeElement.blur()");
    browser.key("Tab");
    assert_eq!(browser.evaluate("document.activeElement.className"), "skip");
    let outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "the focus can be seen");
    browser.key("Enter");
    browser.wait_for("document.activeElement.id === 'main'");
    for (key, there) in [("e", "#events"), ("t", "#timeline"), ("s", "#config"), ("c", ".wall")] {
        browser.key("g");
        browser.key(key);
        browser.wait_for(&format!("!!document.querySelector('{there}')"));
    }
}

#[test]
fn people_sign_in_see_what_their_role_allows_and_sign_out() {
    let user = viewer();
    let desk = Desk::start_with(Timestamp::now(), &[user]);
    desk.store.put_event(&event(0)).expect("written");
    let mut browser = Browser::open(&desk.url("/#/events"), 360, 780);
    browser.wait_for("!!document.querySelector('#login')");
    let audit = browser.evaluate(include_str!("page_audit.js"));
    assert_eq!(audit, json!([]), "{audit:#}");
    for password in ["wrong", "open sesame"] {
        for (name, text) in [("name", "anna"), ("password", password)] {
            browser.evaluate(&format!("document.querySelector('[name={name}]').select()"));
            browser.type_text(text);
        }
        browser.key("Enter");
        if password == "wrong" {
            browser.wait_for("!!document.querySelector('#login [role=alert]')");
        }
    }
    browser.wait_for("document.querySelectorAll('#events li').length === 1");
    browser.wait_for("document.querySelector('#link').textContent === 'connected'");
    assert!(browser.text("header").contains("anna"));
    let kept = browser.evaluate("[document.cookie, localStorage.length, sessionStorage.length]");
    assert_eq!(kept, json!(["", 0, 0]), "scripts hold no secret");
    // A viewer looks, and changes nothing.
    browser.visit(&format!("#/events/{}", event(0).id));
    browser.wait_for("document.querySelector('#event')?.innerText.includes('Threshold in force')");
    let refused = "document.querySelector('.toast.bad')?.innerText.includes('viewers may not review')";
    browser.act_until(|browser| browser.key("f"), refused);
    assert_eq!(browser.evaluate("document.querySelectorAll('.review').length"), 0);
    browser.visit("#/config");
    browser.wait_for("!!document.querySelector('#config')");
    assert_eq!(browser.evaluate("document.querySelectorAll('#text, .tree').length"), 0);
    browser.evaluate("[...document.querySelectorAll('header button')][0].click()");
    browser.wait_for("!!document.querySelector('#login')");
    let expected = |c: &&String| !c.contains("status of 401") && !c.contains("yard/latest.jpg");
    let faults: Vec<_> = browser.complaints.iter().filter(expected).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
