//! The daemon as a child: configured, started, asked, measured and stopped.

use super::scrape::Scrape;
use super::{go_on, say};
use crate::daemon::Stop;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Descriptions that differ only in when they begin, so that cameras are not in step with each other, as real ones are
/// not: offsets in milliseconds, spread over two seconds, over segments and over frames.
const OFFSETS: usize = 16;
const APART: u64 = 125;
/// Lines of the daemon's log that are shown where it fails.
const LINES: usize = 12;
/// It starts within this time on any machine, and answers within this.
const STARTS: Duration = Duration::from_secs(60);
const ANSWERS: Duration = Duration::from_secs(30);
/// It stops cleanly within this, or is killed.
const STOPS: Duration = Duration::from_secs(20);
/// Linux shows a hundred ticks a second to programs.
const TICKS: f64 = 100.0;

/// What every step is made of.
pub struct Setting {
    pub folder: PathBuf,
    pub pipelines: PathBuf,
    pub onnxruntime: PathBuf,
    pub model: PathBuf,
    pub replay: PathBuf,
    pub stride: u8,
    /// Frames of the recording that are analysed, a second.
    pub analysed: f64,
    /// Compressed video that the daemon holds of a camera after a while.
    pub kept_bytes: f64,
    pub stop: Stop,
}

/// Writes the descriptions that replay a recording as a live camera's stream: at its own pace before it is decoded,
/// so that what is too slow falls behind, and has segments dropped. Their folder.
pub fn descriptions(folder: &Path) -> Result<PathBuf> {
    let pipelines = folder.join("pipelines");
    std::fs::create_dir(&pipelines).with_context(|| pipelines.display().to_string())?;
    for camera in 0..OFFSETS {
        let offset = camera as u64 * APART * 1_000_000;
        let text = format!(
            "filesrc name=source\n! qtdemux\n! clocksync ts-offset={offset}\n\
             ! decodebin caps=video/x-raw(ANY) expose-all-streams=false\n! video/x-raw\n! identity name=thin\n\
             ! videoscale add-borders=false\n! videoconvert\n! capsfilter name=size\n! appsink name=frames\n"
        );
        let file = pipelines.join(format!("{}.pipeline", description(camera)));
        std::fs::write(&file, text).with_context(|| format!("{}: cannot be written", file.display()))?;
    }
    Ok(pipelines)
}

/// The description that a camera is replayed by.
pub fn description(camera: usize) -> String {
    format!("replay-{}", camera % OFFSETS)
}

/// Learns a model from a recording, by this program itself; its file, beside the recording.
pub fn learn(clip: &Path, pipelines: &Path, onnxruntime: &Path, stop: &Stop) -> Result<PathBuf> {
    let model = clip.with_extension("onnx");
    let mut command = program()?;
    command.arg("learn").arg("--from").arg(clip).arg("--out").arg(&model).arg("--pipelines").arg(pipelines);
    // Densely, whatever the stride that is measured: recordings are short.
    command.args(["--stride", "2"]).env("SIGMAWATCH_ORT_LIB", onnxruntime);
    let mut learning = Running::start(command)?;
    while learning.ended()?.is_none() {
        go_on(stop)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(
        model.is_file(),
        "nothing can be learned from the recording (give a longer one, of a picture that lives):\n{}",
        learning.log()
    );
    Ok(model)
}

fn program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("this program does not find itself")?))
}

/// A child whose log is read; asked to stop, and waited for, when dropped.
struct Running {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = quiet.spawn().context("this program cannot start itself")?;
        let log: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (errors, lines) = (child.stderr.take().context("piped above")?, Arc::clone(&log));
        // Ends with the child.
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_back(line);
                if lines.len() > LINES {
                    lines.pop_front();
                }
            }
        });
        Ok(Self { child, log })
    }

    /// Its exit code, or the signal's, once it has ended.
    fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }

    fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // This, and what follows, fails only where it has ended.
        let _ = id.map(|id| kill_process(id, Signal::TERM));
        let until = Instant::now() + STOPS;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        say("the daemon does not stop; ending it");
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A daemon at work, and its store.
pub struct Daemon {
    // Ends before its folder goes.
    running: Running,
    address: String,
    agent: ureq::Agent,
    _store: TempDir,
}

impl Daemon {
    /// Starts it with so many cameras. `alerting`: the first of them alerts time and again.
    pub fn start(setting: &Setting, cameras: usize, alerting: bool) -> Result<Self> {
        let store = TempDir::new_in(&setting.folder).context("no folder for the store")?;
        let file = store.path().join("config.toml");
        let text = configuration(setting, store.path(), cameras, alerting);
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        let mut command = program()?;
        command.arg("run").arg("--config").arg(&file).env_remove("SIGMAWATCH_LOG");
        let mut running = Running::start(command)?;
        let began = Instant::now();
        let address = loop {
            go_on(&setting.stop)?;
            let (ended, log) = (running.ended()?, running.log());
            if let Some((_, rest)) = log.split_once("open http://") {
                break rest.split('/').next().unwrap_or_default().to_owned();
            }
            if ended.is_some() || began.elapsed() > STARTS {
                bail!("the daemon does not start with {cameras} cameras:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        // The daemon closes what is idle for long.
        let config = ureq::Agent::config_builder().proxy(None).max_idle_connections(0);
        let config = config.timeout_global(Some(ANSWERS)).build();
        Ok(Self { running, address, agent: config.into(), _store: store })
    }

    /// All its metrics.
    pub fn scrape(&mut self) -> Result<Scrape> {
        let asked = self.agent.get(format!("http://{}/metrics", self.address)).call();
        let text = asked.and_then(|mut answer| answer.body_mut().read_to_string());
        match (self.running.ended()?, text) {
            (None, Ok(text)) => Ok(Scrape::of(&text)),
            (None, Err(error)) => bail!("the daemon does not answer: {error}"),
            (Some(how), _) => bail!("the daemon has ended ({how}):\n{}", self.running.log()),
        }
    }

    /// CPU seconds so far, of all its threads.
    pub fn cpu(&self) -> Result<f64> {
        let text = read(&format!("/proc/{}/stat", self.running.child.id()))?;
        // After the name, which may hold anything: fields 14 and 15 of proc(5), user and system.
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
        Ok(ticks.iter().sum::<f64>() / TICKS)
    }

    /// Resident memory, MiB.
    pub fn memory(&self) -> Result<f64> {
        let text = read(&format!("/proc/{}/status", self.running.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

/// CPU seconds that this machine has worked so far, for whomever.
pub fn worked() -> Result<f64> {
    let text = read("/proc/stat")?;
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or("");
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user, nice, system; then idle and waiting for disks; interrupts and what other guests had (proc(5)).
    let working = ticks.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at));
    Ok(working.map(|(_, ticks)| ticks).sum::<f64>() / TICKS)
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| file.to_owned())
}

fn configuration(setting: &Setting, store: &Path, cameras: usize, alerting: bool) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let (model, replay, stride) = (quoted(&setting.model), quoted(&setting.replay), setting.stride);
    let mut text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = {}\nmax_size = \"1GB\"\nmin_free = \"0kB\"\n\
         [runtime]\nonnxruntime = {}\npipelines = {}\n",
        quoted(&store.join("data")),
        quoted(&setting.onnxruntime),
        quoted(&setting.pipelines)
    );
    for camera in 0..cameras {
        // Where a recording begins again, the picture jumps: that is no change of the scene.
        text.push_str(&format!(
            "[[camera]]\nname = \"c{camera}\"\nsource = \"{}\"\nlocation = {replay}\nscene_change = \"ignore\"\n\
             detector.scorer = {model}\ndetector.stride = {stride}\n",
            description(camera)
        ));
        if alerting && camera == 0 {
            text.push_str(
                "detector.k = 0.0\ndetector.open_n = 1\ndetector.open_m = 1\ndetector.close_after = \"100ms\"\n",
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_a_good_one_whatever_the_folders_are_called() {
        let odd = tempfile::Builder::new().prefix("it's \"odd\" \\ ").tempdir().expect("a folder");
        let file = |name: &str| {
            let file = odd.path().join(name);
            std::fs::write(&file, "").expect("written");
            file
        };
        let setting = Setting {
            folder: odd.path().into(),
            pipelines: descriptions(odd.path()).expect("written"),
            onnxruntime: file("libonnxruntime.so"),
            model: file("model.onnx"),
            replay: file("replay.mp4"),
            stride: 4,
            analysed: 10.0,
            kept_bytes: 0.0,
            stop: Stop::default(),
        };
        let text = configuration(&setting, odd.path(), 20, true);
        let written = file("config.toml");
        std::fs::write(&written, &text).expect("written");
        let loaded = crate::config::load_with(&written, &|_| None);
        let config = loaded.unwrap_or_else(|bad| panic!("{bad}\n{text}")).config;
        assert_eq!(config.cameras.len(), 20);
        assert!(
            config.cameras[0].detectors[0].threshold.k == 0.0 && config.cameras[1].detectors[0].stride == 4
        );
    }

    #[test]
    fn a_machine_that_works_has_worked() {
        let before = worked().expect("/proc");
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        assert!(worked().expect("/proc") > before);
    }
}
