//! A playing pipeline as a stream of frames.

use super::ahead::{self, Ahead};
use super::description::{Elements, Tail};
use super::encoder::{self, Encoder};
use super::limits::{self, Limits};
use super::picture::{KEEP_PACED, KEEP_UNPACED, Shot, Tap};
use super::taker::{Arrival, Taker, lane};
use super::{Counters, compressed, damage, error, keyframes, order, tls};
use crate::base::Clock;
use crate::config;
use crate::frame::bell::{Bell, LOOK};
use crate::frame::thin::Thinner;
use crate::frame::{
    Effort, Frame, FrameSpec, Next, PacketKeep, PacketRing, PictureTap, PixelFormat, SourceError,
    SourceErrorKind, Stream, StreamInfo,
};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use gstreamer as gst;
use gstreamer_video as video;
use gstreamer_video::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Disconnecting may take this long; then the connection is left to die by itself.
const GOODBYE: Duration = Duration::from_secs(3);
/// Where it takes this long, it is helped.
const NUDGE: Duration = Duration::from_millis(500);
/// What decoders of pictures call themselves: those of Motion JPEG decode images.
const PICTURES: gst::ElementFactoryType =
    gst::ElementFactoryType::MEDIA_VIDEO.union(gst::ElementFactoryType::MEDIA_IMAGE);
/// 8-bit formats whose first plane is the luma, in rows: no conversion is needed to take it.
const LUMA_FIRST: [&str; 7] = ["I420", "NV12", "YV12", "NV21", "Y42B", "Y444", "GRAY8"];

/// What GStreamer's threads find out and ours tells.
pub(super) struct Shared {
    pub tap: Arc<Tap>,
    packets: Option<Arc<PacketRing>>,
    /// At work where the decoder is given nothing that clips can be made of.
    encoder: OnceLock<Encoder>,
    info: Mutex<StreamInfo>,
    pub dropped: AtomicU64,
    pub closing: AtomicBool,
    /// Rung for every frame.
    pub bell: Bell,
    effort: Arc<Effort>,
    ahead: Arc<Ahead>,
    /// Set where the source speaks RTP: whether the sender has told its clock.
    tells_time: OnceLock<Arc<AtomicBool>>,
    limits: Limits,
}

/// A playing pipeline.
pub(super) struct GstStream {
    pipeline: gst::Pipeline,
    config: config::Gst,
    lane: Receiver<Arrival>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    /// Run and newest frame of each view.
    views: Vec<(u64, Option<u64>)>,
    /// A plugin that GStreamer said it lacks.
    missing: Option<String>,
    /// Why the camera's certificate is not trusted, if it is not.
    refused: tls::Refused,
    /// How the stream ended, given out once the lane is empty.
    end: Option<Option<SourceError>>,
}

impl GstStream {
    /// Sets the elements' properties and starts to play; errors of the network come from `next`.
    pub(super) fn play(
        elements: Elements,
        config: &config::Gst,
        views: &[FrameSpec],
        keep: Option<PacketKeep>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Result<Self, SourceError> {
        let Elements { pipeline, source, tails } = elements;
        // What is not paced may be analysed several seconds after it was decoded.
        let paced = config.live || config.real_time;
        let first = Arc::new(OnceLock::new());
        let shared = Arc::new(Shared {
            tap: Arc::new(Tap::new(if paced { KEEP_PACED } else { KEEP_UNPACED }, Arc::clone(&first))),
            packets: keep.map(|keep| Arc::new(PacketRing::new(keep, first))),
            encoder: OnceLock::new(),
            info: Mutex::default(),
            dropped: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            bell: Bell::default(),
            effort: Arc::default(),
            ahead: Arc::new(Ahead::new(views)),
            tells_time: OnceLock::new(),
            limits: Limits::default(),
        });
        let mut refused = tls::Refused::default();
        if let Some(source) = source {
            set_source(&source, config);
            if source.has_property("tls-database") {
                refused = tls::secure(&source, config)?;
            }
            if source.factory().is_some_and(|f| f.name() == "rtspsrc") {
                watch_clock(&source, Arc::clone(shared.tells_time.get_or_init(Arc::default)));
                limits::take_video_only(&source, &shared.limits);
                if config.transport != config::Transport::Tcp {
                    order::allow(&pipeline);
                }
            }
        }
        watch_decoders(
            &pipeline,
            &Decoded {
                shared: Arc::downgrade(&shared),
                counters: Arc::clone(&counters),
                clock: Arc::clone(&clock),
            },
        );
        let (send, lane) = lane(views.len());
        let fastest = (0..views.len()).max_by(|a, b| views[*a].fps.total_cmp(&views[*b].fps));
        for (view, (Tail { thin, size, frames }, spec)) in tails.iter().zip(views).enumerate() {
            size.set_property("caps", size_caps(spec));
            // The pictures for people are those of the view that has the most.
            let people = (Some(view) == fastest).then(|| People { clock: Arc::clone(&clock), waits: !paced });
            thin_out(thin, (view, spec), &shared, people);
            frames.set_property("sync", !config.live && config.real_time);
            frames.set_property("max-buffers", 1u32);
            frames.set_property("drop", false);
            frames.set_property("enable-last-sample", false);
            let taker = Taker {
                view,
                send: send.clone(),
                oldest: config.live.then(|| lane.clone()),
                shared: Arc::clone(&shared),
                counters: Arc::clone(&counters),
                clock: Arc::clone(&clock),
                format: spec.format,
                bytes: spec.frame_bytes(),
            };
            taker.attach(frames);
        }

        let run = counters.run.fetch_add(1, Relaxed);
        let mut stream = Self {
            pipeline,
            config: config.clone(),
            lane,
            shared,
            counters,
            views: vec![(run, None); views.len()],
            missing: None,
            refused,
            end: None,
        };
        if stream.pipeline.set_state(gst::State::Playing).is_err() {
            stream.listen();
            let said = stream.end.take().flatten();
            return Err(said.unwrap_or_else(|| SourceError {
                kind: SourceErrorKind::Setup,
                message: format!("{}: the pipeline does not start", error::redact(&config.location, config)),
                remedy: "try the description with gst-launch-1.0".into(),
            }));
        }
        Ok(stream)
    }

    /// Takes what GStreamer has said; keeps the first thing that ends the stream.
    fn listen(&mut self) {
        let Some(bus) = self.pipeline.bus() else { return };
        while let Some(message) = bus.pop() {
            let end = match message.view() {
                gst::MessageView::Error(e) => {
                    tracing::debug!(
                        "GStreamer: {}; {}",
                        error::redact(&e.error().to_string(), &self.config),
                        error::redact(e.debug().as_deref().unwrap_or(""), &self.config)
                    );
                    Some(self.explain(&e.error()))
                }
                // A description's link that waits for a video stream, and none came.
                gst::MessageView::Warning(w) if w.error().is::<gst::ParseError>() => {
                    Some(self.explain(&w.error()))
                }
                gst::MessageView::Element(e) => {
                    if let Some(s) = e.structure().filter(|s| s.name() == "missing-plugin") {
                        self.missing = s.get::<String>("name").ok().or(self.missing.take());
                    }
                    continue;
                }
                gst::MessageView::Eos(_) if !self.seen_any() && !self.config.live => Some(self.explain(
                    &gst::glib::Error::new(gst::StreamError::WrongType, "it ended without a picture"),
                )),
                gst::MessageView::Eos(_) => None,
                _ => continue,
            };
            if self.end.is_none() {
                self.end = Some(end);
            }
        }
    }

    /// Ends the stream where something of it was refused that nobody else would tell.
    fn refuse(&mut self) {
        if self.end.is_none() && self.shared.limits.is_huge() {
            self.end = Some(self.shared.limits.explain(&self.config));
        }
    }

    fn explain(&self, e: &gst::glib::Error) -> SourceError {
        if let Some(flags) = self.refused.get() {
            return tls::explain(*flags, &self.config);
        }
        if let Some(error) = self.shared.limits.explain(&self.config) {
            return error;
        }
        error::explain(e, self.missing.as_deref(), self.seen_any(), &self.config)
    }

    /// A picture has come.
    fn seen_any(&self) -> bool {
        self.views.iter().any(|(_, newest)| newest.is_some())
    }

    fn frame(&mut self, arrival: Arrival) -> Frame {
        let Arrival { view, stamp, new_run, keys, damaged, pixels } = arrival;
        let (run, newest) = &mut self.views[view];
        let follows = newest.is_none_or(|newest| stamp.seq == newest + 1);
        if !follows || new_run && newest.is_some() {
            *run = self.counters.run.fetch_add(1, Relaxed);
        }
        *newest = Some(stamp.seq);
        Frame { stamp, view, run: *run, keys, damaged, pixels }
    }
}

impl Stream for GstStream {
    fn next(&mut self, timeout: Duration) -> Result<Next, SourceError> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(arrival) = self.shared.bell.wait(&self.lane, left.min(LOOK)) {
                return Ok(Next::Frame(self.frame(arrival)));
            }
            if let Some(end) = &self.end {
                return end.clone().map_or(Ok(Next::End), Err);
            }
            self.refuse();
            self.listen();
            // An end that was just heard of still has the lane emptied before it.
            if self.end.is_none() && left <= LOOK {
                return Ok(Next::Idle);
            }
        }
    }

    fn info(&self) -> StreamInfo {
        self.shared.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pictures(&self) -> Arc<dyn PictureTap> {
        Arc::clone(&self.shared.tap) as _
    }

    fn packets(&self) -> Option<Arc<PacketRing>> {
        self.shared.packets.clone()
    }

    fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    fn effort(&self) -> Option<Arc<Effort>> {
        Some(Arc::clone(&self.shared.effort))
    }

    fn tells_time(&self) -> Option<bool> {
        self.shared.tells_time.get().map(|told| told.load(Relaxed))
    }
}

impl Drop for GstStream {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
        // GStreamer's state changes can hang with their server, so they get a thread of their own.
        let pipeline = self.pipeline.clone();
        let (done, finished) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || {
            if pipeline.set_state(gst::State::Null).is_err() {
                tracing::warn!("a pipeline did not stop cleanly");
            }
            // Nobody waits any more after GOODBYE.
            let _ = done.send(());
        });
        let (began, mut helped) = (Instant::now(), false);
        let location = || error::redact(&self.config.location, &self.config);
        while finished.recv_timeout(NUDGE) == Err(RecvTimeoutError::Timeout) {
            if began.elapsed() >= GOODBYE {
                return tracing::warn!("{} does not let go; leaving it behind", location());
            }
            helped |= nudge(&self.pipeline);
        }
        if helped {
            tracing::debug!("{} had to be helped to let go", location());
        }
    }
}

/// Frees a pipeline that hangs on its way down. Where a server goes away in the very moment in which `rtspsrc` (1.22)
/// starts or stops its jitter buffer, the buffer may go on waiting for packets with its lock held, which stopping it
/// needs: told to flush, it lets go. Whether there was one.
fn nudge(pipeline: &gst::Pipeline) -> bool {
    let mut any = false;
    let mut found = pipeline.iterate_recurse();
    // Elements that come or go meanwhile are looked at the next time.
    while let Ok(Some(element)) = found.next() {
        let buffers = element.factory().is_some_and(|factory| factory.name() == "rtpjitterbuffer");
        if let Some(pad) = element.static_pad("sink").filter(|_| buffers) {
            any = true;
            // It waits for the buffer's thread.
            std::thread::spawn(move || pad.send_event(gst::event::FlushStart::new()));
        }
    }
    any
}

/// Tells the source element where to look and how.
fn set_source(source: &gst::Element, config: &config::Gst) {
    let location = if source.has_property("location") {
        "location"
    } else if source.has_property("device") {
        "device"
    } else {
        "uri"
    };
    let set = |name: &str, value: &str| {
        if source.find_property(name).is_some_and(|p| p.value_type() == gst::glib::Type::STRING) {
            source.set_property(name, value);
        }
    };
    set(location, &config.location);
    set("user-id", config.user.as_deref().unwrap_or(""));
    set("user-pw", config.password.as_deref().unwrap_or(""));
    if source.factory().is_some_and(|f| f.name() == "rtspsrc") {
        source.set_property_from_str("protocols", config.transport.name());
        // Microseconds. A host that does not answer is given up before the watchdog gives up the camera.
        source.set_property("tcp-timeout", 3_000_000u64);
        source.set_property("timeout", 5_000_000u64);
    }
}

/// Sets `told` as soon as the camera sends RTCP.
fn watch_clock(source: &gst::Element, told: Arc<AtomicBool>) {
    source.connect("new-manager", false, move |args| {
        let manager = args.get(1)?.get::<gst::Element>().ok()?;
        let told = Arc::clone(&told);
        manager.connect("on-ssrc-active", false, move |_| {
            told.store(true, Relaxed);
            None
        });
        None
    });
}

/// The analysed picture: stretched on purpose, hence the pixel aspect ratio.
fn size_caps(spec: &FrameSpec) -> gst::Caps {
    let formats = match spec.format {
        PixelFormat::Gray8 => gst::List::new(LUMA_FIRST),
        PixelFormat::Rgb8 => gst::List::new(["RGB"]),
    };
    gst::Caps::builder("video/x-raw")
        .field("format", formats)
        .field("width", spec.width as i32)
        .field("height", spec.height as i32)
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build()
}

/// What is learned from decoders, and from what they are given.
#[derive(Clone)]
struct Decoded {
    shared: Weak<Shared>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

/// Keeps decoders to one thread, learns the codec from them, and taps what they are given: those that the description
/// names, and those that are plugged in automatically.
fn watch_decoders(pipeline: &gst::Pipeline, learned: &Decoded) {
    let named = pipeline.iterate_recurse().into_iter().flatten().collect::<Vec<_>>();
    named.iter().for_each(|element| watch_decoder(element, learned));
    let learned = learned.clone();
    pipeline.connect_deep_element_added(move |_, _, element| watch_decoder(element, &learned));
}

fn watch_decoder(element: &gst::Element, learned: &Decoded) {
    let (Some(factory), Some(shared)) = (element.factory(), learned.shared.upgrade()) else { return };
    if !factory.has_type(gst::ElementFactoryType::DECODER | PICTURES) {
        return;
    }
    if element.find_property("max-threads").is_some_and(|p| p.value_type() == i32::static_type()) {
        element.set_property("max-threads", 1i32);
    }
    let Some(pad) = element.static_pad("sink") else { return };
    limits::refuse_huge(&pad, &shared.limits);
    if let Some(packets) = &shared.packets {
        compressed::tap(&pad, packets, &learned.clock, false);
    }
    damage::watch(element);
    // After the packets were kept: clips are whole.
    keyframes::watch(&pad, &shared.effort);
    let ahead = Arc::clone(&shared.ahead);
    let (shared, counters) = (Weak::clone(&learned.shared), Arc::clone(&learned.counters));
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view())
            && let Some(shared) = shared.upgrade()
        {
            let codec = caps.caps().structure(0).and_then(codec_name);
            shared.info.lock().unwrap_or_else(PoisonError::into_inner).codec = codec;
        }
        if info.buffer().is_some_and(|buffer| !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)) {
            counters.keys.fetch_add(1, Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
    // What is left out has been counted.
    ahead::watch(&pad, &ahead);
}

/// The codec's usual name.
fn codec_name(caps: &gst::StructureRef) -> Option<String> {
    Some(match caps.name().as_str() {
        "video/x-h264" => "H.264".into(),
        "video/x-h265" => "H.265".into(),
        "video/x-av1" => "AV1".into(),
        "image/jpeg" => "MJPEG".into(),
        "video/mpeg" => format!("MPEG-{}", caps.get::<i32>("mpegversion").unwrap_or(4)),
        "video/x-raw" => return None,
        other => other.trim_start_matches("video/x-").to_uppercase(),
    })
}

/// What is done with the pictures for people.
struct People {
    clock: Arc<dyn Clock>,
    /// The stream waits for its consumers.
    waits: bool,
}

impl People {
    /// Shows a picture to the tap, and where the camera sends no packets that fit, to the encoder.
    fn show(&self, buffer: &gst::Buffer, info: &video::VideoInfo, pts: Duration, shared: &Shared) {
        let wall = self.clock.now();
        shared.tap.hold(buffer.clone(), info, pts, wall);
        let Some(packets) = &shared.packets else { return };
        if shared.encoder.get().is_none() && packets.is_fed() {
            return;
        }
        let start = || Encoder::start(Arc::clone(packets), Arc::clone(&self.clock), self.waits);
        let encoder = shared.encoder.get_or_init(start);
        if let Some(shot) = Shot::of(buffer, info, wall) {
            encoder.offer(pts, move || shot.convert(encoder::WIDTH));
        }
    }
}

/// Drops the frames that are not analysed and marks broken runs; shows the others to people, where that is this
/// view's task.
fn thin_out(
    thin: &gst::Element,
    (view, spec): (usize, &FrameSpec),
    shared: &Arc<Shared>,
    people: Option<People>,
) {
    let shared = Arc::clone(shared);
    let state = Mutex::new((Thinner::new(spec.fps), None::<(gst::Caps, video::VideoInfo)>));
    let pad = thin.static_pad("src").expect("checked when the description was built");
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (thinner, known) = &mut *state;
        let caps = pad.current_caps();
        let size = |known: &Option<(gst::Caps, video::VideoInfo)>| {
            known.as_ref().map(|(_, info)| (info.width(), info.height()))
        };
        let mut resized = false;
        if caps.as_ref() != known.as_ref().map(|k| &k.0) {
            let before = size(known);
            *known = caps.and_then(|c| video::VideoInfo::from_caps(&c).ok().map(|i| (c, i)));
            resized = before.is_some() && before != size(known);
            if let Some((_, i)) = known {
                let mut info = shared.info.lock().unwrap_or_else(PoisonError::into_inner);
                (info.width, info.height) = (i.width(), i.height());
                info.fps = interval(i).map_or(0.0, |t| 1.0 / t.as_secs_f64());
            }
        }
        let Some(buffer) = probe.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let lost = buffer.flags().contains(gst::BufferFlags::DISCONT);
        let declared = known.as_ref().and_then(|(_, i)| interval(i));
        if let Some(pts) = buffer.pts().map(Duration::from) {
            shared.ahead.before(view, pts, |earlier| thinner.left_out(earlier));
        }
        // What is scaled otherwise is not one run with what was before.
        let Some(kept) = thinner.frame(buffer.pts().map(Duration::from), declared, lost || resized) else {
            return gst::PadProbeReturn::Drop;
        };
        if kept.new_run && !lost || buffer.pts().is_none() {
            // Copies the description of the buffer, not its pixels.
            let buffer = buffer.make_mut();
            buffer.set_pts(gst::ClockTime::try_from(kept.pts).ok());
            if kept.new_run {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        if let (Some((_, info)), Some(people)) = (known, &people) {
            people.show(buffer, info, buffer.pts().map_or(kept.pts, Duration::from), &shared);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The declared frame interval, where the caps have one.
fn interval(info: &video::VideoInfo) -> Option<Duration> {
    let fps = f64::from(info.fps().numer()) / f64::from(info.fps().denom().max(1));
    (fps > 0.0).then(|| Duration::from_secs_f64(1.0 / fps))
}
