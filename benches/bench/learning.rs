//! Learning in place: what the first arming of a camera costs, and what the others lose by it.

use crate::cpu::cpu;
use crate::inputs::{plaza, wait_for, wait_long_for};
use crate::support::machine::Daemon;
use crate::support::place;
use crate::support::report::{Goal, Report};
use anyhow::Result;
use serde_json::Value;
use std::time::Duration;

/// Ten minutes of a scene are rendered, analysed and learned from.
const PATIENCE: Duration = Duration::from_secs(300);

/// Two cameras watch in real time while a third one is armed for the first time, with the defaults: ten minutes of video,
/// which it gets as fast as it takes them.
pub fn measure(report: &mut Report) -> Result<()> {
    let model = place::learn(&plaza(640, 360)?, "diffusion")?;
    let mut text = "[[camera]]\nname = \"new\"\nsource = \"synthetic\"\nreal_time = false\n".to_owned();
    for seed in [2, 3] {
        text += &format!(
            "[[camera]]\nname = \"watching-{seed}\"\nsource = \"synthetic\"\nseed = {seed}\n\
             detector.scorer = {model:?}\n"
        );
    }
    let daemon = Daemon::start(&text)?;
    wait_for(&daemon, "score of the watching cameras", |cameras| {
        cameras[1..].iter().all(|camera| camera["detectors"][0]["score"].is_number())
    })?;
    // Models of other makers are tried in a process, too.
    let (before, lost) = (cpu(daemon.running.id())?.children, dropped(&daemon)?);
    let armed = |camera: &Value| camera["detectors"][0]["learning"]["state"] == "armed";
    wait_long_for(&daemon, "arming of the new camera", PATIENCE, |cameras| armed(&cameras[0]))?;
    // The process that learned is waited for after its model is in force.
    wait_for(&daemon, "score of the new camera", |cameras| cameras[0]["detectors"][0]["score"].is_number())?;
    let spent = cpu(daemon.running.id())?.children - before;
    report.add("learning in place: the first arming", spent, "CPU s", Some(Goal::AtMost(60.0)));
    let lost = dropped(&daemon)? - lost;
    let none = Some(Goal::AtMost(0.0));
    report.add("learning in place: frames lost by the watching cameras", lost, "frames", none);
    Ok(())
}

/// Frames of the watching cameras that were thrown away unanalysed so far.
fn dropped(daemon: &Daemon) -> Result<f64> {
    let text = ureq::get(format!("http://{}/metrics", daemon.address)).call()?.body_mut().read_to_string()?;
    let of = |line: &str| line.rsplit_once(' ').and_then(|(_, count)| count.parse::<f64>().ok());
    let counted = |line: &&str| line.starts_with("sigmawatch_frames_dropped_total{camera=\"watching-");
    Ok(text.lines().filter(counted).filter_map(of).sum())
}
