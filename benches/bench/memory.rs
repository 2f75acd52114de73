//! What one more camera costs in memory: between two daemons that differ in the number of their cameras.

use crate::cpu::peak_memory;
use crate::inputs::{plaza, watch};
use crate::support::place;
use crate::support::report::{Goal, Report};
use anyhow::Result;
use std::time::Duration;

const FEW: usize = 2;
const MANY: usize = 6;
/// Longer than any of a camera's own video is held for clips: what is measured then is as much as it gets.
const FILL: Duration = Duration::from_secs(38);

pub fn measure(report: &mut Report) -> Result<()> {
    for (name, (width, height), most) in [("640x360", (640, 360), 10.0), ("1080p", (1920, 1080), 25.0)] {
        let clip = plaza(width, height)?;
        let model = place::learn(&clip, "diffusion")?;
        let (few, many) = (watch(&clip, &model, FEW)?, watch(&clip, &model, MANY)?);
        std::thread::sleep(FILL);
        let (few, many) = (peak_memory(few.running.id())?, peak_memory(many.running.id())?);
        report.add(format!("{name}: peak memory with {FEW} cameras"), few, "MiB", None);
        let further = (many - few) / (MANY - FEW) as f64;
        report.add(format!("{name}: a further camera"), further, "MiB", Some(Goal::AtMost(most)));
    }
    Ok(())
}
