//! CPU time and memory of a process, as the kernel counts them.

use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// CPU seconds so far, user and system.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// All threads of the process.
    pub own: f64,
    /// Its children that have ended, and been waited for.
    pub children: f64,
}

/// Of a process by its id; of this one by `self`.
pub fn cpu(process: impl std::fmt::Display) -> Result<Cpu> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').context("no process name in /proc/PID/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // proc_pid_stat(5) counts from 1, and two fields are gone; in ticks, of which Linux shows a hundred a second.
    let seconds = |number: usize| -> Result<f64> {
        let ticks: f64 = fields.get(number - 3).context("short /proc/PID/stat")?.parse()?;
        Ok(ticks / 100.0)
    };
    Ok(Cpu { own: seconds(14)? + seconds(15)?, children: seconds(16)? + seconds(17)? })
}

/// CPU seconds a second over `window`.
pub fn share(process: u32, window: Duration) -> Result<f64> {
    let (before, began) = (cpu(process)?, Instant::now());
    std::thread::sleep(window);
    Ok((cpu(process)?.own - before.own) / began.elapsed().as_secs_f64())
}

/// The most memory that was ever resident, MiB.
pub fn peak_memory(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
