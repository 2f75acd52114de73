//! What is replayed: packets of a recording, of a camera or of the plaza, repeated until they are long enough.

use super::go_on;
use crate::base::{Clock, SystemClock};
use crate::config::{self, Source};
use crate::daemon::Stop;
use crate::frame::{
    self, FrameSpec, Next, Packet, PacketKeep, PixelFormat, Sample, StreamInfo, open_source, record_plaza,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;

/// The pictures that the denoiser's extractor analyses.
pub const ANALYSED: FrameSpec = FrameSpec { width: 360, height: 240, format: PixelFormat::Gray8, fps: 10.0 };
/// No more of a recording is taken.
const LONGEST: Duration = Duration::from_secs(60);
/// A camera is watched for so long.
pub const WATCHED: Duration = Duration::from_secs(30);
/// From less nothing can be learned.
const SHORTEST: Duration = Duration::from_secs(20);
/// Silence for this long is the end of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// The daemon keeps the newest compressed video for clips: `clip_before`, half a minute for catching up and a group of
/// pictures, and of each camera no more than `clip_memory`.
const HELD: f64 = 35.0;
const HELD_BYTES: f64 = 16e6;
const KEEP: PacketKeep = PacketKeep { bytes: 512 << 20, span: Duration::from_secs(3600) };
/// Memory that is a folder, on Linux.
const MEMORY: &str = "/dev/shm";

/// What the recording is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct About {
    /// Where it is from.
    pub from: String,
    pub codec: String,
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub mbit_per_second: f64,
    /// Seconds from key frame to key frame, on average.
    pub key_frame_every: f64,
    /// Frames a second that are analysed.
    pub analysed_fps: f64,
}

impl About {
    /// Bytes of it that the daemon holds after a while.
    pub fn held(&self) -> f64 {
        (self.mbit_per_second * 1e6 / 8.0 * (HELD + self.key_frame_every)).min(HELD_BYTES)
    }
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, codec, width, height, fps, mbit_per_second, .. } = self;
        write!(f, "{from}: {codec}, {width}x{height}, {fps:.1} frames a second, {mbit_per_second:.2} Mbit/s")
    }
}

/// A recording.
pub struct Clip {
    /// Of it, once; what is learned from.
    pub file: PathBuf,
    pub about: About,
    packets: Vec<Packet>,
}

/// The plaza, encoded.
pub fn made(
    size: (u32, u32),
    fps: f64,
    length: Duration,
    folder: &Path,
    pipelines: &Path,
    stop: &Stop,
) -> Result<Clip> {
    let file = folder.join("plaza.mp4");
    let go_on = &mut || go_on(stop).map_err(|e| e.to_string());
    let recorded = record_plaza(&file, size, fps, length, go_on);
    recorded.map_err(|e| anyhow!("{e}")).context("cannot make a recording; give one with --clip")?;
    of_file(&file, "the demo plaza".into(), folder, pipelines, stop)
}

/// The first minute of a recording.
pub fn of_file(file: &Path, from: String, folder: &Path, pipelines: &Path, stop: &Stop) -> Result<Clip> {
    let location = file.to_str().with_context(|| format!("{}: the name is not text", file.display()))?;
    let source = Source::Gst(config::Gst {
        pipeline: "file".into(),
        location: location.into(),
        user: None,
        password: None,
        ca: None,
        transport: config::Transport::Tcp,
        live: false,
        real_time: false,
        isolate: false,
    });
    taken(&source, pipelines, LONGEST, from, folder, stop)
}

/// What a camera sends now.
pub fn of_camera(camera: &config::Camera, folder: &Path, pipelines: &Path, stop: &Stop) -> Result<Clip> {
    if let Source::Synthetic(_) = camera.source {
        bail!("{}: this camera is rendered here, not decoded (leave --camera out)", camera.name);
    }
    taken(&camera.source, pipelines, WATCHED, format!("camera {}", camera.name), folder, stop)
}

/// Takes the packets of a source, and counts the frames that would be analysed.
fn taken(
    source: &Source,
    pipelines: &Path,
    longest: Duration,
    from: String,
    folder: &Path,
    stop: &Stop,
) -> Result<Clip> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let place = || from.clone();
    let mut source = open_source(source, pipelines, clock).with_context(place)?;
    source.keep_packets(KEEP);
    let mut stream = source.open(&[ANALYSED]).with_context(place)?;
    let (mut frames, mut first, mut last) = (0_u32, None, Duration::ZERO);
    let mut silent = Duration::ZERO;
    loop {
        go_on(stop)?;
        const LOOK: Duration = Duration::from_millis(200);
        match stream.next(LOOK).with_context(place)? {
            Next::Frame(frame) => {
                silent = Duration::ZERO;
                frames += 1;
                last = frame.stamp.pts;
                if last.saturating_sub(*first.get_or_insert(last)) >= longest {
                    break;
                }
            }
            Next::Idle => {
                silent += LOOK;
                ensure!(silent < PATIENCE, "{from}: no frame came for {} s (see to it)", PATIENCE.as_secs());
            }
            Next::End => break,
        }
    }
    let packets = stream.packets().map_or(vec![], |ring| ring.from(0));
    let length = last.saturating_sub(first.unwrap_or(last));
    ensure!(
        length >= SHORTEST,
        "{from}: {:.1} s of video are too little to measure with (give {} s or more)",
        length.as_secs_f64(),
        SHORTEST.as_secs()
    );
    let analysed = f64::from(frames - 1) / length.as_secs_f64();
    let packets = beginning_with_a_key(packets);
    ensure!(
        packets.first().is_some_and(|p| !p.format.encoded_here),
        "{from}: it is neither H.264 nor H.265, which alone can be replayed (encode it as one of them)"
    );
    let about = about(from, &packets, &stream.info(), analysed);
    let file = folder.join("once.mp4");
    write(&packets, 1, &file)?;
    Ok(Clip { file, about, packets })
}

/// From the first key frame on, as long as they are of one format.
fn beginning_with_a_key(packets: Vec<Packet>) -> Vec<Packet> {
    let mut packets: Vec<Packet> = packets.into_iter().skip_while(|packet| !packet.key).collect();
    if let Some(first) = packets.first() {
        let format = first.format.clone();
        let other = packets.iter().position(|packet| packet.format != format);
        packets.truncate(other.unwrap_or(packets.len()));
    }
    packets
}

fn about(from: String, packets: &[Packet], info: &StreamInfo, analysed: f64) -> About {
    let (seconds, bytes) = (span(packets).as_secs_f64(), packets.iter().map(|p| p.data.len()).sum::<usize>());
    About {
        from,
        codec: packets.first().map_or("", |packet| packet.format.codec.name()).into(),
        width: info.width,
        height: info.height,
        fps: packets.len() as f64 / seconds,
        mbit_per_second: bytes as f64 * 8e-6 / seconds,
        key_frame_every: seconds / packets.iter().filter(|p| p.key).count().max(1) as f64,
        analysed_fps: analysed,
    }
}

/// How long packets are shown, the last one as long as the others on average.
fn span(packets: &[Packet]) -> Duration {
    let times = || packets.iter().map(|packet| packet.pts);
    let between = times().max().unwrap_or_default().saturating_sub(times().min().unwrap_or_default());
    let gaps = packets.len().saturating_sub(1).max(1) as u32;
    between + between / gaps
}

/// Writes packets into an MP4, so many times one after the other.
fn write(packets: &[Packet], times: usize, file: &Path) -> Result<()> {
    let (span, format) = (span(packets), &packets.first().context("there is no packet")?.format);
    let again =
        |round: usize| packets.iter().map(move |p| Sample { pts: p.pts + span * round as u32, key: p.key });
    let samples: Vec<Sample> = (0..times).flat_map(again).collect();
    let read = |number: usize| Ok(packets[number % packets.len()].data.to_vec());
    let scratch = file.with_extension("scratch");
    let written = frame::mux(format, &samples, read, file, &scratch);
    written.map_err(|e| anyhow!("{}: cannot be written: {e}", file.display()))
}

impl Clip {
    /// A recording of at least that length, in memory where there is room.
    pub fn replayed(&self, folder: &Path, length: Duration) -> Result<NamedTempFile> {
        let times = (length.as_secs_f64() / span(&self.packets).as_secs_f64()).ceil().max(1.0) as usize;
        let bytes = self.packets.iter().map(|p| p.data.len() as u64).sum::<u64>() * times as u64;
        let room = rustix::fs::statvfs(MEMORY).map_or(0, |found| found.f_bavail * found.f_frsize);
        // The muxer needs it twice; what is on a disk is in its cache soon.
        let place = if room > 3 * bytes { Path::new(MEMORY) } else { folder };
        let file = tempfile::Builder::new().prefix("sigmawatch-bench-").suffix(".mp4").tempfile_in(place);
        let file = file.with_context(|| format!("{}: cannot be written", place.display()))?;
        write(&self.packets, times, file.path())?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::frame::{Codec, Format};

    fn packets(pictures: &[(u64, bool)], codec: Codec) -> Vec<Packet> {
        let format =
            Arc::new(Format { codec, caps: String::new(), parameter_sets: vec![], encoded_here: false });
        let packet = |(number, (ms, key)): (usize, &(u64, bool))| Packet {
            number: number as u64,
            pts: Duration::from_millis(*ms),
            wall: Timestamp::UNIX_EPOCH,
            key: *key,
            data: vec![0; 5000].into(),
            format: format.clone(),
        };
        pictures.iter().enumerate().map(packet).collect()
    }

    #[test]
    fn it_begins_with_a_key_frame_and_has_one_format() {
        let mut all = packets(&[(0, false), (40, true), (80, false)], Codec::H264);
        all.extend(packets(&[(120, true)], Codec::H265));
        let kept = beginning_with_a_key(all);
        assert_eq!(kept.iter().map(|p| p.pts.as_millis()).collect::<Vec<_>>(), [40, 80]);
    }

    #[test]
    fn what_it_is_is_said() {
        // Decoded out of turn, 40 ms apart.
        let four = packets(&[(1000, true), (1080, false), (1040, false), (1120, false)], Codec::H264);
        assert_eq!(span(&four), Duration::from_millis(160));
        let info = StreamInfo { codec: None, width: 640, height: 360, fps: 0.0 };
        let about = about("gate.mp4".into(), &four, &info, 10.0);
        assert_eq!(about.to_string(), "gate.mp4: H.264, 640x360, 25.0 frames a second, 1.00 Mbit/s");
    }
}
