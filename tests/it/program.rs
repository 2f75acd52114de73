//! The built program: run as a daemon on a folder of its own, asked over HTTP, stopped by signals.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use ureq::Body;
use ureq::http::Response;

/// A busy machine may take this long for anything that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(600);

/// ONNX Runtime: `SIGMAWATCH_ORT_LIB`, else the library that `make` fetches.
pub fn onnxruntime() -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so");
    std::env::var_os("SIGMAWATCH_ORT_LIB").map_or(fetched, PathBuf::from)
}

/// The program with these arguments, not yet started.
pub fn sigmawatch<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigmawatch"));
    command.args(args).env("SIGMAWATCH_ORT_LIB", onnxruntime()).stdin(Stdio::null());
    command
}

/// A folder with a configuration and a store.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// `detector`: lines of `[detector]`; `cameras`: the `[[camera]]` tables.
    pub fn new(detector: &str, cameras: &str) -> Self {
        let home = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        home.configure(detector, cameras);
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration anew. One worker, so that tests leave some of the machine to each other.
    pub fn configure(&self, detector: &str, cameras: &str) {
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = \"data\"\n[runtime]\nonnxruntime = {:?}\npipelines = \
             {:?}\nworkers = 1\n[detector]\n{detector}\n{cameras}\n",
            onnxruntime(),
            crate::clips::pipelines()
        );
        std::fs::write(self.path("config.toml"), text).expect("written");
    }

    pub fn command(&self) -> Command {
        let mut command = sigmawatch(["run", "--config"]);
        command.arg(self.path("config.toml"));
        command
    }

    /// Starts the daemon, and waits until it serves.
    pub fn start(&self) -> Daemon {
        Daemon::start(self.command())
    }

    /// Runs a daemon that is expected to give up at once.
    pub fn refusal(&self) -> Output {
        self.command().output().expect("the program runs")
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let errors = child.stderr.take().expect("piped above");
        let log = Arc::new(Mutex::new(String::new()));
        let reader = std::thread::spawn({
            let log = log.clone();
            move || {
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    *log.lock().expect("held by no panic") += &(line + "\n");
                }
            }
        });
        let mut daemon = Self { child, address: String::new(), log, reader: Some(reader) };
        let end = Instant::now() + PATIENCE;
        while daemon.address.is_empty() {
            let log = daemon.log();
            if let Some((address, _)) =
                log.split_once("open http://").and_then(|(_, rest)| rest.split_once('/'))
            {
                daemon.address = address.to_owned();
            }
            let ended = daemon.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < end,
                "it does not serve ({ended:?}); the log:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("held by no panic").clone()
    }

    /// Looks again and again until there is something.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "{what} has not come; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The full address of a path.
    pub fn address(&self, path: &str) -> String {
        self.url(path)
    }

    /// A part of a file.
    pub fn get_range(&self, path: &str, range: &str) -> Response<Body> {
        agent().get(self.url(path)).header("range", range).call().expect("answered")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn get(&self, path: &str) -> Response<Body> {
        agent().get(self.url(path)).call().expect("answered")
    }

    pub fn post(&self, path: &str) -> Response<Body> {
        agent().post(self.url(path)).send_empty().expect("answered")
    }

    pub fn json(&self, path: &str) -> Value {
        let mut response = self.get(path);
        assert_eq!(response.status(), 200, "{path}");
        response.body_mut().read_json().expect("JSON")
    }

    pub fn text(&self, path: &str) -> String {
        self.get(path).body_mut().read_to_string().expect("text")
    }

    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let mut response = self.get(path);
        assert_eq!(response.status(), 200, "{path}");
        response.body_mut().read_to_vec().expect("a body")
    }

    pub fn camera(&self, name: &str) -> Value {
        self.json(&format!("/api/cameras/{name}"))
    }

    /// The events that are listed, oldest first.
    pub fn events(&self, query: &str) -> Vec<Value> {
        let page = self.json(&format!("/api/events?limit=500{query}"));
        page["events"].as_array().expect("a list").iter().rev().cloned().collect()
    }

    /// The value of a sample, for example `segments_scored_total{camera="gate"}`; 0 where there is none.
    pub fn metric(&self, sample: &str) -> f64 {
        let metrics = self.text("/metrics");
        let line = metrics.lines().find_map(|l| l.strip_prefix("sigmawatch_")?.strip_prefix(sample));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// The event stream from now on: names and data.
    pub fn stream(&self) -> Receiver<(String, Value)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().build().new_agent();
        let body = agent.get(self.url("/api/stream")).call().expect("answered").into_body();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let (mut name, lines) = (String::new(), BufReader::new(body.into_reader()).lines());
            for line in lines.map_while(Result::ok) {
                if let Some(event) = line.strip_prefix("event: ") {
                    name = event.to_owned();
                } else if let Some(data) = line.strip_prefix("data: ") {
                    let data = serde_json::from_str(data).expect("JSON");
                    if send.send((std::mem::take(&mut name), data)).is_err() {
                        return;
                    }
                }
            }
        });
        receive
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that it has started and that run.
    pub fn children(&self) -> Vec<i32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let list = |path: PathBuf| std::fs::read_to_string(path.join("children")).unwrap_or_default();
        let numbers =
            |list: String| list.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>();
        tasks.flat_map(|task| numbers(list(task.path()))).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for the end; gives the status, how long it took, and the whole log.
    pub fn wait(mut self) -> (ExitStatus, Duration, String) {
        let began = Instant::now();
        let status = self.child.wait().expect("a child of this process");
        let took = began.elapsed();
        self.reader.take().expect("joined once").join().expect("reading does not panic");
        (status, took, self.log())
    }

    /// SIGTERM; it must end cleanly. Gives the whole log.
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, _, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(30))).build().new_agent()
}
