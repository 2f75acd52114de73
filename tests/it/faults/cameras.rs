//! RTSP cameras in a process of their own, which can be stopped, killed and started again.

use crate::clips::render;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer_rtsp_server::{self as rtsp, prelude::*};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Port, clip and number of paths, for the process that serves.
const ASKED: &str = "SIGMAWATCH_FAULTS_CAMERAS";

/// A process that serves a clip under `/0`, `/1` and so on; each client sees it from its first frame, in real time.
pub struct Cameras {
    child: Child,
    clip: PathBuf,
    paths: usize,
    pub port: u16,
    /// Clients at most that had asked for something and were not served yet.
    most: Arc<AtomicUsize>,
}

impl Cameras {
    pub fn serve(clip: &Path, paths: usize) -> Self {
        Self::start(clip, paths, 0)
    }

    fn start(clip: &Path, paths: usize, port: u16) -> Self {
        // Cameras have processors of their own: here they take what the daemon leaves.
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "faults::cameras::a_process_of_cameras_ends_with_its_owner", "--nocapture"])
            .env(ASKED, format!("{port} {paths} {}", clip.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the process of cameras starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.split_once("serving ")?.1.parse().ok()).expect("a port");
        let most = Arc::new(AtomicUsize::new(0));
        let sees = most.clone();
        std::thread::spawn(move || {
            for line in lines {
                if let Some((_, waiting)) = line.split_once("waiting ") {
                    sees.fetch_max(waiting.parse().expect("a number"), Relaxed);
                }
            }
        });
        Self { child, clip: clip.to_owned(), paths, port, most }
    }

    pub fn url(&self, path: usize) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.port)
    }

    /// The configuration of cameras at these paths, named so.
    pub fn tables(&self, name: &str) -> String {
        let table = |path| {
            let url = self.url(path);
            // What the small picture shows fills it: that is no change of the scene.
            format!(
                "[[camera]]\nname = \"{name}{path}\"\nsource = \"rtsp\"\nlocation = \"{url}\"\nscene_change = \"ignore\"\n"
            )
        };
        (0..self.paths).map(table).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Cuts every connection and closes the port.
    pub fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("a child of this process");
    }

    /// After [`Self::kill`]: the same cameras at the same address.
    pub fn restart(&mut self) {
        *self = Self::start(&self.clip.clone(), self.paths, self.port);
    }

    pub fn most_waiting(&self) -> usize {
        self.most.load(Relaxed)
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small clip of something that moves: so many seconds, a key frame every second.
pub fn small_clip(dir: &Path, fps: u32, seconds: u32) -> PathBuf {
    let path = dir.join(format!("small-{fps}-{seconds}.mp4"));
    render(&format!(
        "videotestsrc pattern=ball num-buffers={} ! video/x-raw,format=I420,width=160,height=120,framerate={fps}/1 ! \
         x264enc speed-preset=ultrafast tune=zerolatency key-int-max={fps} bitrate=64 ! mp4mux ! filesink location={}",
        fps * seconds,
        path.display()
    ));
    path
}

/// Run by [`Cameras`] in a process of its own, which ends when its owner does; beside the other tests it sees that.
#[test]
fn a_process_of_cameras_ends_with_its_owner() {
    if let Ok(asked) = std::env::var(ASKED) {
        let mut words = asked.splitn(3, ' ');
        let mut word = || words.next().expect("three words");
        let (port, paths) = (word().to_owned(), word().parse().expect("a number"));
        serve(&port, paths, word());
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut cameras = Cameras::serve(&small_clip(dir.path(), 10, 1), 1);
    assert!(std::net::TcpStream::connect(("127.0.0.1", cameras.port)).is_ok());
    drop(cameras.child.stdin.take());
    assert!(cameras.child.wait().expect("a child").success());
}

/// Serves until the owner closes this process's standard input.
fn serve(port: &str, paths: usize, clip: &str) -> ! {
    gst::init().expect("GStreamer starts");
    let main = glib::MainLoop::new(None, false);
    let server = rtsp::RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(port);
    server.set_backlog(256);
    let mounts = server.mount_points().expect("a server has them");
    for path in 0..paths {
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(&format!(
            "( filesrc location={clip} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
        ));
        mounts.add_factory(&format!("/{path}"), factory);
    }
    let (waiting, ids) = (Arc::new(Mutex::new(HashSet::new())), AtomicUsize::new(0));
    server.connect_client_connected(move |_, client| {
        let id = ids.fetch_add(1, Relaxed);
        let asks = waiting.clone();
        client.connect_options_request(move |_, _| {
            let mut waiting = asks.lock().expect("held by no panic");
            waiting.insert(id);
            println!("waiting {}", waiting.len());
        });
        let served = waiting.clone();
        client.connect_play_request(move |_, _| {
            served.lock().expect("held by no panic").remove(&id);
        });
        let gone = waiting.clone();
        client.connect_closed(move |_| {
            gone.lock().expect("held by no panic").remove(&id);
        });
    });
    server.attach(None).expect("the port is free");
    println!("serving {}", server.bound_port());
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    main.run();
    unreachable!("nobody ends the loop");
}
