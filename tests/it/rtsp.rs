//! Live cameras over RTSP: the same frames as the file, and every way to lose a camera.

use crate::clips::{SPEC, all, file, mp4, open, render, shaded, source, take, with_pictures};
use crate::rtsp_camera::{Login, RtspCamera};
use sigmawatch::base::SystemClock;
use sigmawatch::config::{self, Transport};
use sigmawatch::frame::{FrameSpec, Link, LinkEvent, SourceError, SourceErrorKind};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The clips here have 20 frames a second, to be quicker.
const FAST: FrameSpec = FrameSpec { fps: 20.0, ..SPEC };

pub fn camera(url: String) -> config::Gst {
    config::Gst { pipeline: "rtsp".into(), live: true, ..file(url) }
}

fn clip(frames: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "clip.mp4", frames, 20);
    (dir, clip)
}

/// A link on a thread of its own, stopped with the test.
pub struct Watched {
    events: Receiver<LinkEvent>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

pub fn watch(config: config::Gst, stall_after: Duration) -> Watched {
    let (send, events) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut source = source(config).expect("the shipped description");
            let link = Link::new(vec![FAST], stall_after, Arc::new(SystemClock::default()));
            // A test that has seen enough no longer listens.
            link.run(source.as_mut(), &stop, &mut |event| drop(send.send(event)));
        }
    });
    Watched { events, stop, thread: Some(thread) }
}

impl Watched {
    /// Waits for the first event that `pick` picks.
    pub fn until<T>(&self, what: &str, mut pick: impl FnMut(LinkEvent) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap_or_else(|e| panic!("no {what}: {e}"));
            if let Some(found) = pick(event) {
                return found;
            }
        }
    }

    pub fn lost(&self) -> SourceError {
        self.until("loss", |e| if let LinkEvent::Lost { error } = e { Some(error) } else { None })
    }

    pub fn frames(&self, mut n: usize) {
        self.until("frames", |e| {
            n -= usize::from(matches!(e, LinkEvent::Frame(_)));
            (n == 0).then_some(())
        });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let asked = Instant::now();
        self.thread.take().expect("joined once").join().expect("the link ends well");
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(6), "stopping took {took:?}");
    }
}

#[test]
fn a_camera_gives_the_files_frames_over_tcp_and_udp() {
    let (_dir, clip) = clip(40);
    let expected = all(file(&clip), &FAST).expect("a good file");
    assert_eq!(expected.len(), 40);
    let server = RtspCamera::serve(&clip);
    for transport in [Transport::Tcp, Transport::Udp] {
        let config = config::Gst { transport, ..camera(server.url()) };
        let mut stream = open(config, &FAST).expect("it opens");
        let frames = take(stream.as_mut(), usize::MAX).expect("frames to the end");
        // The server's goodbye may overtake its last picture; over UDP it comes by a socket of its own, and on a busy machine
        // overtakes all that still waits in the other.
        let least = expected.len() - if transport == Transport::Udp { expected.len() / 4 } else { 2 };
        assert!((least..=expected.len()).contains(&frames.len()), "{} {transport:?}", frames.len());
        for (i, (got, want)) in frames.iter().zip(&expected).enumerate() {
            assert!(got.pixels == want.pixels, "frame {i} over {transport:?} differs");
            assert_eq!(got.run, frames[0].run, "frame {i} over {transport:?} begins a run");
        }
        assert_eq!(stream.info().codec.as_deref(), Some("H.264"));
        assert_eq!(stream.dropped(), 0);
    }
}

#[test]
fn credentials_of_any_characters_log_in_and_wrong_ones_are_named_but_never_shown() {
    let (_dir, clip) = clip(40);
    let password = "p@ss:/w\"ö r#d%1!";
    for digest in [false, true] {
        let server = RtspCamera::start(&clip, 0, Some(Login { user: "wächter", password, digest }));
        let with = |user: &str, password: &str| config::Gst {
            user: Some(user.into()),
            password: Some(password.into()),
            ..camera(server.url())
        };
        let mut stream = open(with("wächter", password), &FAST).expect("it opens");
        assert_eq!(take(stream.as_mut(), 3).expect("frames").len(), 3);
        drop(stream);
        for config in [with("wächter", "canary-wrong-1"), with("canary-user", password), camera(server.url())]
        {
            let error =
                take(open(config, &FAST).expect("errors come later").as_mut(), 1).expect_err("refused");
            assert_eq!(error.kind, SourceErrorKind::Unauthorized, "{error}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains("canary") && !text.contains(password), "{text}");
        }
    }
}

#[test]
fn sound_beside_the_video_is_left_out_and_sound_alone_is_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = dir.path().join("sound.mp4");
    render(&format!(
        "mp4mux name=mux ! filesink location={} \
         audiotestsrc num-buffers=130 ! audioconvert ! avenc_aac ! aacparse ! mux. \
         videotestsrc pattern=ball num-buffers=60 ! video/x-raw,format=I420,width=320,height=240,framerate=20/1 ! \
         x264enc key-int-max=10 bframes=0 ! h264parse ! mux.",
        clip.display()
    ));
    let expected = all(file(&clip), &FAST).expect("a good file");
    let sound = |pay: u8| format!("both. ! queue ! aacparse ! rtpmp4gpay name=pay{pay} pt=97");
    let video =
        |pay: u8| format!("both. ! queue ! h264parse ! rtph264pay name=pay{pay} pt=96 config-interval=1");
    let demux = format!("filesrc location={} ! qtdemux name=both", clip.display());
    for (launch, order) in [
        (format!("{demux} {} {}", sound(0), video(1)), "sound first"),
        (format!("{demux} {} {}", video(0), sound(1)), "video first"),
    ] {
        let server = RtspCamera::launch(&launch, 0);
        for transport in [Transport::Tcp, Transport::Udp] {
            let config = config::Gst { transport, ..camera(server.url()) };
            let frames = take(open(config, &FAST).expect("it opens").as_mut(), 40).expect("frames");
            for (number, (got, want)) in frames.iter().zip(&expected).enumerate() {
                assert!(got.pixels == want.pixels, "{order}, {transport:?}: frame {number} differs");
            }
        }
    }
    let server = RtspCamera::launch(&format!("{demux} {}", sound(0)), 0);
    let error = take(open(camera(server.url()), &FAST).expect("errors come later").as_mut(), 1);
    let error = error.expect_err("there is no video");
    assert_eq!(error.kind, SourceErrorKind::NoVideo, "{error}");
    assert!(error.message.contains("no video") && error.remedy.contains("switch the video on"), "{error}");
}

#[test]
fn a_closed_port_and_a_wrong_path_say_which() {
    let free =
        TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it has one").port();
    let closed = camera(format!("rtsp://127.0.0.1:{free}/stream"));
    let error = take(open(closed, &FAST).expect("errors come later").as_mut(), 1).expect_err("closed");
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    let (_dir, clip) = clip(20);
    let server = RtspCamera::serve(&clip);
    let path = camera(server.url().replace("stream", "nothing"));
    let error = take(open(path, &FAST).expect("errors come later").as_mut(), 1).expect_err("no such path");
    assert_eq!(error.kind, SourceErrorKind::NotFound, "{error}");
}

#[test]
fn a_camera_that_dies_is_found_again_when_it_is_back() {
    let (_dir, clip) = clip(400);
    let server = RtspCamera::serve(&clip);
    let port = server.port;
    let link = watch(camera(server.url()), Duration::from_secs(5));
    link.frames(5);
    drop(server);
    link.lost();
    let _server = RtspCamera::start(&clip, port, None);
    link.frames(5);
}

#[test]
fn a_camera_that_falls_silent_is_a_stall() {
    let (_dir, clip) = clip(400);
    let server = RtspCamera::serve(&clip);
    let link = watch(camera(server.url()), Duration::from_secs(1));
    link.frames(5);
    server.fall_silent();
    let silent = Instant::now();
    assert_eq!(link.lost().kind, SourceErrorKind::Stalled);
    let noticed = silent.elapsed();
    assert!((0.9..4.5).contains(&noticed.as_secs_f64()), "after {noticed:?}");
}

#[test]
fn a_host_that_accepts_and_says_nothing_is_given_up() {
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = mute.local_addr().expect("it has one").port();
    let link = watch(camera(format!("rtsp://127.0.0.1:{port}/stream")), Duration::from_secs(1));
    let kind = link.lost().kind;
    assert!(matches!(kind, SourceErrorKind::Unreachable | SourceErrorKind::Stalled), "{kind}");
}

#[test]
fn the_picture_of_a_moment_is_near_it_on_a_live_camera() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = RtspCamera::serve(&shaded(dir.path(), 100));
    let mut stream = open(camera(server.url()), &SPEC).expect("it opens");
    assert_eq!(with_pictures(stream.as_mut(), 50).len(), 50);
}
