//! The compressed stream of cameras and recordings: kept as it came, within its bounds, and muxed untouched.

use crate::clips::{SPEC, all, encoded, file, render, source, take};
use crate::rtsp::camera;
use crate::rtsp_camera::RtspCamera;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use sigmawatch::config;
use sigmawatch::frame::{self, Codec, FrameSpec, Next, Packet, PacketKeep, Sample, Stream};
use std::path::Path;
use std::time::{Duration, Instant};

/// More than any clip here has.
pub const ALL: PacketKeep = PacketKeep { bytes: 64 << 20, span: Duration::from_secs(3600) };

/// An access unit as a demultiplexer gives it.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit {
    pub pts: Duration,
    pub key: bool,
    /// Its NAL units but for parameter sets and delimiters, which a container keeps elsewhere.
    pub nals: Vec<Vec<u8>>,
}

/// The access units of an MP4 (H.264, or H.265 where `parse` is `h265parse`), in decoding order.
pub fn units(path: &Path, parse: &str) -> Vec<Unit> {
    gst::init().expect("GStreamer starts");
    let codec = parse.trim_end_matches("parse");
    let pipeline = gst::parse::launch(&format!(
        "filesrc name=file ! qtdemux name=demux demux.video_0 ! {parse} ! \
         video/x-{codec},stream-format=byte-stream,alignment=au ! appsink name=units sync=false"
    ));
    let pipeline =
        pipeline.expect("the test's description is right").downcast::<gst::Pipeline>().expect("one");
    let named = |name: &str| pipeline.by_name(name).expect("named above");
    named("file").set_property("location", path.display().to_string());
    let sink = named("units").downcast::<app::AppSink>().expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let mut units = vec![];
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().expect("a sample has one");
        let bytes = buffer.map_readable().expect("ordinary memory");
        let of_container = |nal: &[u8]| match codec {
            "h264" => [7, 8, 9].contains(&(nal[0] & 0x1f)),
            _ => [32, 33, 34, 35].contains(&(nal[0] >> 1 & 0x3f)),
        };
        units.push(Unit {
            pts: buffer.pts().expect("an MP4 has times").into(),
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            nals: nals(&bytes).filter(|nal| !of_container(nal)).map(<[u8]>::to_vec).collect(),
        });
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    units
}

/// The NAL units of a byte stream.
fn nals(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<_> =
        (0..bytes.len().saturating_sub(2)).filter(|i| bytes[*i..].starts_with(&[0, 0, 1])).collect();
    let ends: Vec<_> = starts.iter().skip(1).copied().chain([bytes.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| {
        let nal = &bytes[start + 3..end];
        &nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
    })
}

/// Opens a source that keeps its packets.
fn keeping(config: config::Gst, spec: &FrameSpec, keep: PacketKeep) -> Box<dyn Stream> {
    let mut source = source(config).expect("the shipped description");
    source.keep_packets(keep);
    source.open(std::slice::from_ref(spec)).expect("it opens")
}

/// Muxes packets of one format.
fn muxed(packets: &[Packet], out: &Path) {
    let samples: Vec<_> = packets.iter().map(|p| Sample { pts: p.pts, key: p.key }).collect();
    let read = |number: usize| Ok(packets[number].data.to_vec());
    let scratch = out.with_extension("scratch");
    frame::mux(&packets[0].format, &samples, read, out, &scratch).expect("it is muxed");
    assert!(!scratch.exists(), "what was written on the way is gone");
}

/// The pictures of a file, as the extractor would see them.
fn pictures(path: &Path) -> Vec<Vec<u8>> {
    all(file(path), &FrameSpec { fps: 60.0, ..SPEC })
        .expect("it plays")
        .iter()
        .map(|f| f.pixels.to_vec())
        .collect()
}

/// Plays a recording to its end and muxes all that was kept; gives both as access units.
fn through(original: &Path, parse: &str, codec: Codec) {
    let mut stream = keeping(file(original), &SPEC, ALL);
    let frames = take(stream.as_mut(), usize::MAX).expect("it plays");
    let packets = stream.packets().expect("they are kept").from(0);
    assert_eq!(packets[0].format.codec, codec);
    assert!(!packets[0].format.encoded_here);
    let begins = stream.packets().expect("they are kept").on_its_clock(frames[0].stamp.pts);
    assert_eq!(begins, packets.iter().map(|p| p.pts).min(), "frames and packets have one time");
    let clip = original.with_extension("clip.mp4");
    muxed(&packets, &clip);
    let (want, got) = (units(original, parse), units(&clip, parse));
    assert!(want.len() > 10);
    assert_eq!(got.len(), want.len());
    let shift = |units: &[Unit]| units.iter().map(|u| u.pts).min().expect("some");
    for (number, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!(g.nals == w.nals, "access unit {number} has other bytes");
        assert_eq!(g.key, w.key, "access unit {number}");
        let off = (g.pts - shift(&got)).abs_diff(w.pts - shift(&want));
        assert!(off < Duration::from_millis(1), "access unit {number} is shown {off:?} off");
    }
    assert_eq!(pictures(&clip), pictures(original));
}

#[test]
fn a_recording_with_pictures_out_of_turn_and_sound_is_muxed_byte_for_byte() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let original = dir.path().join("sound.mp4");
    render(&format!(
        "mp4mux name=mux ! filesink location={} \
         audiotestsrc num-buffers=100 ! audioconvert ! avenc_aac ! mux. \
         videotestsrc pattern=ball num-buffers=50 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
         x264enc key-int-max=12 bframes=3 b-adapt=false ! h264parse ! mux.",
        original.display()
    ));
    let times: Vec<_> = units(&original, "h264parse").iter().map(|u| u.pts).collect();
    assert!(!times.is_sorted(), "the test is about pictures out of turn");
    through(&original, "h264parse", Codec::H264);
}

#[test]
fn h265_is_muxed_too() {
    if gst::init().is_err() || gst::ElementFactory::find("x265enc").is_none() {
        eprintln!("not checked: there is no x265enc here (gstreamer1.0-plugins-bad has it)");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let original = encoded(dir.path(), "hevc.mp4", 40, 20, "x265enc key-int-max=10 ! h265parse ! mp4mux");
    through(&original, "h265parse", Codec::H265);
}

#[test]
fn packets_of_a_live_camera_are_its_own() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let original = encoded(dir.path(), "live.mp4", 60, 20, "x264enc key-int-max=10 bframes=0 ! mp4mux");
    let server = RtspCamera::serve(&original);
    let mut stream = keeping(camera(server.url()), &FrameSpec { fps: 20.0, ..SPEC }, ALL);
    let frames = take(stream.as_mut(), 55).expect("frames");
    let ring = stream.packets().expect("they are kept");
    // From 1.2 s: the key frame before it is that of 1.0 s.
    let from = ring.on_its_clock(Duration::from_millis(1200)).expect("frames have come");
    let packets = ring.from(ring.beginning(from).expect("a key frame"));
    let begins = packets[0].pts - ring.on_its_clock(Duration::ZERO).expect("frames have come");
    assert!(begins.abs_diff(Duration::from_secs(1)) < Duration::from_millis(5), "{begins:?}");
    let clip = dir.path().join("clip.mp4");
    muxed(&packets, &clip);
    let (want, got) = (units(&original, "h264parse"), units(&clip, "h264parse"));
    assert!(got.len() >= 33, "{}", got.len());
    for (number, (got, want)) in got.iter().zip(&want[20..]).enumerate() {
        assert!(got.nals == want.nals, "access unit {number} has other bytes");
    }
    let early = frames[0].stamp.wall.duration_until(packets[0].wall).as_secs_f64();
    assert!((0.5..1.5).contains(&early), "a packet's wall time is that of its frames: {early}");
}

/// Pictures that refer to later ones come before them in time and after them in the stream.
#[test]
fn a_live_camera_with_pictures_out_of_turn_is_seen_in_order_and_its_clip_plays() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let encoder = "x264enc key-int-max=20 bframes=3 b-adapt=false ! h264parse ! mp4mux";
    let original = encoded(dir.path(), "turns.mp4", 100, 20, encoder);
    let times: Vec<_> = units(&original, "h264parse").iter().map(|u| u.pts).collect();
    assert!(!times.is_sorted(), "the test is about pictures out of turn");
    let expected = pictures(&original);
    let server = RtspCamera::serve(&original);
    let mut stream = keeping(camera(server.url()), &FrameSpec { fps: 20.0, ..SPEC }, ALL);
    let frames = take(stream.as_mut(), 80).expect("frames");
    for (number, two) in frames.windows(2).enumerate() {
        let apart =
            two[1].stamp.pts.checked_sub(two[0].stamp.pts).expect("in the order in which they are shown");
        assert!(apart.abs_diff(Duration::from_millis(50)) < Duration::from_millis(5), "{number}: {apart:?}");
        assert_eq!(two[0].run, two[1].run, "{number}");
    }
    // The first of an open beginning may be left out.
    let first =
        expected.iter().position(|pixels| pixels[..] == frames[0].pixels[..]).expect("of the original");
    assert!(first < 3, "from {first}");
    for (number, frame) in frames.iter().enumerate() {
        assert!(frame.pixels[..] == expected[first + number][..], "picture {number} is another one");
    }
    let packets = stream.packets().expect("they are kept").from(0);
    assert!(!packets.iter().map(|packet| packet.pts).is_sorted(), "they are in the order of decoding");
    let clip = dir.path().join("clip.mp4");
    muxed(&packets, &clip);
    let shown = pictures(&clip);
    assert!(shown.len() + 4 > packets.len() && shown.len() >= 70, "{} of {}", shown.len(), packets.len());
    for (number, pixels) in shown.iter().take(60).enumerate() {
        assert!(*pixels == expected[number], "picture {number} of the clip is another one");
    }
}

#[test]
fn a_huge_bitrate_stays_within_the_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("noise.mp4");
    render(&format!(
        "videotestsrc pattern=snow num-buffers=60 ! video/x-raw,format=I420,width=640,height=480,framerate=20/1 ! \
         x264enc key-int-max=7 bframes=0 quantizer=4 pass=quant speed-preset=ultrafast ! mp4mux ! filesink location={}",
        path.display()
    ));
    let length = std::fs::metadata(&path).expect("written").len() as usize;
    let keep = PacketKeep { bytes: length / 5, ..ALL };
    let mut stream = keeping(file(&path), &SPEC, keep);
    let ring = stream.packets().expect("they are kept");
    let mut most = 0;
    while let Next::Frame(_) | Next::Idle = stream.next(Duration::from_millis(50)).expect("it plays") {
        most = most.max(ring.bytes());
    }
    assert!(most <= keep.bytes && most > keep.bytes / 3, "{most} of {}", keep.bytes);
    let left = ring.from(0);
    assert!(left[0].key, "whole groups are left");
    assert_eq!(left.last().map(|p| p.number), Some(59));
    assert!(left.windows(2).all(|two| two[1].number == two[0].number + 1));
}

#[test]
fn pictures_that_come_uncompressed_are_encoded_small() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, tail) in [("jpeg.mov", "jpegenc ! qtmux"), ("raw.avi", "avimux")] {
        let path = encoded(dir.path(), name, 40, 20, tail);
        let mut stream = keeping(file(&path), &SPEC, ALL);
        take(stream.as_mut(), usize::MAX).expect("it plays");
        let ring = stream.packets().expect("they are kept");
        let until = Instant::now() + Duration::from_secs(20);
        while ring.next() < 18 {
            assert!(Instant::now() < until, "{} packets; {:?}", ring.next(), ring.problem());
            std::thread::sleep(Duration::from_millis(20));
        }
        let packets = ring.from(0);
        assert!(packets[0].key && packets[0].format.encoded_here, "{name}");
        let clip = dir.path().join("clip.mp4");
        muxed(&packets, &clip);
        let lasts = units(&clip, "h264parse").last().expect("some").pts;
        assert!(lasts.as_secs_f64() > 1.6, "{name}: two seconds were recorded: {lasts:?}");
    }
}

#[test]
fn the_plaza_is_encoded_too() {
    let plaza = config::Synthetic { seed: 1, as_fast_as_possible: true };
    let clock = std::sync::Arc::new(sigmawatch::base::SystemClock::default());
    let source = frame::open_source(&config::Source::Synthetic(plaza), Path::new("none"), clock);
    let mut source = source.expect("it opens");
    source.keep_packets(ALL);
    let mut stream = source.open(&[SPEC]).expect("it opens");
    take(stream.as_mut(), 50).expect("frames");
    let ring = stream.packets().expect("they are kept");
    let until = Instant::now() + Duration::from_secs(20);
    while ring.next() < 47 {
        assert!(Instant::now() < until, "{} packets; {:?}", ring.next(), ring.problem());
        std::thread::sleep(Duration::from_millis(20));
    }
    let packets = ring.from(0);
    let apart = packets[40].pts - packets[20].pts;
    assert_eq!(apart, Duration::from_secs(2));
    let dir = tempfile::tempdir().expect("a temporary folder");
    muxed(&packets, &dir.path().join("plaza.mp4"));
    let units = units(&dir.path().join("plaza.mp4"), "h264parse");
    assert_eq!(units.len(), packets.len());
    assert_eq!(
        units.iter().map(|u| u.pts).collect::<Vec<_>>(),
        packets.iter().map(|p| p.pts).collect::<Vec<_>>()
    );
}
