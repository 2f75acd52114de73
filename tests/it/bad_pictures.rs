//! Frozen, black and covered pictures as cameras encode them, and scenes that only look as if they stood still.

use crate::clips::{file, render, source};
use crate::program::Home;
use crate::rtsp_camera::RtspCamera;
use sigmawatch::frame::{FrameSpec, Next, PixelFormat};
use sigmawatch::segment::{MediaClock, PictureState, PictureWatch};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The size of the pictures that are encoded, and how many come in a second.
const WIDTH: usize = 320;
const HEIGHT: usize = 180;
const FPS: usize = 10;

/// Blocks of several sizes between two brightnesses, as walls, windows and paving are.
fn scene(dark: f32, bright: f32) -> Vec<f32> {
    let level = |x: usize, y: usize| {
        let mixed = (x as u32).wrapping_mul(2_654_435_761) ^ (y as u32).wrapping_mul(2_246_822_519);
        (mixed.rotate_left(13) % 1000) as f32 / 1000.0
    };
    let at = |x: usize, y: usize| {
        0.6 * level(x / 53, y / 41 + 9) + 0.3 * level(x / 17 + 3, y / 13) + 0.1 * level(x / 5, y / 4 + 5)
    };
    let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
    pixels.map(|(x, y)| dark + (bright - dark) * at(x, y)).collect()
}

/// A sensor: every picture with noise of its own, nearly of Gauss's shape.
struct Sensor(u64);

impl Sensor {
    fn picture(&mut self, scene: &[f32], sigma: f32) -> Vec<u8> {
        scene.iter().map(|luma| (luma + sigma * self.noise()).round().clamp(0.0, 255.0) as u8).collect()
    }

    fn noise(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = (self.0 >> 16).to_le_bytes();
        // Six bytes have a variance of 6 * 256^2 / 12.
        (bytes[..6].iter().map(|b| f32::from(*b)).sum::<f32>() - 765.0) / 181.0
    }
}

/// Seconds of pictures through x264 with options of its own.
fn encode(dir: &Path, seconds: usize, x264: &str, mut picture: impl FnMut(usize) -> Vec<u8>) -> PathBuf {
    let (raw, clip) = (dir.join("pictures.gray"), dir.join("pictures.mp4"));
    let mut out = std::io::BufWriter::new(std::fs::File::create(&raw).expect("a writable folder"));
    for i in 0..seconds * FPS {
        out.write_all(&picture(i)).expect("room on the disk");
    }
    drop(out);
    render(&format!(
        "filesrc location={} ! rawvideoparse format=gray8 width={WIDTH} height={HEIGHT} framerate={FPS}/1 ! \
         videoconvert ! video/x-raw,format=I420 ! x264enc {x264} ! h264parse ! mp4mux ! filesink location={}",
        raw.display(),
        clip.display()
    ));
    std::fs::remove_file(raw).expect("just written");
    clip
}

/// What is told of a recording that is played as fast as possible, with the second; and its length in seconds.
fn told(clip: &Path) -> (Vec<(f32, PictureState)>, f32) {
    let spec = FrameSpec { width: 160, height: 120, format: PixelFormat::Gray8, fps: 10.0 };
    let mut stream =
        source(file(clip)).and_then(|mut s| s.open(std::slice::from_ref(&spec))).expect("it opens");
    let (mut watch, mut media, mut told, mut last) =
        (PictureWatch::new(spec), MediaClock::default(), vec![], Duration::ZERO);
    loop {
        match stream.next(Duration::from_secs(20)).expect("it plays") {
            Next::Frame(frame) => {
                assert!(frame.keys.is_some(), "what is decoded has key frames");
                last = media.next(frame.run, &frame.stamp);
                let state = watch.see(&frame.pixels, frame.keys, last);
                told.extend(state.map(|state| (last.as_secs_f32(), state)));
            }
            Next::End => return (told, last.as_secs_f32()),
            Next::Idle => panic!("silence in a file"),
        }
    }
}

/// A night's noise is wiped away between key frames at these bit rates, and every picture repeats the one before.
#[test]
fn a_noisy_static_night_scene_is_never_bad_however_coarsely_it_is_encoded() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let night = scene(18.0, 52.0);
    for (sigma, x264) in [
        (1.0, "bitrate=100 key-int-max=20 speed-preset=veryfast tune=zerolatency"),
        (2.0, "bitrate=20 key-int-max=40 speed-preset=veryfast tune=zerolatency"),
        (1.0, "pass=qual quantizer=40 key-int-max=10 speed-preset=veryfast"),
        (3.0, "pass=qual quantizer=45 key-int-max=50 speed-preset=veryfast"),
        (2.0, "bitrate=20 key-int-max=250 speed-preset=veryfast"),
    ] {
        let mut sensor = Sensor(7);
        let clip = encode(dir.path(), 240, x264, |_| sensor.picture(&night, sigma));
        let rate = std::fs::metadata(&clip).expect("just written").len() * 8 / 240;
        let (told, seconds) = told(&clip);
        println!("noise of {sigma}, {x264}: {rate} bit/s, {seconds} s: {told:?}");
        assert!(seconds > 230.0 && told.is_empty(), "noise of {sigma}, {x264}: {told:?}");
    }
}

#[test]
fn a_frozen_picture_is_told_within_15_s_through_an_encoder() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let street = scene(30.0, 190.0);
    for x264 in [
        "bitrate=200 key-int-max=20 speed-preset=veryfast tune=zerolatency",
        "bitrate=400 key-int-max=40 speed-preset=veryfast tune=zerolatency",
        "bitrate=1000 key-int-max=20",
        "pass=qual quantizer=30 key-int-max=50",
        "bitrate=200 vbv-buf-capacity=300 key-int-max=10 option-string=nal-hrd=cbr tune=zerolatency",
    ] {
        let (mut sensor, mut last) = (Sensor(7), vec![]);
        let clip = encode(dir.path(), 60, x264, |i| {
            if i < 30 * FPS {
                last = sensor.picture(&street, 2.0);
            }
            last.clone()
        });
        let (told, _) = told(&clip);
        println!("{x264}: {told:?}");
        assert!(
            matches!(told[..], [(at, PictureState::Frozen)] if (32.0..=45.0).contains(&at)),
            "{x264}: {told:?}"
        );
    }
}

#[test]
fn real_footage_is_never_bad() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let mut seconds = 0.0;
    for clip in ["ped2/train", "ped2/test", "cctv"]
        .map(|name| std::fs::read_dir(folder.join(name)).expect("the footage"))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "mp4"))
    {
        let (told, length) = told(&clip);
        assert!(told.is_empty(), "{}: {told:?}", clip.display());
        seconds += length;
    }
    println!("nothing told in {seconds:.0} s");
    assert!(seconds > 200.0);
}

/// The whole way: RTSP, the daemon, its API, page and metrics.
#[test]
fn the_daemon_tells_of_frozen_black_and_covered_cameras_within_15_s() {
    let home = Home::new("", "");
    let street = scene(30.0, 190.0);
    let x264 = "bitrate=300 key-int-max=20 speed-preset=veryfast tune=zerolatency";
    let even = |luma: f32| vec![luma; WIDTH * HEIGHT];
    let (frozen, black, covered) = (Sensor(1).picture(&street, 2.0), even(16.0), even(90.0));
    let kinds = ["good", "frozen", "black", "covered"];
    let servers = kinds.map(|kind| {
        let folder = home.path(kind);
        std::fs::create_dir(&folder).expect("a folder");
        let mut sensor = Sensor(7);
        let clip = encode(&folder, 60, x264, |_| match kind {
            "frozen" => frozen.clone(),
            "black" => sensor.picture(&black, 2.0),
            "covered" => sensor.picture(&covered, 2.0),
            _ => sensor.picture(&street, 2.0),
        });
        RtspCamera::serve(&clip)
    });
    let cameras = kinds.iter().zip(&servers).map(|(kind, server)| {
        format!("[[camera]]\nname = {kind:?}\nsource = \"rtsp\"\nlocation = {:?}\n", server.url())
    });
    home.configure("width = 96\nheight = 64", &cameras.collect::<String>());
    let daemon = home.start();
    let live = std::time::Instant::now();
    for kind in &kinds[1..] {
        let camera = daemon.until(kind, || {
            let camera = daemon.camera(kind);
            (camera["picture"]["state"] == *kind).then_some(camera)
        });
        let took = live.elapsed();
        println!("{kind}: told after {took:.1?}");
        assert!(took < Duration::from_secs(15), "{kind}: {took:?}");
        assert_eq!((&camera["state"], &camera["healthy"]), (&"live".into(), &false.into()));
        assert!(camera["problem"].as_str().is_some_and(|p| p.contains("picture")), "{camera}");
        assert_eq!(daemon.metric(&format!("cameras_bad_picture{{state=\"{kind}\"}}")), 1.0);
    }
    assert_eq!(daemon.camera("good")["picture"]["state"], "healthy");
    assert_eq!(daemon.camera("good")["problem"], serde_json::Value::Null);
}
