//! `sigmawatch check --probe`: what each camera of a configuration really sends, and what is wrong with it.

use crate::base::{Clock, SystemClock};
use crate::config::{Camera, Config, Extractor, Source, Transport};
use crate::frame::{FrameSpec, Next, PacketKeep, PacketRing, PixelFormat, SourceError, open_source};
use crossbeam_channel::unbounded;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// So many cameras at once: not more connections than a small switch or recorder bears.
const AT_ONCE: usize = 8;
/// No camera is watched longer than this ...
const LONGEST: Duration = Duration::from_secs(10);
/// ... and none that shows what is asked for longer than this: RTCP comes within the first seconds (RFC 3550, 6.2).
const ENOUGH: Duration = Duration::from_secs(4);
/// Every picture of any camera is taken, for its time alone.
const EVERY: FrameSpec = FrameSpec { width: 64, height: 64, format: PixelFormat::Gray8, fps: 240.0 };
const KEEP: PacketKeep = PacketKeep { bytes: 64 << 20, span: LONGEST };
/// After a loss nothing can be decoded before the next key frame.
const RARE_KEYS: f64 = 4.0;
/// Pixels that cost much to decode, and are scaled down anyway.
const MANY_PIXELS: u32 = 1920 * 1088;

/// What was found out about a camera.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    camera: String,
    /// Without credentials.
    source: String,
    /// `tcp` or `udp`; none where nothing is transported.
    transport: Option<Transport>,
    codec: Option<String>,
    /// Pixels; 0 where no picture came.
    width: u32,
    height: u32,
    /// Frames a second as declared; 0 where it is not.
    fps_declared: f64,
    /// Frames a second that came.
    fps: Option<f64>,
    /// Seconds from key frame to key frame, the longest; none where fewer than two came.
    key_frame_every: Option<f64>,
    /// The camera tells its own time (RTCP sender reports); none where that does not apply.
    tells_time: Option<bool>,
    /// Why it cannot be watched.
    error: Option<Finding>,
    /// What could be better.
    advice: Vec<Finding>,
}

/// What is wrong and what helps.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    problem: String,
    remedy: String,
}

impl Finding {
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

impl Probe {
    /// The camera can be watched.
    pub fn is_good(&self) -> bool {
        self.error.is_none()
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.camera, self.source)?;
        if self.width > 0 {
            let codec = self.codec.as_deref().unwrap_or("uncompressed");
            write!(f, ": {codec}, {} x {}", self.width, self.height)?;
        }
        if let Some(fps) = self.fps {
            write!(f, ", {fps:.1} pictures a second")?;
            match self.fps_declared {
                0.0 => write!(f, " (it declares no rate)")?,
                declared => write!(f, " of {declared:.1} declared")?,
            }
        }
        if let Some(every) = self.key_frame_every {
            write!(f, ", a key frame every {every:.1} s")?;
        }
        if let Some(transport) = self.transport {
            write!(f, ", by {}", transport.name().to_uppercase())?;
        }
        match self.tells_time {
            Some(true) => write!(f, ", tells its time")?,
            Some(false) if self.is_good() => write!(f, ", tells no time")?,
            _ => {}
        }
        if let Some(Finding { problem, remedy }) = &self.error {
            write!(f, "\n  cannot be watched: {problem} ({remedy})")?;
        }
        self.advice.iter().try_for_each(|Finding { problem, remedy }| write!(f, "\n  {problem} ({remedy})"))
    }
}

/// Probes every camera that is enabled, some at once; `tell` hears of each when it is done. In the configuration's order.
pub fn all(config: &Config, mut tell: impl FnMut(&Probe)) -> Vec<Probe> {
    let (give, work) = unbounded();
    for one in config.cameras.iter().enumerate().filter(|(_, camera)| camera.enabled) {
        give.send(one).expect("the other end is here");
    }
    drop(give);
    let (done, results) = unbounded();
    let mut probes: Vec<(usize, Probe)> = std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(config.cameras.len()) {
            let (work, done) = (work.clone(), done.clone());
            scope.spawn(move || {
                for (at, camera) in work {
                    // The receiver outlives this thread.
                    drop(done.send((at, probe(camera, &config.runtime.pipelines))));
                }
            });
        }
        drop(done);
        results.iter().inspect(|(_, probe)| tell(probe)).collect()
    });
    probes.sort_by_key(|(at, _)| *at);
    probes.into_iter().map(|(_, probe)| probe).collect()
}

fn probe(camera: &Camera, pipelines: &Path) -> Probe {
    let transport = match &camera.source {
        Source::Gst(gst) if gst.location.starts_with("rtsp") => Some(gst.transport),
        _ => None,
    };
    let blank = Probe {
        camera: camera.name.to_string(),
        source: String::new(),
        transport,
        codec: None,
        width: 0,
        height: 0,
        fps_declared: 0.0,
        fps: None,
        key_frame_every: None,
        tells_time: None,
        error: None,
        advice: vec![],
    };
    let (tell, told) = unbounded();
    let (source, folder, seen) = (camera.source.clone(), pipelines.to_owned(), blank.clone());
    // A device or a file system of the network may hang where nothing can end it: it is left behind on its thread.
    std::thread::spawn(move || {
        let (mut seen, opened) = (seen, tell.clone());
        // Nobody may listen any more.
        let watched = watch(&source, &folder, &mut seen, &|| drop(opened.send(None)));
        drop(tell.send(Some((seen, watched))));
    });
    let mut heard = told.recv_timeout(LONGEST);
    if let Ok(None) = heard {
        // Once it is open it is watched for so long only.
        heard = told.recv_timeout(2 * LONGEST);
    }
    match heard {
        Ok(Some((mut probe, Ok(())))) => {
            probe.advice = advice(&probe, camera);
            probe
        }
        Ok(Some((probe, Err(SourceError { kind, message, remedy })))) => {
            Probe { error: Some(Finding::new(format!("{kind}: {message}"), remedy)), ..probe }
        }
        Ok(None) | Err(_) => {
            let problem = format!("it does not open: nothing happened in {} s", LONGEST.as_secs());
            let remedy = "see to the device, or to the network that the file is on";
            Probe { error: Some(Finding::new(problem, remedy)), ..blank }
        }
    }
}

/// Watches until everything is known, or the time is over; says when it is open.
fn watch(source: &Source, pipelines: &Path, probe: &mut Probe, opened: &dyn Fn()) -> Result<(), SourceError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut source = open_source(source, pipelines, Arc::clone(&clock))?;
    probe.source = source.describe();
    source.keep_packets(KEEP);
    let began = clock.monotonic();
    let mut stream = source.open(&[EVERY])?;
    opened();
    let mut first = None;
    let (mut frames, mut times) = (0_u32, (Duration::MAX, Duration::ZERO));
    loop {
        match stream.next(Duration::from_millis(100))? {
            Next::Frame(frame) => {
                first.get_or_insert(frame.stamp.received);
                frames += 1;
                times = (times.0.min(frame.stamp.pts), times.1.max(frame.stamp.pts));
            }
            Next::Idle => {}
            Next::End => break,
        }
        let now = clock.monotonic();
        let keys = stream.packets().map_or(0, |ring| ring.from(0).iter().filter(|p| p.key).count());
        let known = first.is_some_and(|first| now - first >= ENOUGH) && keys >= 2;
        if known && stream.tells_time() != Some(false) || now - began >= LONGEST {
            break;
        }
    }
    if frames == 0 {
        return Err(SourceError {
            kind: crate::frame::SourceErrorKind::Stalled,
            message: format!("{}: it answers, but no picture came in {} s", probe.source, LONGEST.as_secs()),
            remedy: "restart the camera; see in its own page whether it shows a picture".into(),
        });
    }
    let info = stream.info();
    (probe.codec, probe.width, probe.height) = (info.codec, info.width, info.height);
    probe.fps_declared = info.fps;
    probe.tells_time = stream.tells_time();
    let span = times.1.saturating_sub(times.0).as_secs_f64();
    probe.fps = (frames > 1 && span > 0.0).then(|| f64::from(frames - 1) / span);
    probe.key_frame_every = stream.packets().and_then(|ring| longest_group(&ring));
    Ok(())
}

/// Seconds of the longest group of pictures that came whole, of the camera's own packets.
fn longest_group(ring: &PacketRing) -> Option<f64> {
    let packets = ring.from(0);
    let keys: Vec<Duration> =
        packets.iter().filter(|p| p.key && !p.format.encoded_here).map(|p| p.pts).collect();
    keys.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).reduce(f64::max)
}

/// What could be better about a camera that can be watched.
fn advice(probe: &Probe, camera: &Camera) -> Vec<Finding> {
    let mut found = vec![];
    let Source::Gst(gst) = &camera.source else { return found };
    let mut say = |problem: String, remedy: &str| found.push(Finding::new(problem, remedy));
    let came = probe.fps.unwrap_or(0.0);
    if gst.live && came < 0.8 * probe.fps_declared {
        say(
            format!("only {came:.1} of {:.1} declared pictures a second come", probe.fps_declared),
            "see to the network and to how many others watch it, or have it send fewer",
        );
    }
    for detector in &camera.detectors {
        if let Extractor::V1 { fps, .. } = detector.extractor
            && came < 0.9 * fps
        {
            say(
                format!("detector {} analyses {fps} pictures a second, and {came:.1} come", detector.name),
                "raise the camera's rate, or lower `fps`",
            );
        }
    }
    let compressed = matches!(probe.codec.as_deref(), Some("H.264" | "H.265"));
    match probe.key_frame_every {
        Some(every) if every > RARE_KEYS && gst.live => say(
            format!(
                "a key frame comes only every {every:.1} s: so long it may take to see again after a loss"
            ),
            "set the camera's key frame (I-frame) interval to one or two seconds",
        ),
        None if compressed && gst.live => say(
            format!("fewer than two key frames came in {} s", LONGEST.as_secs()),
            "set the camera's key frame (I-frame) interval to one or two seconds",
        ),
        _ => {}
    }
    if !compressed && camera.clips.is_some() {
        say(
            "it sends neither H.264 nor H.265, so clips are encoded here".into(),
            "set the camera to H.264, to spare the processor",
        );
    }
    if probe.width * probe.height > MANY_PIXELS {
        say(
            format!("{} x {} pixels cost much to decode", probe.width, probe.height),
            "name the camera's second, smaller stream",
        );
    }
    if probe.tells_time == Some(false) {
        say(
            format!(
                "it told no time of its own in {} s (RTCP), so times are those of arrival",
                LONGEST.as_secs()
            ),
            "switch RTCP on in the camera, where it can; nothing else depends on it",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(lines: &str) -> Camera {
        let text =
            format!("[[camera]]\nname = \"gate\"\nsource = \"rtsp\"\nlocation = \"rtsp://h/a\"\n{lines}");
        let dir = tempfile::tempdir().expect("a folder");
        for folder in ["pipelines", "runtime"] {
            std::fs::create_dir_all(dir.path().join(folder)).expect("a folder");
        }
        std::fs::write(dir.path().join("pipelines/rtsp.pipeline"), "").expect("written");
        std::fs::write(dir.path().join("runtime/libonnxruntime.so"), "").expect("written");
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).expect("written");
        let loaded = crate::config::load_with(&path, &|_| None).unwrap_or_else(|bad| panic!("{bad}"));
        loaded.config.cameras[0].clone()
    }

    fn good() -> Probe {
        Probe {
            camera: "gate".into(),
            source: "rtsp://h/a".into(),
            transport: Some(Transport::Tcp),
            codec: Some("H.264".into()),
            width: 1280,
            height: 720,
            fps_declared: 25.0,
            fps: Some(25.0),
            key_frame_every: Some(1.0),
            tells_time: Some(true),
            error: None,
            advice: vec![],
        }
    }

    #[test]
    fn every_weakness_has_its_advice_and_a_good_camera_none() {
        let camera = camera("");
        let said = |probe: Probe| {
            let found = advice(&probe, &camera);
            found.into_iter().map(|f| format!("{} ({})", f.problem, f.remedy)).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(good()), "");
        assert!(said(Probe { fps: Some(15.0), ..good() }).contains("only 15.0 of 25.0"));
        assert!(
            said(Probe { fps: Some(5.0), fps_declared: 5.0, ..good() }).contains("detector main analyses 10")
        );
        assert!(
            said(Probe { key_frame_every: Some(8.0), ..good() }).contains("key frame comes only every 8.0 s")
        );
        assert!(said(Probe { key_frame_every: None, ..good() }).contains("fewer than two key frames"));
        assert!(said(Probe { width: 3840, height: 2160, ..good() }).contains("second, smaller stream"));
        assert!(said(Probe { tells_time: Some(false), ..good() }).contains("RTCP"));
    }

    #[test]
    fn a_line_says_it_all() {
        let line = good().to_string();
        assert_eq!(
            line,
            "gate (rtsp://h/a): H.264, 1280 x 720, 25.0 pictures a second of 25.0 declared, a key frame every 1.0 s, \
             by TCP, tells its time"
        );
    }
}
