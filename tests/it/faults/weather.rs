//! Packets that are late, out of turn, lost or damaged on their way: which segments are flagged, and what alerts.

use super::cameras::Cameras;
use super::datagrams::{Way, Weather};
use super::ear::{Ear, Heard};
use super::stalls::LONG;
use super::{Finding, Row, Scale};
use crate::clips::pipelines;
use crate::program::{Daemon, Home, sigmawatch};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use sigmawatch::base::{SystemClock, Timestamp};
use sigmawatch::config::{self, Synthetic};
use sigmawatch::frame::{FrameSpec, Next, PLAZA_FPS, PixelFormat, open_source};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIZE: (u32, u32) = (640, 360);
/// Between key frames.
const GROUP: f64 = 2.0;
/// The plaza shows nothing but normal life for so long, and then a cyclist.
const NORMAL: u64 = 120;

/// A weather that is tried.
struct Tried {
    name: &'static str,
    what: &'static str,
    weather: Weather,
    /// Pictures cannot but be harmed.
    harms: bool,
}

fn tried(scale: Scale) -> Vec<Tried> {
    let fair = Weather::default();
    let tried = |name, what, weather, harms| Tried { name, what, weather, harms };
    let all = vec![
        tried("jitter", "up to 50 ms late", Weather { late: Duration::from_millis(50), ..fair }, false),
        tried("order", "5 % out of turn", Weather { out_of_turn: 0.05, ..fair }, false),
        tried("loss", "1 % lost", Weather { lost: 0.01, ..fair }, true),
        tried("bytes", "1 % of the bytes damaged", Weather { bytes: 0.01, ..fair }, true),
        tried("packets", "1 % with a damaged byte", Weather { damaged: 0.01, ..fair }, true),
    ];
    all.into_iter()
        .filter(|one| scale == Scale::Whole || ["order", "loss", "packets"].contains(&one.name))
        .collect()
}

/// So many seconds of the plaza, as a camera would send them.
fn plaza(path: &Path, seconds: u64) {
    gst::init().expect("GStreamer starts");
    let (width, height) = SIZE;
    let (group, place) = (GROUP * PLAZA_FPS as f64, path.display());
    let description = format!(
        "appsrc name=in format=time block=true caps=video/x-raw,format=GRAY8,width={width},height={height},\
         framerate={PLAZA_FPS}/1 ! videoconvert ! video/x-raw,format=I420 ! x264enc speed-preset=veryfast bframes=0 \
         key-int-max={group} bitrate=1000 rc-lookahead=0 ! mp4mux ! filesink location={place}"
    );
    let pipeline =
        gst::parse::launch(&description).expect("right").downcast::<gst::Pipeline>().expect("several");
    let input = pipeline.by_name("in").expect("named").downcast::<app::AppSrc>().expect("an appsrc");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let spec = FrameSpec { width, height, format: PixelFormat::Gray8, fps: PLAZA_FPS as f64 };
    let source = config::Source::Synthetic(Synthetic { seed: 1, as_fast_as_possible: true });
    let mut source = open_source(&source, &pipelines(), Arc::new(SystemClock::default())).expect("the plaza");
    let mut stream = source.open(&[spec]).expect("it opens");
    for number in 0..seconds * PLAZA_FPS {
        let Ok(Next::Frame(frame)) = stream.next(LONG) else { panic!("the plaza goes on") };
        let mut buffer = gst::Buffer::from_slice(frame.pixels.to_vec());
        let time = |number: u64| gst::ClockTime::from_mseconds(number * 1000 / PLAZA_FPS);
        let changed = buffer.make_mut();
        changed.set_pts(time(number));
        changed.set_duration(time(1));
        input.push_buffer(buffer).expect("it takes them");
    }
    input.end_of_stream().expect("it takes them");
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(300), &kinds).expect("it ends");
    assert!(matches!(end.view(), gst::MessageView::Eos(_)), "{end:?}");
    pipeline.set_state(gst::State::Null).expect("it stops");
}

/// A home of cameras behind these ways, with what was learned from normal life.
fn home(dir: &Path, ways: &[(&str, &Way)], scale: Scale) -> Home {
    let life = dir.join("life.mp4");
    plaza(&life, scale.pick(60, NORMAL));
    let home = Home::new("", "");
    let model = home.path("plaza.onnx");
    let scorer = scale.pick("mahalanobis", "diffusion");
    let mut learn = sigmawatch(["learn", "--width", "180", "--height", "120", "--scorer", scorer, "--from"]);
    let learned = learn.arg(&life).arg("--out").arg(&model).output().expect("it starts");
    assert!(learned.status.success(), "{}", String::from_utf8_lossy(&learned.stderr));
    let camera = |(name, way): &(&str, &Way)| {
        format!(
            "[[camera]]\nname = \"{name}\"\nsource = \"rtsp\"\nlocation = \"rtsp://127.0.0.1:{}/0\"\ntransport = \
             \"udp\"\n",
            way.port
        )
    };
    let cameras: String = ways.iter().map(camera).collect();
    home.configure("width = 180\nheight = 120\nstride = 4\nscorer = \"plaza.onnx\"", &cameras);
    home
}

/// Beginnings and ends of a camera's alerts.
fn alerts(daemon: &Daemon, camera: &str) -> Vec<[Timestamp; 2]> {
    let time = |event: &serde_json::Value, key: &str| event[key].as_str()?.parse::<Timestamp>().ok();
    let events = daemon.events(&format!("&cameras={camera}"));
    events.iter().filter_map(|event| Some([time(event, "start_time")?, time(event, "last_time")?])).collect()
}

/// Whether one of these alerts lies near it.
fn near([from, to]: [Timestamp; 2], alerts: &[[Timestamp; 2]]) -> bool {
    let apart = Duration::from_secs(5);
    alerts.iter().any(|[begins, ends]| *begins <= to + apart && from <= *ends + apart)
}

pub fn all(row: Row, scale: Scale) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = dir.path().join("plaza.mp4");
    // A while longer than the weather, so that nobody connects again meanwhile.
    let lasts = scale.pick(25, NORMAL + 45);
    plaza(&clip, lasts + 90);
    let camera = Cameras::serve(&clip, 1);
    let tried = tried(scale);
    let (calm, ways) = (Way::to(camera.port), tried.iter().map(|_| Way::to(camera.port)).collect::<Vec<_>>());
    let named: Vec<_> = tried.iter().map(|one| one.name).zip(&ways).chain([("calm", &calm)]).collect();
    let home = home(dir.path(), &named, scale);
    let daemon = home.start();
    let ear = Ear::new(&daemon);
    for (name, _) in &named {
        ear.first(Instant::now(), LONG, |heard| heard.is_score_of(name)).expect("analysed");
    }
    let began = Instant::now();
    tried.iter().zip(&ways).for_each(|(one, way)| way.set(one.weather));
    std::thread::sleep(Duration::from_secs(lasts));
    ways.iter().for_each(|way| way.set(Weather::default()));
    let mended = Instant::now();
    let scores = |name: &str| ear.all(began, |heard| heard.is_score_of(name) && heard.at < mended);
    let usual = (scores("calm").len(), alerts(&daemon, "calm"));
    let mut findings = vec![row.finding(
        "the same undamaged: nothing is flagged",
        format!("{} segments scored, {} alerts", usual.0, usual.1.len()),
        usual.0 > 0 && scores("calm").iter().all(|heard| heard.data["damaged"] == false),
    )];
    for one in &tried {
        findings.extend(found(row, one, &scores(one.name), &alerts(&daemon, one.name), &usual));
        if one.harms {
            findings.push(told(row, one, &ear, began, mended));
        }
    }
    findings
}

/// What came of a weather, beside the scores and alerts of the same pictures undamaged.
fn found(
    row: Row,
    one: &Tried,
    scores: &[Heard],
    alerts: &[[Timestamp; 2]],
    usual: &(usize, Vec<[Timestamp; 2]>),
) -> Option<Finding> {
    let flagged: Vec<_> = scores.iter().filter(|heard| heard.data["damaged"] == true).collect();
    let number = |heard: &Heard, key: &str| heard.data[key].as_f64().unwrap_or(f64::NAN);
    let above = flagged.iter().filter(|heard| number(heard, "score") > number(heard, "threshold")).count();
    let own = alerts.iter().filter(|alert| !near(**alert, &usual.1)).count();
    let seen = usual.1.iter().filter(|alert| near(**alert, alerts)).count();
    let (expected, fair) = match one.harms {
        true => ("damaged segments flagged, not alerted", !flagged.is_empty()),
        // No more than a stream's beginning is missing.
        false => (
            "nothing is lost by it",
            flagged.is_empty() && scores.len() * 10 >= usual.0 * 9 && seen == usual.1.len(),
        ),
    };
    Some(row.finding(
        format!("{}: {expected}", one.what),
        format!(
            "{} of {} segments scored, {} flagged ({above} of them above the limit); {} alerts, {own} that are not \
             of the undamaged {}",
            scores.len(),
            usual.0,
            flagged.len(),
            alerts.len(),
            usual.1.len()
        ),
        own == 0 && fair,
    ))
}

/// How soon it was told, how soon what came after it was whole again, and told so.
fn told(row: Row, one: &Tried, ear: &Ear, began: Instant, mended: Instant) -> Finding {
    let says = |heard: &Heard, damaged: bool| {
        heard.topic == "camera.state"
            && heard.of(one.name)
            && (heard.data["picture"]["state"] == "damaged") == damaged
    };
    let seconds =
        |found: Option<(Duration, Heard)>| found.map_or(f64::INFINITY, |(after, _)| after.as_secs_f64());
    let told = seconds(ear.first(began, Duration::ZERO, |heard| says(heard, true)));
    let whole = |heard: &Heard| heard.is_score_of(one.name) && heard.data["damaged"] == false;
    let whole = seconds(ear.first(mended, LONG, whole));
    let healthy = seconds(ear.first(mended, LONG, |heard| says(heard, false)));
    // Two groups, a segment, and what measuring adds; damage to everything costs the connection, too.
    let (soon, why) = match one.weather.bytes > 0.0 {
        true => (21.0, "15 s of backing off, 2 groups, a segment"),
        false => (2.0 * GROUP + 1.6 + 0.5, "2 groups, a segment"),
    };
    row.finding(
        format!("{}: told <= 15 s; whole <= {soon} s after it ({why}), told <= 60 s", one.what),
        format!("told after {told:.1} s; whole {whole:.1} s after it, told {healthy:.1} s after it"),
        told <= 15.0 && whole <= soon && healthy <= 60.0,
    )
}

#[test]
fn what_is_made_of_damaged_packets_is_flagged_and_raises_no_alert() {
    super::short_of(5, all);
}
