//! The decoding process: one camera's pipeline, whose frames, packets and pictures go to the daemon.

use super::wire::{Ask, Say, State, read, write};
use crate::base::{Clock, SystemClock, Timestamp};
use crate::frame::gst::GstSource;
use crate::frame::{
    Effort, Format, Frame, Next, PacketKeep, PacketRing, PictureTap, Source, SourceError, Stream,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Address space of the process, bytes: a stream that wants more ends its own process.
const MEMORY: u64 = 4 << 30;
/// Longest time between two looks at packets and state.
const LOOK: Duration = Duration::from_millis(40);
/// The state is told so often.
const TELL: Duration = Duration::from_millis(200);
/// Packets wait here only until they are sent.
const SPAN: Duration = Duration::from_secs(1);
/// Saying goodbye to the camera may take so long; then the process ends anyway.
const GOODBYE: Duration = Duration::from_secs(4);

/// Where messages to the daemon go, one at a time.
type Out = Arc<Mutex<File>>;

fn say(out: &Out, head: &Say, body: &[u8]) -> io::Result<()> {
    write(&mut *out.lock().unwrap_or_else(PoisonError::into_inner), head, body)
}

/// What both threads see.
struct Open {
    pictures: Arc<dyn PictureTap>,
    effort: Option<Arc<Effort>>,
    closing: Arc<AtomicBool>,
}

/// Decodes what standard input asks for until that is closed, and writes messages to standard output: for a process of
/// its own.
///
/// # Errors
/// The daemon is gone, or what came is no message of it. What is wrong with the camera is told to the daemon.
pub fn decode() -> io::Result<()> {
    // What a plugin prints must not get among the messages.
    let out = File::from(rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?);
    rustix::stdio::dup2_stdout(io::stderr())?;
    limit();
    let out: Out = Arc::new(Mutex::new(out));
    let mut asks = BufReader::new(io::stdin());
    let Some((Ask::Open { camera, pipelines, views, keep }, _)) = read::<Ask>(&mut asks)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first message is to open a camera"));
    };
    let keep = keep.map(|keep| PacketKeep { span: SPAN, ..keep });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let config = camera.config();
    let opened = source(&config, &pipelines, keep, &clock).and_then(|mut source| source.open(&views));
    let stream = match opened {
        Ok(stream) => stream,
        Err(error) => return say(&out, &Say::End { error: Some(error) }, &[]),
    };
    let closing = Arc::new(AtomicBool::new(false));
    let open = Open { pictures: stream.pictures(), effort: stream.effort(), closing: closing.clone() };
    let answers = out.clone();
    std::thread::spawn(move || {
        // The end of it, orderly or not, is the end of this process.
        let _ = obey(&mut asks, &open, &answers);
        open.closing.store(true, Relaxed);
        std::thread::sleep(GOODBYE);
        std::process::exit(1);
    });
    relay(stream, &out, &*clock, &closing)
}

fn source(
    config: &crate::config::Gst,
    pipelines: &Path,
    keep: Option<PacketKeep>,
    clock: &Arc<dyn Clock>,
) -> Result<GstSource, SourceError> {
    let mut source = GstSource::new(config, pipelines, clock.clone())?;
    if let Some(keep) = keep {
        source.keep_packets(keep);
    }
    Ok(source)
}

/// Memory is bounded, nothing of it is written to disk, and it goes first where the machine has too little. Where a
/// bound cannot be set the process is no worse than a thread of the daemon.
fn limit() {
    let both = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    let _ = setrlimit(Resource::As, both(MEMORY));
    let _ = setrlimit(Resource::Core, both(0));
    let _ = std::fs::write("/proc/self/oom_score_adj", "800");
}

/// Does what the daemon asks, until it asks nothing more.
fn obey(asks: &mut impl io::Read, open: &Open, out: &Out) -> io::Result<()> {
    while let Some((ask, _)) = read::<Ask>(asks)? {
        match ask {
            Ask::Open { .. } => return Err(io::ErrorKind::InvalidData.into()),
            Ask::Effort { low } => {
                if let Some(effort) = &open.effort {
                    effort.set_low(low);
                }
            }
            Ask::Picture { number, max_width, at } => {
                let picture = match at {
                    Some(pts) => open.pictures.at(pts, max_width),
                    None => open.pictures.latest(max_width),
                };
                let (width, height) =
                    picture.as_ref().map_or((0, 0), |picture| (picture.width, picture.height));
                let age = picture.as_ref().map_or(Duration::ZERO, |picture| age(picture.wall));
                let rgb = picture.as_ref().map_or(&[][..], |picture| &picture.rgb);
                say(out, &Say::Picture { number, width, height, age }, rgb)?;
            }
        }
    }
    Ok(())
}

/// How long ago; nothing where the clock was set back meanwhile.
fn age(wall: Timestamp) -> Duration {
    Timestamp::now().duration_since(wall).try_into().unwrap_or_default()
}

/// Tells everything that the stream gives, until its end or the daemon's wish.
fn relay(mut stream: Box<dyn Stream>, out: &Out, clock: &dyn Clock, closing: &AtomicBool) -> io::Result<()> {
    let packets = stream.packets();
    let (mut sent, mut format) = (0, None);
    let (mut told, mut when) = (None, Instant::now());
    while !closing.load(Relaxed) {
        let next = stream.next(LOOK);
        if let Some(ring) = &packets {
            forward(ring, &mut sent, &mut format, out)?;
        }
        let state = state(&*stream, packets.as_deref());
        // What a frame means is told before it.
        let news =
            told.as_ref().is_none_or(|told: &State| told.info != state.info || told.zero != state.zero);
        if news || when.elapsed() >= TELL {
            say(out, &Say::State(state.clone()), &[])?;
            (told, when) = (Some(state), Instant::now());
        }
        match next {
            Ok(Next::Frame(Frame { stamp, view, run, keys, damaged, pixels })) => {
                let age = clock.monotonic().saturating_sub(stamp.received);
                let (seq, pts) = (stamp.seq, stamp.pts);
                say(out, &Say::Frame { view, seq, pts, age, run, keys, damaged }, &pixels)?;
            }
            Ok(Next::Idle) => {}
            Ok(Next::End) => return say(out, &Say::End { error: None }, &[]),
            Err(error) => return say(out, &Say::End { error: Some(error) }, &[]),
        }
    }
    Ok(())
}

fn state(stream: &dyn Stream, packets: Option<&PacketRing>) -> State {
    State {
        info: stream.info(),
        zero: packets.and_then(|ring| ring.on_its_clock(Duration::ZERO)),
        dropped: stream.dropped(),
        packets: stream.effort().map_or(0, |effort| effort.packets()),
        tells_time: stream.tells_time(),
        problem: packets.and_then(PacketRing::problem),
    }
}

/// Sends the packets that have come since.
fn forward(ring: &PacketRing, sent: &mut u64, format: &mut Option<Arc<Format>>, out: &Out) -> io::Result<()> {
    for packet in ring.from(*sent) {
        *sent = packet.number + 1;
        let same = format.as_ref().is_some_and(|format| **format == *packet.format);
        let new = (!same).then(|| (*packet.format).clone());
        *format = Some(packet.format);
        let head = Say::Packet { pts: packet.pts, age: age(packet.wall), key: packet.key, format: new };
        say(out, &head, &packet.data)?;
    }
    Ok(())
}
