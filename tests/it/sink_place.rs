//! What sinks are tried with: a store and its outbox, and a web server that answers as a test wants.

use crate::desk::FakeCameras;
use crate::fixture::event;
use sigmawatch::alert::Change;
use sigmawatch::api::{CameraStatus, announce_event};
use sigmawatch::base::{Clock, SystemClock};
use sigmawatch::config::{Sink, load_with};
use sigmawatch::sink::{Parts, Posts};
use sigmawatch::store::Store;
use sigmawatch::telemetry::Metrics;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a server heard: topic or head, and body.
pub type Pairs = Arc<Mutex<Vec<(String, String)>>>;

/// A store with an outbox, and sinks that can be started and stopped.
pub struct Place {
    pub dir: PathBuf,
    /// Removes it at the end.
    _own: Option<tempfile::TempDir>,
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let place = Self::at(dir.path());
        Self { _own: Some(dir), ..place }
    }

    pub fn at(dir: &Path) -> Self {
        Self::of(dir, Arc::new(SystemClock::default()))
    }

    /// One whose letters are dated by this clock.
    pub fn of(dir: &Path, clock: Arc<dyn Clock>) -> Self {
        let store = Store::open(&dir.join("data"), clock).expect("opened");
        Self { dir: dir.into(), _own: None, store: Arc::new(store), metrics: Arc::new(Metrics::new()) }
    }

    /// As the daemon reads them.
    pub fn sinks(&self, text: &str) -> Vec<Sink> {
        for folder in ["pipelines", "runtime"] {
            std::fs::create_dir_all(self.dir.join(folder)).expect("a folder");
        }
        std::fs::write(self.dir.join("runtime/libonnxruntime.so"), "").expect("a file");
        let whole = format!("[[camera]]\nname = \"gate\"\nsource = \"synthetic\"\n{text}");
        let path = self.dir.join("c.toml");
        std::fs::write(&path, whole).expect("written");
        load_with(&path, &|_| None).unwrap_or_else(|invalid| panic!("{invalid}")).config.sinks
    }

    pub fn start(&self, text: &str) -> Posts {
        self.start_with(text, vec![]).0
    }

    pub fn start_with(&self, text: &str, cameras: Vec<CameraStatus>) -> (Posts, Arc<FakeCameras>) {
        let cameras = Arc::new(FakeCameras {
            list: Mutex::new(cameras),
            ready: AtomicBool::new(true),
            moving: Default::default(),
            shown: Mutex::new(None),
        });
        let parts = Parts {
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            clock: Arc::new(SystemClock::default()),
            cameras: cameras.clone(),
        };
        (Posts::start(&self.sinks(text), &parts).expect("started"), cameras)
    }

    /// Alerts with these numbers, as the desk announces them.
    pub fn announce(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            let event = event(n);
            let said = announce_event(Change::New, &event);
            self.store.announce_event(&event, said.as_ref()).expect("kept");
        }
    }
}

/// Waits for what comes from another thread or process, and fails after a minute.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn ids(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|n| event(n).id).collect()
}

/// A web server that answers each request by what `answer` makes of its number, and keeps the bodies.
pub fn web(answer: impl Fn(usize, &mut TcpStream) + Send + 'static) -> (String, Pairs) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/secret-path", listener.local_addr().expect("an address"));
    let seen = Arc::new(Mutex::new(vec![]));
    let kept = seen.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let lower = line.to_ascii_lowercase();
                if let Some(bytes) = lower.strip_prefix("content-length:") {
                    length = bytes.trim().parse().expect("a number");
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok() {
                kept.lock().expect("held").push((head, String::from_utf8(body).expect("UTF-8")));
            }
            answer(number, &mut stream);
        }
    });
    (url, seen)
}

/// A web server that knows nothing of what it is asked for until it is mended; its address.
pub fn web_that_refuses_until(mended: &Arc<AtomicBool>) -> String {
    let mended = mended.clone();
    let answer = move |_, stream: &mut TcpStream| {
        let answer: &[u8] = match mended.load(Relaxed) {
            true => OK,
            false => b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        };
        let _ = stream.write_all(answer);
    };
    web(answer).0
}

pub const OK: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

pub fn hook(url: &str, more: &str) -> String {
    format!("[[sink]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{url}\"\ntimeout = \"1s\"\n{more}")
}

/// The file's lines, without one that is still being written: a write that crosses a page is seen in parts.
pub fn lines(file: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let ended = text.rfind('\n').map_or("", |end| &text[..end]);
    ended.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect()
}
