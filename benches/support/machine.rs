//! Runs the program for a measurement: configuration, start, address, stop.

use super::place::{PROGRAM, root};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running child that is killed, and waited for, when it is dropped.
pub struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn new(child: Child) -> Self {
        Self { child }
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// A daemon of its own folder and port.
pub struct Daemon {
    pub address: String,
    pub running: Running,
    _folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts the daemon; `cameras` is the configuration from the first `[[camera]]` on; before it may be more of `[runtime]`.
    pub fn start(cameras: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config.toml");
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = \"data\"\n\
             [runtime]\nonnxruntime = {:?}\npipelines = {:?}\n{cameras}",
            root().join("runtime/libonnxruntime.so"),
            root().join("pipelines"),
        );
        std::fs::write(&config, text)?;
        let mut child = Command::new(PROGRAM)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no log")?;
        let running = Running::new(child);
        let mut lines = BufReader::new(stderr).lines();
        let mut log = String::new();
        let address = loop {
            let Some(line) = lines.next() else { bail!("the daemon did not start:\n{log}") };
            let line = line?;
            if let Some((_, rest)) = line.split_once("open http://") {
                break rest.trim_end_matches('/').to_owned();
            }
            log.push_str(&line);
            log.push('\n');
        };
        // The log must be read, or the daemon would block on it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { address, running, _folder: folder })
    }

    pub fn get(&self, path: &str) -> Result<serde_json::Value> {
        Ok(ureq::get(format!("http://{}{path}", self.address)).call()?.body_mut().read_json()?)
    }
}
