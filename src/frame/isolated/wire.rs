//! What the daemon and a decoding process say to each other: lengths, a head in JSON, then bytes.

use crate::config;
use crate::frame::{Format, FrameSpec, PacketKeep, SourceError, StreamInfo};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// A head is never longer.
const HEAD: usize = 256 << 10;
/// A picture, a frame or a packet is never longer: 64 megapixels of three bytes.
const BODY: usize = 192 << 20;

/// A camera as it is handed over, password and all: by a pipe, which no other process sees.
#[derive(Serialize, Deserialize)]
pub(super) struct Camera {
    pipeline: String,
    location: String,
    user: Option<String>,
    password: Option<String>,
    ca: Option<PathBuf>,
    udp: bool,
    live: bool,
    real_time: bool,
}

impl Camera {
    pub fn of(gst: &config::Gst) -> Self {
        let config::Gst { pipeline, location, user, password, ca, transport, live, real_time, isolate: _ } =
            gst.clone();
        let udp = transport == config::Transport::Udp;
        Self { pipeline, location, user, password, ca, udp, live, real_time }
    }

    pub fn config(self) -> config::Gst {
        let Self { pipeline, location, user, password, ca, udp, live, real_time } = self;
        let transport = if udp { config::Transport::Udp } else { config::Transport::Tcp };
        config::Gst { pipeline, location, user, password, ca, transport, live, real_time, isolate: false }
    }
}

/// From the daemon.
#[derive(Serialize, Deserialize)]
pub(super) enum Ask {
    /// The first, and once.
    Open { camera: Camera, pipelines: PathBuf, views: Vec<FrameSpec>, keep: Option<PacketKeep> },
    /// Decode key frames only, or everything again.
    Effort { low: bool },
    /// A picture for people: the newest, or the one nearest to a presentation time.
    Picture { number: u64, max_width: u32, at: Option<Duration> },
}

/// From the decoding process. Moments are ages, time before the message: no clock need be shared.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Say {
    /// The body is the frame's pixels.
    Frame { view: usize, seq: u64, pts: Duration, age: Duration, run: u64, keys: Option<u64>, damaged: bool },
    /// A packet's bytes; its format where that is another than before.
    Packet { pts: Duration, age: Duration, key: bool, format: Option<Format> },
    /// The answer to [`Ask::Picture`], three bytes a pixel; nothing where there is none.
    Picture { number: u64, width: u32, height: u32, age: Duration },
    /// How it stands, several times a second.
    State(State),
    /// The stream's end; nothing follows.
    End { error: Option<SourceError> },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub info: StreamInfo,
    /// Where the first frame was on the stream's own clock.
    pub zero: Option<Duration>,
    pub dropped: u64,
    /// Packets so far, decoded or not.
    pub packets: u64,
    pub tells_time: Option<bool>,
    /// Why no packets are kept.
    pub problem: Option<String>,
}

/// Writes a message and sends it off.
pub(super) fn write(to: &mut impl Write, head: &impl Serialize, body: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len()).map_err(|_| io::Error::new(ErrorKind::InvalidInput, "too long a message"))
    };
    to.write_all(&length(&head)?.to_le_bytes())?;
    to.write_all(&length(body)?.to_le_bytes())?;
    to.write_all(&head)?;
    to.write_all(body)?;
    to.flush()
}

/// Reads the next message; `None` at the end.
///
/// # Errors
/// What is no message: whoever is at the other end may have been taken over by what it decodes.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = [0; 8];
    match from.read_exact(&mut lengths) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [a, b, c, d, e, f, g, h] = lengths;
    let (head, body) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
    if head > HEAD || body > BODY {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {head} and {body} bytes")));
    }
    let mut take = |length: usize| {
        // No more room is made than bytes come.
        let mut bytes = Vec::with_capacity(length.min(1 << 20));
        from.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(io::Error::from(ErrorKind::UnexpectedEof)),
        }
    };
    let head = take(head)?;
    let body = take(body)?;
    Ok(Some((serde_json::from_slice(&head)?, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_as_it_was_sent_and_what_is_none_is_refused() {
        let mut sent = vec![];
        let say = Say::Picture { number: 7, width: 2, height: 1, age: Duration::from_millis(3) };
        write(&mut sent, &say, &[1, 2, 3, 4, 5, 6]).expect("a vector takes it");
        let mut from = &sent[..];
        let (head, body) = read::<Say>(&mut from).expect("read").expect("a message");
        assert!(matches!(head, Say::Picture { number: 7, width: 2, .. }));
        assert_eq!(body, [1, 2, 3, 4, 5, 6]);
        assert!(read::<Say>(&mut from).expect("read").is_none(), "the end");
        for bad in [&sent[..20], &sent[..sent.len() - 1], &[255; 64], b"\x02\0\0\0\0\0\0\0{}"] {
            assert!(read::<Say>(&mut &bad[..]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_camera_arrives_whole() {
        let gst = config::Gst {
            pipeline: "rtsp".into(),
            location: "rtsp://10.0.0.1/a".into(),
            user: Some("guard".into()),
            password: Some("p w".into()),
            ca: Some("ca.pem".into()),
            transport: config::Transport::Udp,
            live: true,
            real_time: true,
            isolate: true,
        };
        let text = serde_json::to_string(&Camera::of(&gst)).expect("plain data");
        let back = serde_json::from_str::<Camera>(&text).expect("the same").config();
        assert_eq!(back, config::Gst { isolate: false, ..gst });
    }
}
