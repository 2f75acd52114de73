//! The plaza as a recording, encoded as a network camera would.

use super::gst::{Film, film};
use super::{FrameSpec, Next, PixelFormat, open_source};
use crate::base::SystemClock;
use crate::config;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Bits a pixel, as network cameras are usually set: 4 Mbit/s at 1080p and 25 frames a second.
const BITS: f64 = 0.08;
/// A picture is rendered within this time on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes an H.264 recording of the synthetic plaza (MP4) to `out`: of `size` pixels, even numbers, at `fps` frames a
/// second, `length` long; `told` hears of every frame.
///
/// # Errors
/// Where there is no encoder, with the package that has one; what the encoder or the disk complain of. `out` may then
/// hold part of it.
pub fn record_plaza(
    out: &Path,
    size: (u32, u32),
    fps: f64,
    length: Duration,
    told: &mut dyn FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let plaza = config::Source::Synthetic(config::Synthetic { seed: 1, as_fast_as_possible: true });
    let clock = Arc::new(SystemClock::default());
    let mut source = open_source(&plaza, Path::new(""), clock).map_err(|e| e.to_string())?;
    // Rendered as large as it is encoded, so that its noise is as fine as a camera's; rows are of whole words.
    let picture = (size.0.next_multiple_of(4), size.1);
    let spec = FrameSpec { width: picture.0, height: picture.1, format: PixelFormat::Rgb8, fps };
    let mut stream = source.open(&[spec]).map_err(|e| e.to_string())?;
    let frames = (fps * length.as_secs_f64()).round() as usize;
    let bitrate = (f64::from(size.0) * f64::from(size.1) * fps * BITS) as u32;
    let pictures = (0..frames).map(|_| {
        told()?;
        match stream.next(PATIENCE).map_err(|e| e.to_string())? {
            Next::Frame(frame) => Ok(frame.pixels),
            Next::Idle | Next::End => Err("the plaza is not rendered".into()),
        }
    });
    film(&Film { picture, size, fps, bitrate }, pictures, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_of_the_plaza_is_as_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("plaza.mp4");
        let mut frames = 0;
        let made = record_plaza(&file, (322, 180), 12.5, Duration::from_secs(4), &mut || {
            frames += 1;
            Ok(())
        });
        assert_eq!((made, frames), (Ok(()), 50));
        let played = config::Source::Gst(config::Gst {
            pipeline: "file".into(),
            location: file.display().to_string(),
            user: None,
            password: None,
            ca: None,
            transport: config::Transport::Tcp,
            live: false,
            real_time: false,
            isolate: false,
        });
        let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let mut source =
            open_source(&played, &pipelines, Arc::new(SystemClock::default())).expect("a source");
        let spec = FrameSpec { width: 320, height: 180, format: PixelFormat::Gray8, fps: 100.0 };
        let mut stream = source.open(&[spec]).expect("a stream");
        let (mut seen, mut last) = (0, Duration::ZERO);
        while let Next::Frame(frame) = stream.next(PATIENCE).expect("it can be decoded") {
            (seen, last) = (seen + 1, frame.stamp.pts);
        }
        assert_eq!((seen, last), (50, Duration::from_millis(49 * 80)));
        let info = stream.info();
        assert_eq!((info.codec.as_deref(), info.width, info.height), (Some("H.264"), 322, 180));
        let stopped =
            record_plaza(&file, (320, 180), 12.5, Duration::from_secs(4), &mut || Err("stopped".into()));
        assert_eq!(stopped, Err("stopped".into()));
    }
}
