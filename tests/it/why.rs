//! Why an alert is one, from the plaza's cyclist to the pictures that outlive what they came from.

use crate::clips::pipelines;
use crate::program::{Daemon, Home, onnxruntime, sigmawatch};
use serde_json::Value;
use sigmawatch::base::{SystemClock, Timestamp};
use sigmawatch::config::{self, Synthetic};
use sigmawatch::features::{ExtractorModel, Features, v1::V1Params};
use sigmawatch::frame::{IncidentKind, Next, Plaza, Truth, open_source};
use sigmawatch::infer;
use sigmawatch::score::{Channels, Moved, moved, similar};
use sigmawatch::segment::Segmenter;
use sigmawatch::store::{Gallery, GallerySpec, Layout};
use sigmawatch::train::normal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Segments are 16 frames long and this far apart.
const STRIDE: u64 = 8;

/// Where the cyclist goes who is in the picture in these frames, if one is.
fn cyclist(plaza: &Plaza, frames: std::ops::Range<u64>) -> Option<&'static str> {
    let middle = |frame: u64| {
        let truth = plaza.truth(frame);
        let region = truth.iter().find(|t| t.kind == IncidentKind::Cyclist)?.region;
        // One who is cut off by the picture's edge seems to move less.
        (region[0] > 0.02 && region[2] < 0.98).then(|| (region[0] + region[2]) / 2.0)
    };
    let seen: Vec<f32> = frames.filter_map(middle).collect();
    let (first, last) = (seen.first()?, seen.last()?);
    (seen.len() >= 8).then(|| if last > first { "right" } else { "left" })
}

fn list<'a>(value: &'a Value, what: &str) -> &'a [Value] {
    value[what].as_array().unwrap_or_else(|| panic!("no {what} in {value}"))
}

/// The pictures of normal life beside an event, decoded.
fn pictures(daemon: &Daemon, event: &Value) -> usize {
    let similar = list(&event["why"], "similar");
    for one in similar {
        let jpeg = daemon.bytes(one["picture"].as_str().unwrap_or_else(|| panic!("no picture of {one}")));
        let picture = image::load_from_memory_with_format(&jpeg, image::ImageFormat::Jpeg).expect("a JPEG");
        assert_eq!(picture.width(), 160);
        assert!(jpeg.len() <= 8192, "{} bytes", jpeg.len());
    }
    similar.len()
}

#[test]
fn the_cyclists_alert_says_which_frames_where_to_how_fast_and_what_normal_life_was_like() {
    let detector = "width = 180\nheight = 120\nstride = 8\nwatch_for = \"90s\"\nscorer = \"mahalanobis\"\nclose_after = \"3s\"";
    let plaza = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\nseed = 1\nreal_time = false";
    let home = Home::new(detector, plaza);
    let script = Plaza::new(1);
    let daemon = home.start();
    let stream = daemon.stream();
    let next = || stream.recv_timeout(Duration::from_secs(600)).expect("the stream goes on");
    // The segment that the alert's reasons are of is the last that it knows.
    let (event, direction) = loop {
        let (name, event) = next();
        let last = event["segments"]["last"].as_u64().unwrap_or(0);
        let going = cyclist(&script, last * STRIDE..last * STRIDE + 16);
        if let (true, Some(direction)) = (name == "alert.new" || name == "alert.update", going) {
            break (event, direction);
        }
    };
    let why = &event["why"];
    let frames: Vec<f64> = list(why, "frames").iter().map(|f| f.as_f64().expect("a number")).collect();
    assert_eq!(frames.len(), 16);
    let peak = why["peak_frame"].as_u64().expect("a number") as usize;
    assert_eq!(frames[peak], 1.0);
    assert!(frames.iter().all(|f| (0.0..=1.0).contains(f)), "{frames:?}");
    assert!(why["peak_time"].as_str() <= event["last_time"].as_str(), "{event}");
    let features = list(why, "features");
    println!("{} goes to the {direction}: {}", event["id"], serde_json::json!(features));
    let named = features.iter().find(|f| f["direction"].is_string()).expect("a motion");
    let found = named["direction"].as_str().expect("text");
    assert!(found.contains(direction), "{found}, where it goes to the {direction}: {event}");
    assert!(named["speed"].as_f64().is_some_and(|speed| speed >= 0.5), "{named}");
    assert!(named["z"].as_f64().is_some_and(|z| z >= 2.0), "{named}");
    assert!(named["text"].as_str().is_some_and(|text| text.contains("deviations above normal")), "{named}");
    assert!(event.to_string().len() < 8192, "no pictures inside: {} bytes", event.to_string().len());

    let id = event["id"].as_str().expect("text").to_owned();
    let read = |daemon: &Daemon| daemon.json(&format!("/api/events/{id}"));
    let whole = daemon.until("similar moments", || {
        let event = read(&daemon);
        (list(&event["why"], "similar").len() == 3).then_some(event)
    });
    assert_eq!(pictures(&daemon, &whole), 3);
    let similar = list(&whole["why"], "similar");
    let distances: Vec<f64> = similar.iter().map(|s| s["distance"].as_f64().expect("a number")).collect();
    assert!(distances.is_sorted() && distances[0] > 0.0, "{distances:?}");
    let cost = |what: &str, stage: &str| {
        daemon.metric(&format!("stage_duration_seconds_{what}{{stage=\"{stage}\"}}"))
    };
    for stage in ["why", "gallery", "snapshot"] {
        println!("{stage}: {:.2} ms each", 1000.0 * cost("sum", stage) / cost("count", stage));
    }
    // It ends, and is looked at again by another daemon that has nothing left of what the pictures were of.
    daemon.until("its end", || read(&daemon)["end_time"].is_string().then_some(()));
    let ended = read(&daemon);
    assert_eq!(list(&ended["why"], "similar").len(), 3);
    daemon.stop();
    let models = Layout::new(&home.path("data")).camera(&"plaza".into());
    let mut removed = 0;
    for file in std::fs::read_dir(models).expect("a folder").flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|e| e == "gallery" || e == "ring") {
            removed += 1;
            std::fs::remove_file(file).expect("removed");
        }
    }
    assert_eq!(removed, 2, "a ring and a gallery");
    let daemon = home.start();
    assert_eq!(read(&daemon)["why"], ended["why"]);
    assert_eq!(pictures(&daemon, &ended), 3);
    daemon.stop();
}

/// Whoever crosses the plaza too fast, in a segment of these frames: which regions of a grid, where to, and how fast in
/// pixels of a picture of that width.
fn crossing(
    plaza: &Plaza,
    frames: std::ops::Range<u64>,
    rows: usize,
    cols: usize,
) -> Option<(Vec<usize>, f64)> {
    let crosses = |t: &&Truth| matches!(t.kind, IncidentKind::Cyclist | IncidentKind::WrongWayRunner);
    let within = |frame: u64| {
        let region = plaza.truth(frame).iter().find(crosses)?.region;
        (region[0] > 0.05 && region[2] < 0.93).then_some(region)
    };
    let boxes: Vec<[f32; 4]> = frames.clone().map(within).collect::<Option<_>>()?;
    let middle = boxes[8];
    let inside = |region: &usize| {
        let (row, column) = ((region / cols) as f32 + 0.5, (region % cols) as f32 + 0.5);
        // Where it was at some time.
        let (x, y) = (column / cols as f32, row / rows as f32);
        (middle[0]..middle[2]).contains(&x) && (middle[1]..middle[3]).contains(&y)
    };
    let gone = f64::from(boxes[boxes.len() - 1][0] - boxes[0][0]) / (boxes.len() - 1) as f64;
    let regions: Vec<usize> = (0..rows * cols).filter(inside).collect();
    (!regions.is_empty()).then_some((regions, 180.0 * gone))
}

/// Directions and speeds are right, of whoever crosses the plaza in ten minutes.
#[test]
fn where_to_and_how_fast_is_right() {
    infer::init(&onnxruntime()).expect("ONNX Runtime for the tests: `make test` fetches it");
    let model = ExtractorModel::generate(&V1Params::new(180, 120, 10.0, false)).expect("a bank");
    let mut extractor = model.open().expect("a session");
    let (spec, plaza) = (model.spec().clone(), Plaza::new(1));
    let scene = config::Source::Synthetic(Synthetic { seed: 1, as_fast_as_possible: true });
    let mut source = open_source(&scene, &pipelines(), Arc::new(SystemClock::default())).expect("a source");
    let mut stream = source.open(std::slice::from_ref(&spec.frame)).expect("a stream");
    let (mut segmenter, mut calm, mut crossings) = (Segmenter::new(8), vec![], vec![]);
    for _ in 0..6000 {
        let Ok(Next::Frame(frame)) = stream.next(Duration::from_secs(9)) else { panic!("the plaza goes on") };
        let Some(segment) = segmenter.push(frame) else { continue };
        let frames = segment.start.seq..segment.start.seq + 16;
        let found = crossing(&plaza, frames.clone(), spec.grid.rows, spec.grid.cols);
        if found.is_none() && frames.start > 1100 {
            continue;
        }
        let features = extractor.extract(&[&segment]).expect("features").remove(0);
        match found {
            Some(found) => crossings.push((features, found)),
            None => calm.push(features),
        }
    }
    let life: Vec<&Features> = calm.iter().collect();
    let normal =
        normal(&life).and_then(|n| n.decoded(spec.grid.regions(), spec.dims)).expect("as it should be");
    let channels = Channels::of(&spec.channels);
    let (mut right, mut rates, mut z) = (0, vec![], vec![]);
    for (features, (regions, gone)) in &crossings {
        let found = moved(features, regions, &normal, &channels);
        let way = if *gone > 0.0 { "right" } else { "left" };
        let first: Option<&Moved> = found.iter().find(|m| m.direction.is_some());
        let said = first.and_then(|m| m.direction.as_deref()).unwrap_or_default();
        right += usize::from(said.ends_with(way));
        rates.extend(first.and_then(|m| m.speed).map(|speed| speed / gone.abs()));
        z.extend(first.map(|m| m.z));
    }
    rates.sort_by(f64::total_cmp);
    z.sort_by(f32::total_cmp);
    let n = crossings.len();
    println!(
        "{right} of {n} directions right; speeds {:.2} of the true ones (quartiles {:.2} to {:.2}); {:.1} deviations",
        rates[rates.len() / 2],
        rates[rates.len() / 4],
        rates[rates.len() * 3 / 4],
        z[z.len() / 2]
    );
    assert!(n >= 12 && right * 10 >= n * 9, "{right} of {n} directions are right");
    assert!((0.4..2.5).contains(&rates[rates.len() / 2]), "{rates:?}");
}

/// Who rides along the real walkway goes to the left in clip 04, and to the right in clip 02.
#[test]
fn on_the_real_walkway_directions_are_right() {
    let footage = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ped2");
    if !footage.is_dir() {
        println!("skipped: {} is not there", footage.display());
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = dir.path().join("walkway.onnx");
    let run = |args: &[&str], clips: &[PathBuf]| {
        let output = sigmawatch(args)
            .arg(&model)
            .args(if clips.len() > 1 { &["--from"][..] } else { &[] })
            .args(clips)
            .output();
        let output = output.expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let train: Vec<PathBuf> = (1..=16).map(|n| footage.join(format!("train/{n:02}.mp4"))).collect();
    run(&["learn", "--stride", "8", "--scorer", "mahalanobis", "--out"], &train);
    for (clip, way) in [("04", "left"), ("02", "right")] {
        let lines = run(&["score", "--json", "--model"], &[footage.join(format!("test/{clip}.mp4"))]);
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let unusual: Vec<Value> = lines.filter(|line| line["unusual"] == true).collect();
        let first = |line: &Value| line["features"][0].as_str().unwrap_or_default().to_owned();
        let right = unusual.iter().filter(|line| first(line).contains(&format!("to the {way} at"))).count();
        println!(
            "{clip}: {right} of {} go to the {way}; {}",
            unusual.len(),
            first(&unusual[unusual.len() / 2])
        );
        assert!(unusual.len() >= 5 && right * 10 >= unusual.len() * 8, "{unusual:?}");
    }
}

/// Of the usual extractor's features, a full gallery, which is more than an hour.
#[test]
fn a_full_gallery_is_searched_quickly() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let spec = GallerySpec { extractor: "v1".into(), regions: 330, dims: 60 };
    let mut gallery = Gallery::open(&dir.path().join("a.gallery"), &spec).expect("opened");
    for i in 0..spec.slots() {
        let values = (0..19_800).map(|d| ((i * 31 + d * 17) % 101) as f32).collect();
        let features = Features { regions: 330, dims: 60, values };
        let time = Timestamp::from_second(10 * i as i64).expect("in range");
        gallery.put(10.0 * i as f64, time, &features, &[7; 5000]).expect("kept");
    }
    let began = Instant::now();
    let moments = gallery.moments(&[7, 8, 9, 30]).expect("read");
    let candidates: Vec<(f64, Vec<f32>)> = moments.iter().map(|m| (m.clock, m.values.clone())).collect();
    let found = similar(&[0.5; 240], &candidates, 30.0, 3);
    let took = began.elapsed();
    println!("searched a gallery of {} moments in {took:?}", candidates.len());
    assert_eq!((found.len(), candidates.len()), (3, spec.slots()));
    assert!(took < Duration::from_secs(1), "{took:?}");
}
