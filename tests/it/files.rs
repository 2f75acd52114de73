//! Video files as sources: every frame, the right bytes, and one clear message for each bad file.

use crate::clips::{SPEC, all, encoded, file, mp4, open, render, shaded, source, take, with_pictures};
use sigmawatch::base::SystemClock;
use sigmawatch::config;
use sigmawatch::frame::{FrameSpec, PixelFormat, SourceErrorKind, open_source};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn a_file_as_fast_as_possible_gives_every_frame_in_one_run() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "a.mp4", 57, 10);
    let frames = all(file(&clip), &SPEC).expect("a good file");
    assert_eq!(frames.len(), 57);
    for (i, f) in frames.iter().enumerate() {
        assert_eq!((f.stamp.seq, f.run, f.pixels.len()), (i as u64, 0, SPEC.frame_bytes()));
        assert_eq!(f.stamp.pts.as_millis(), 100 * i as u128);
    }
    // The ball moves, so no two neighbours are alike.
    assert!(frames.windows(2).all(|w| w[0].pixels != w[1].pixels));
}

#[test]
fn containers_and_codecs_of_every_day_are_played() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, tail, codec) in [
        ("a.mkv", "x264enc ! matroskamux", "H.264"),
        ("a.avi", "avenc_mpeg4 ! avimux", "DIVX"),
        ("j.avi", "jpegenc ! avimux", "MJPEG"),
        ("a.h264", "x264enc bframes=0 ! video/x-h264,stream-format=byte-stream", "H.264"),
        ("b.mp4", "x264enc bframes=3 b-adapt=false ! h264parse ! mp4mux", "H.264"),
    ] {
        let clip = encoded(dir.path(), name, 30, 10, tail);
        let mut stream = open(file(&clip), &SPEC).unwrap_or_else(|e| panic!("{name}: {e}"));
        let frames = take(stream.as_mut(), usize::MAX).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(frames.len(), 30, "{name}");
        assert_eq!(stream.info().codec.as_deref(), Some(codec), "{name}");
        assert!(frames.iter().all(|f| f.run == 0), "{name}");
    }
}

#[test]
fn a_faster_file_is_thinned_and_colour_is_given_where_asked() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "a.mp4", 50, 25);
    let rgb = FrameSpec { format: PixelFormat::Rgb8, ..SPEC };
    let (grey, colour) = (all(file(&clip), &SPEC).expect("grey"), all(file(&clip), &rgb).expect("colour"));
    assert_eq!((grey.len(), colour.len()), (20, 20));
    let times: Vec<_> = grey.iter().take(5).map(|f| f.stamp.pts.as_millis()).collect();
    assert_eq!(times, [0, 80, 200, 280, 400]);
    assert!(colour.iter().all(|f| f.pixels.len() == 3 * SPEC.width as usize * SPEC.height as usize));
}

#[test]
fn the_picture_is_colour_full_size_and_scaled_on_demand() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("red.mp4");
    render(&format!(
        "videotestsrc pattern=red num-buffers=10 ! video/x-raw,width=320,height=240,framerate=10/1 ! x264enc ! \
         mp4mux ! filesink location={}",
        path.display()
    ));
    let mut stream = open(file(&path), &SPEC).expect("it opens");
    let tap = stream.pictures();
    take(stream.as_mut(), 5).expect("frames");
    let full = tap.latest(10_000).expect("a picture");
    assert_eq!((full.width, full.height, full.rgb.len()), (320, 240, 320 * 240 * 3));
    let red = |p: &[u8]| p[0] > 220 && p[1] < 40 && p[2] < 40;
    assert!(full.rgb.chunks(3).all(red), "{:?}", &full.rgb[..3]);
    let small = tap.latest(100).expect("a picture");
    assert_eq!((small.width, small.height, small.rgb.len()), (100, 75, 100 * 75 * 3));
    let info = stream.info();
    assert_eq!((info.codec.as_deref(), info.width, info.height, info.fps), (Some("H.264"), 320, 240, 10.0));
}

#[test]
fn real_time_keeps_to_the_pace_of_the_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "a.mp4", 12, 10);
    let start = Instant::now();
    let frames = all(config::Gst { real_time: true, ..file(&clip) }, &SPEC).expect("a good file");
    let took = start.elapsed();
    assert_eq!(frames.len(), 12);
    assert!(took > Duration::from_millis(1000), "{took:?}");
}

#[test]
fn a_source_that_is_opened_again_goes_on_counting_in_a_new_run() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "a.mp4", 10, 10);
    let mut source = source(file(&clip)).expect("a description");
    for round in 0..3 {
        let mut stream = source.open(&[SPEC]).expect("it opens");
        let frames = take(stream.as_mut(), usize::MAX).expect("frames");
        assert_eq!(frames.len(), 10);
        let all_new = frames.iter().zip(round * 10..).all(|(f, seq)| f.run == round && f.stamp.seq == seq);
        assert!(all_new, "round {round}");
    }
}

#[test]
fn each_bad_file_has_one_clear_message() {
    use SourceErrorKind::*;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| dir.path().join(name);
    let whole = std::fs::read(mp4(dir.path(), "whole.mp4", 50, 10)).expect("just written");
    std::fs::write(at("cut.mp4"), &whole[..whole.len() / 2]).expect("a writable folder");
    std::fs::write(at("text.mp4"), "This is a letter, not a video.\n".repeat(200))
        .expect("a writable folder");
    std::fs::write(at("noise.mp4"), (0..50_000u32).map(|i| ((i * i) >> 7) as u8).collect::<Vec<_>>())
        .expect("a writable folder");
    std::fs::write(at("empty.mp4"), "").expect("a writable folder");
    render(&format!(
        "audiotestsrc num-buffers=50 ! avenc_aac ! mp4mux ! filesink location={}",
        at("sound.mp4").display()
    ));
    for (name, kind, says) in [
        ("none.mp4", NotFound, "no such file"),
        ("", NotFound, "folder"),
        ("empty.mp4", NoVideo, "empty"),
        ("text.mp4", NoVideo, "no video"),
        ("noise.mp4", NoVideo, "no video"),
        ("sound.mp4", NoVideo, "none of its streams is video"),
        ("cut.mp4", Broken, "moov"),
    ] {
        let error = all(file(at(name)), &SPEC).expect_err(name);
        assert_eq!(error.kind, kind, "{error}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(name), "{text}");
        assert!(!error.remedy.is_empty());
    }
}

#[test]
fn an_integrators_description_is_played_and_a_wrong_one_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "a.mp4", 20, 10);
    let tail = "identity name=thin ! videoscale add-borders=false ! videoconvert ! capsfilter name=size ! \
                appsink name=frames";
    let run = |text: &str| {
        std::fs::write(dir.path().join("mine.pipeline"), text).expect("a writable folder");
        let config = config::Source::Gst(config::Gst { pipeline: "mine".into(), ..file(&clip) });
        let mut source = open_source(&config, dir.path(), Arc::new(SystemClock::default()))?;
        take(source.open(&[SPEC])?.as_mut(), usize::MAX)
    };
    let good = format!(
        "# hardware of our own\nfilesrc name=source ! qtdemux ! h264parse ! avdec_h264 max-threads=2 !\n{tail}"
    );
    assert_eq!(run(&good).expect("a good description").len(), 20);
    for (text, says) in [
        ("filesrc name=source no-such-property=1 ! fakesink", "not a GStreamer description"),
        (&format!("filesrc name=source ! no_such_decoder ! {tail}"), "no_such_decoder"),
        (&format!("filesrc name=source ! decodebin ! {}", tail.replace("name=thin", "")), "name=thin"),
        (&format!("filesrc name=source ! decodebin ! {}", tail.replace("appsink", "fakesink")), "frames"),
        ("", "mine.pipeline"),
    ] {
        let error = run(text).expect_err(text);
        assert_eq!(error.kind, SourceErrorKind::Setup, "{error}");
        assert!(error.message.contains("mine.pipeline") && error.message.contains(says), "{error}");
    }
    let absent = config::Gst { pipeline: "../etc/passwd".into(), ..file(&clip) };
    assert_eq!(source(absent).err().map(|e| e.kind), Some(SourceErrorKind::Setup));
}

#[test]
fn the_picture_of_a_moment_is_near_it_and_holding_pictures_starves_no_decoder() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut stream = open(file(shaded(dir.path(), 400)), &SPEC).expect("it opens");
    let frames = with_pictures(stream.as_mut(), usize::MAX);
    assert_eq!(frames.len(), 400);
    assert!(frames.iter().all(|f| f.run == 0), "no frame was lost");
}
