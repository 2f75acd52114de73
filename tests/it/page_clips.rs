//! The clip player of the page in a real browser: a real camera's clip with the map over it, and what a clip lacks.

use crate::browser::Browser;
use crate::clips::{render, take};
use crate::daemon::Says;
use crate::event_clips::{home, rtsp, with_clip};
use crate::fixture::event;
use crate::page::{busy_desk, faults, keep};
use crate::rtsp_camera::RtspCamera;
use serde_json::json;
use sigmawatch::alert::{Clip, Lack};
use sigmawatch::base::SystemClock;
use sigmawatch::config::{Source, Synthetic};
use sigmawatch::frame::{FrameSpec, PixelFormat, open_source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Ten seconds of nothing, four of the people of the plaza, twenty of nothing, ten pictures a second. The ground is
/// black, so that nothing is there but what moves.
fn plaza(dir: &Path) -> PathBuf {
    let source = Source::Synthetic(Synthetic { seed: 7, as_fast_as_possible: true });
    let spec = FrameSpec { width: 96, height: 64, format: PixelFormat::Gray8, fps: 10.0 };
    let mut source =
        open_source(&source, Path::new("."), Arc::new(SystemClock::default())).expect("a source");
    let mut stream = source.open(&[spec]).expect("it opens");
    let tap = stream.pictures();
    let mut after = |frames: usize| {
        take(stream.as_mut(), frames).expect("frames");
        tap.latest(480).expect("a picture")
    };
    let lives: Vec<_> = (0..40).map(|_| after(1)).collect();
    let later: Vec<_> = (0..15).map(|_| after(20)).collect();
    let (wide, high) = (lives[0].width, lives[0].height);
    let usual = |at: usize| {
        let mut levels: Vec<u8> = later.iter().map(|picture| picture.rgb[at]).collect();
        *levels.select_nth_unstable(7).1
    };
    let ground: Vec<u8> = (0..lives[0].rgb.len()).map(usual).collect();
    let mut raw = vec![0; 340 * ground.len()];
    for (n, picture) in lives.iter().enumerate() {
        let frame = &mut raw[(100 + n) * ground.len()..][..ground.len()];
        for (to, (now, usual)) in frame.chunks_exact_mut(3).zip(picture.rgb.chunks(3).zip(ground.chunks(3))) {
            if now.iter().zip(usual).any(|(now, usual)| now.abs_diff(*usual) > 12) {
                to.copy_from_slice(now);
            }
        }
    }
    let (file, path) = (dir.join("plaza.rgb"), dir.join("plaza.mp4"));
    std::fs::write(&file, raw).expect("a writable folder");
    render(&format!(
        "filesrc location={} ! rawvideoparse format=rgb width={wide} height={high} framerate=10/1 ! videoconvert ! \
         video/x-raw,format=I420 ! x264enc key-int-max=10 bframes=0 ! h264parse ! mp4mux ! filesink location={}",
        file.display(),
        path.display()
    ));
    path
}

/// What the page says of the player.
const PLAYER: &str = "document.querySelector('#event video')";

#[test]
fn a_cameras_clip_plays_with_the_map_over_it_and_is_sought_by_keyboard() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = RtspCamera::serve(&plaza(dir.path()));
    let home = home(
        Says::Difference,
        "close_after = \"2s\"",
        &rtsp(&server, "clip_before = \"3s\"\nclip_after = \"2s\"\nscene_change = \"ignore\""),
    );
    let daemon = home.start();
    let event = with_clip(&daemon);
    let lasts = event["clip_details"]["seconds"].as_f64().expect("a number");
    let address = daemon.address(&format!("/#/events/{}", event["id"].as_str().expect("an id")));
    let mut browser = Browser::open(&address, 1280, 1500);
    browser.wait_for(&format!("{PLAYER}?.readyState >= 2"));
    assert_eq!(browser.evaluate(&format!("{PLAYER}.videoWidth")), 480);
    let length = browser.evaluate(&format!("{PLAYER}.duration")).as_f64().expect("a number");
    assert!((length - lasts).abs() < 0.25, "{length} s of {lasts}");
    let said = browser.text(".clip-details");
    assert!(said.contains("the camera's own video (H.264), untouched"), "{said}");
    assert!(said.contains("nothing is missing"), "{said}");

    // Before its event the map is faint; at its beginning, which a key finds, it is not.
    browser.wait_for("document.querySelector('.over-clip').matches('.faint')");
    browser.key("b");
    browser.wait_for(&format!("{PLAYER}.currentTime > 2.5 && !{PLAYER}.seeking"));
    browser.wait_for("!document.querySelector('.over-clip').matches('.faint')");
    let warm = "(() => { const c = document.querySelector('.over-clip canvas'); \
        const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
        let n = 0; for (let i = 3; i < p.length; i += 4) n += p[i] > 60; return n; })()";
    assert!(browser.evaluate(warm).as_u64().expect("a count") > 500, "the map is over it");
    let picture = |browser: &mut Browser| {
        browser.evaluate(&format!(
            "(() => {{ const c = document.createElement('canvas'); [c.width, c.height] = [48, 32]; \
             const d = c.getContext('2d'); d.drawImage({PLAYER}, 0, 0, 48, 32); \
             return [...d.getImageData(0, 0, 48, 32).data].filter((_, i) => i % 4 === 1); }})()"
        ))
    };
    let before = picture(&mut browser);
    let began = browser.evaluate(&format!("{PLAYER}.currentTime")).as_f64().expect("a number");
    browser.key("p");
    browser.wait_for(&format!("{PLAYER}.currentTime > {began} + 1.5"));
    browser.key("p");
    browser.wait_for(&format!("{PLAYER}.paused"));
    let after = picture(&mut browser);
    assert_ne!(after, before, "it moves");
    assert!(after.as_array().expect("pixels").iter().any(|v| v.as_u64() > Some(40)), "it is not black");
    let stopped = browser.evaluate(&format!("{PLAYER}.currentTime")).as_f64().expect("a number");
    browser.key(",");
    browser.wait_for(&format!("{PLAYER}.currentTime < {stopped} && !{PLAYER}.seeking"));
    browser.evaluate("document.querySelector('.clip').scrollIntoView({block: 'end'})");
    keep("clip", &browser.screenshot());
    let audit = browser.evaluate(include_str!("page_audit.js"));
    assert_eq!(audit, json!([]), "{audit:#}");
    browser.key("m");
    browser.wait_for("!document.querySelector('.over-clip')");
    browser.evaluate(&format!("{PLAYER}.currentTime = {PLAYER}.duration - 0.4; void {PLAYER}.play()"));
    browser.wait_for(&format!("{PLAYER}.ended"));
    assert!(faults(&browser).is_empty(), "{:#?}", faults(&browser));
}

#[test]
fn what_a_clip_lacks_and_that_it_cannot_be_played_is_told_in_words() {
    let desk = busy_desk();
    let about = desk.store.event(&event(0).id).expect("read").expect("there");
    let files = desk.store.clip_files(&about.id).expect("an id");
    std::fs::write(files.part(), [7; 4096]).expect("written");
    let clip = Clip {
        start: about.start_time,
        seconds: 12.5,
        bytes: 0,
        codec: "H.264".into(),
        encoded_here: true,
        lacks: vec![Lack::Beginning, Lack::Middle, Lack::End],
    };
    desk.store.put_clip(files, clip).expect("taken");
    let mut browser = Browser::open(&desk.url(&format!("/#/events/{}", about.id)), 360, 780);
    browser.wait_for("!!document.querySelector('.clip-details')");
    let said = browser.text(".clip-details");
    for part in ["4 kB: encoded here (H.264)", "its beginning is", "in its middle is", "its end is missing"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    browser.wait_for(
        "document.querySelector('.clip .problem')?.innerText.startsWith('This browser cannot play the clip (H.264)')",
    );
    let audit = browser.evaluate(include_str!("page_audit.js"));
    assert_eq!(audit, json!([]), "{audit:#}");
}
