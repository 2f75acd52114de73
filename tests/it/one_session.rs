//! A camera that bears one session only: the old one is ended before a new one is asked for, after a stall as well.

use crate::rtsp::{camera, watch};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer_rtsp_server::{self as rtsp, prelude::*};
use sigmawatch::frame::{LinkEvent, SourceErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the camera sees of its clients, and whether it sends anything.
#[derive(Default)]
struct Seen {
    silent: AtomicBool,
    torn_down: AtomicUsize,
    /// Of each session: how many had been torn down before it was asked for.
    played: Mutex<Vec<usize>>,
}

/// Serves live pictures to one session at a time, on a thread that ends with the test; gives the port.
fn serve(seen: &Arc<Seen>) -> u16 {
    gst::init().expect("GStreamer starts");
    let (tell, told) = std::sync::mpsc::channel();
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        let context = glib::MainContext::new();
        let with = context.with_thread_default(|| {
            let server = rtsp::RTSPServer::new();
            server.set_address("127.0.0.1");
            server.set_service("0");
            let pool = rtsp::RTSPSessionPool::new();
            pool.set_max_sessions(1);
            server.set_session_pool(Some(&pool));
            let factory = rtsp::RTSPMediaFactory::new();
            factory.set_launch(
                "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=10/1 ! \
                 x264enc tune=zerolatency key-int-max=5 ! identity name=gate ! rtph264pay name=pay0 pt=96 )",
            );
            let gates = Arc::clone(&seen);
            factory.connect_media_configure(move |_, media| {
                let bin = media.element().downcast::<gst::Bin>().expect("a launched media is a bin");
                let gate = bin.by_name("gate").expect("named above").static_pad("src").expect("it has one");
                let seen = Arc::clone(&gates);
                gate.add_probe(gst::PadProbeType::BUFFER, move |_, _| match seen.silent.load(Relaxed) {
                    true => gst::PadProbeReturn::Drop,
                    false => gst::PadProbeReturn::Ok,
                });
            });
            server.mount_points().expect("a server has them").add_factory("/stream", factory);
            server.connect_client_connected(move |_, client| {
                let (torn, played) = (Arc::clone(&seen), Arc::clone(&seen));
                client.connect_teardown_request(move |_, _| _ = torn.torn_down.fetch_add(1, Relaxed));
                client.connect_play_request(move |_, _| {
                    played.played.lock().expect("whole").push(played.torn_down.load(Relaxed));
                });
            });
            server.attach(Some(&context)).expect("the port is free");
            tell.send(server.bound_port() as u16).expect("the test waits for it");
            glib::MainLoop::new(Some(&context), false).run();
        });
        with.expect("a context of its own");
    });
    told.recv().expect("the server starts")
}

#[test]
fn a_stalled_session_is_torn_down_and_the_next_one_is_let_in() {
    let seen = Arc::new(Seen::default());
    let port = serve(&seen);
    let link = watch(camera(format!("rtsp://127.0.0.1:{port}/stream")), Duration::from_secs(1));
    for round in 1..=3 {
        link.frames(5);
        let played = seen.played.lock().expect("whole").clone();
        assert_eq!(played, (0..round).collect::<Vec<_>>(), "each comes once the one before was torn down");
        seen.silent.store(true, Relaxed);
        assert_eq!(link.lost().kind, SourceErrorKind::Stalled);
        link.until("the wait", |e| matches!(e, LinkEvent::BackingOff { .. }).then_some(()));
        seen.silent.store(false, Relaxed);
        let back = Instant::now();
        link.frames(1);
        let took = back.elapsed();
        println!("round {round}: pictures {:.2} s after the slot was free", took.as_secs_f64());
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

/// Somebody else has the only session: asked for again and again, and there as soon as it is free.
#[test]
fn a_camera_that_is_taken_is_watched_soon_after_it_is_free() {
    let seen = Arc::new(Seen::default());
    let port = serve(&seen);
    let url = format!("rtsp://127.0.0.1:{port}/stream");
    let other = watch(camera(url.clone()), Duration::from_secs(5));
    other.frames(3);
    let link = watch(camera(url), Duration::from_secs(5));
    let refused = link.lost();
    println!("refused: {refused}");
    link.lost();
    drop(other);
    let free = Instant::now();
    link.frames(3);
    let took = free.elapsed();
    println!("pictures {:.2} s after the slot was free", took.as_secs_f64());
    assert!(took < Duration::from_secs(10), "{took:?}");
}
