//! The demo camera: a plaza that the program renders itself, with known ground truth.

mod backdrop;
mod figure;
mod raster;
mod scene;

pub use scene::{FPS as PLAZA_FPS, IncidentKind, Truth};

use super::gst::{ENCODED_WIDTH, Encoder};
use super::thin::Thinner;
use super::{
    Frame, FrameSpec, Next, PacketKeep, PacketRing, Picture, PictureTap, PixelFormat, Source, SourceError,
    Stamp, Stream, StreamInfo,
};
use crate::base::{Clock, Timestamp};
use crate::config;
use raster::{Canvas, chance};
use scene::Scene;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Size of the camera's own picture, pixels.
const WIDTH: u32 = 640;
/// Sizes in which a tap keeps the plaza without anybody.
const EMPTY_SIZES: usize = 3;
const HEIGHT: u32 = 360;
/// Standard deviation of the sensor's noise, grey levels.
const NOISE: f32 = 2.0;
/// A consumer this many frames late has the frames between left out.
const LATE: u64 = 8;

/// The plaza itself: every picture and every truth is a function of the seed and the frame's index, which
/// counts [`PLAZA_FPS`] frames a second from 0.
#[derive(Debug)]
pub struct Plaza {
    scene: Scene,
    noise: Vec<i8>,
}

impl Plaza {
    pub fn new(seed: u64) -> Self {
        // The sum of four uniform numbers is bell-shaped enough; its standard deviation is 0.577.
        let level = |i: i64| (0..4).map(|k| chance(seed, [i, k, 60])).sum::<f32>() - 2.0;
        let noise = (0..1 << 15).map(|i| (level(i) * NOISE / 0.577).round() as i8).collect();
        Self { scene: Scene { seed }, noise }
    }

    /// The incidents in progress at a frame, with where each is. None in the first two minutes.
    pub fn truth(&self, frame: u64) -> Vec<Truth> {
        self.scene.truth(frame)
    }

    /// Renders a frame at any size. `empty` is [`Plaza::empty`] of that size.
    fn render(&self, frame: u64, empty: &Canvas, format: PixelFormat) -> Vec<u8> {
        let mut canvas = empty.clone();
        let figures = self.scene.figures(frame);
        for figure in &figures {
            figure.draw_shadow(&mut canvas);
        }
        for figure in &figures {
            figure.draw(&mut canvas);
        }
        backdrop::foreground(&mut canvas);
        self.develop(frame, &canvas, format)
    }

    /// The plaza without anybody.
    fn empty(&self, width: u32, height: u32) -> Canvas {
        backdrop::backdrop(width, height, self.scene.seed)
    }

    /// Light that changes slowly, and the sensor's noise.
    fn develop(&self, frame: u64, canvas: &Canvas, format: PixelFormat) -> Vec<u8> {
        let t = frame as f32 / PLAZA_FPS as f32;
        let light = 0.97 + 0.045 * (t / 29.0).sin() + 0.02 * (t / 7.3).sin();
        let table: Vec<i16> = (0..256).map(|v| (v as f32 * light) as i16).collect();
        let row_bytes = canvas.width * 3;
        let mut out = Vec::with_capacity(canvas.width * canvas.height * format.bytes_per_pixel());
        for (y, row) in canvas.rgb.chunks_exact(row_bytes).enumerate() {
            let free = self.noise.len() - canvas.width.min(self.noise.len());
            let start = (chance(self.scene.seed, [frame as i64, y as i64, 61]) * free as f32) as usize;
            let noise = self.noise[start..].iter().cycle();
            for (pixel, &noise) in row.chunks_exact(3).zip(noise) {
                let level = |v: u8| (table[usize::from(v)] + i16::from(noise)).clamp(0, 255) as u8;
                match format {
                    // Luma of ITU-R BT.601, full range.
                    PixelFormat::Gray8 => {
                        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
                        out.push(level(((77 * r + 150 * g + 29 * b) >> 8) as u8));
                    }
                    PixelFormat::Rgb8 => out.extend(pixel.iter().map(|&v| level(v))),
                }
            }
        }
        out
    }
}

/// The plaza as a camera.
pub(super) struct Synthetic {
    plaza: Arc<Plaza>,
    config: config::Synthetic,
    clock: Arc<dyn Clock>,
    counters: Arc<Mutex<Counters>>,
    keep: Option<PacketKeep>,
}

/// Counts that go on over every stream the source opens.
#[derive(Debug, Default)]
struct Counters {
    /// Of each view.
    seq: Vec<u64>,
    run: u64,
    /// The plaza's next frame.
    frame: u64,
}

impl Synthetic {
    pub(super) fn new(config: &config::Synthetic, clock: Arc<dyn Clock>) -> Self {
        Self {
            plaza: Arc::new(Plaza::new(config.seed)),
            config: config.clone(),
            clock,
            counters: Arc::default(),
            keep: None,
        }
    }
}

impl Source for Synthetic {
    fn open(&mut self, views: &[FrameSpec]) -> Result<Box<dyn Stream>, SourceError> {
        let first = {
            let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.seq.resize(views.len(), 0);
            counters.frame
        };
        let view = |spec: &FrameSpec| View {
            spec: spec.clone(),
            empty: self.plaza.empty(spec.width, spec.height),
            thinner: Thinner::new(spec.fps),
            run: 0,
        };
        let encoding = self.keep.map(|keep| {
            let packets = Arc::new(PacketRing::new(keep, Arc::new(OnceLock::from(Duration::ZERO))));
            let waits = self.config.as_fast_as_possible;
            (Encoder::start(Arc::clone(&packets), Arc::clone(&self.clock), waits), packets)
        });
        Ok(Box::new(Playing {
            views: views.iter().map(view).collect(),
            made: VecDeque::new(),
            paced: !self.config.as_fast_as_possible,
            started: self.clock.monotonic(),
            clock: Arc::clone(&self.clock),
            counters: Arc::clone(&self.counters),
            first,
            next: first,
            skipped: false,
            dropped: 0,
            tap: Arc::new(Tap {
                plaza: Arc::clone(&self.plaza),
                first,
                newest: Mutex::default(),
                empty: Mutex::default(),
            }),
            encoding,
        }))
    }

    fn is_live(&self) -> bool {
        !self.config.as_fast_as_possible
    }

    fn keep_packets(&mut self, keep: PacketKeep) {
        self.keep = Some(keep);
    }

    fn describe(&self) -> String {
        format!("synthetic plaza, seed {}", self.config.seed)
    }
}

/// The pictures for one extractor.
struct View {
    spec: FrameSpec,
    /// The plaza without anybody, in the size that is analysed.
    empty: Canvas,
    thinner: Thinner,
    run: u64,
}

struct Playing {
    views: Vec<View>,
    /// Rendered, and not yet taken.
    made: VecDeque<Frame>,
    /// In real time.
    paced: bool,
    started: Duration,
    clock: Arc<dyn Clock>,
    counters: Arc<Mutex<Counters>>,
    first: u64,
    next: u64,
    /// Frames were left out before the next one.
    skipped: bool,
    dropped: u64,
    tap: Arc<Tap>,
    /// What makes packets of it, and where they are kept.
    encoding: Option<(Encoder, Arc<PacketRing>)>,
}

impl Playing {
    /// When a frame is due, on the monotonic clock.
    fn due(&self, frame: u64) -> Duration {
        self.started + Duration::from_millis((frame - self.first) * 1000 / PLAZA_FPS)
    }

    /// Renders a frame of the plaza for the views that want it.
    fn make(&mut self, frame: u64, skipped: bool) {
        let pts = Duration::from_millis((frame - self.first) * 1000 / PLAZA_FPS);
        let interval = Duration::from_millis(1000 / PLAZA_FPS);
        let mut wall = None;
        for (number, view) in self.views.iter_mut().enumerate() {
            let Some(kept) = view.thinner.frame(Some(pts), Some(interval), skipped) else { continue };
            let pixels = self.tap.plaza.render(frame, &view.empty, view.spec.format).into();
            let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.frame = frame + 1;
            if kept.new_run {
                counters.run += 1;
                view.run = counters.run;
            }
            counters.seq[number] += 1;
            let seq = counters.seq[number] - 1;
            let stamp =
                Stamp { seq, pts: kept.pts, wall: self.clock.now(), received: self.clock.monotonic() };
            *self.tap.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((frame, stamp.wall));
            wall = Some(stamp.wall);
            self.made.push_back(Frame {
                stamp,
                view: number,
                run: view.run,
                keys: None,
                damaged: false,
                pixels,
            });
        }
        if let (Some((encoder, _)), Some(wall)) = (&self.encoding, wall) {
            let tap = Arc::clone(&self.tap);
            encoder.offer(pts, move || Some(tap.render(frame, wall, ENCODED_WIDTH)));
        }
    }
}

impl Stream for Playing {
    fn next(&mut self, timeout: Duration) -> Result<Next, SourceError> {
        let until = self.clock.monotonic() + timeout;
        loop {
            if let Some(frame) = self.made.pop_front() {
                return Ok(Next::Frame(frame));
            }
            if self.paced {
                let now = self.clock.monotonic();
                let due = self.due(self.next);
                if due > until {
                    self.clock.sleep(until.saturating_sub(now));
                    return Ok(Next::Idle);
                }
                self.clock.sleep(due.saturating_sub(now));
                let newest = self.first
                    + (now.saturating_sub(self.started).as_millis() * u128::from(PLAZA_FPS) / 1000) as u64;
                if newest > self.next + LATE {
                    self.dropped += newest - self.next;
                    self.next = newest;
                    self.skipped = true;
                }
            }
            let frame = self.next;
            self.next += 1;
            let skipped = std::mem::take(&mut self.skipped);
            self.make(frame, skipped);
        }
    }

    fn info(&self) -> StreamInfo {
        StreamInfo { codec: None, width: WIDTH, height: HEIGHT, fps: PLAZA_FPS as f64 }
    }

    fn pictures(&self) -> Arc<dyn PictureTap> {
        Arc::clone(&self.tap) as _
    }

    fn packets(&self) -> Option<Arc<PacketRing>> {
        self.encoding.as_ref().map(|(_, packets)| Arc::clone(packets))
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Renders a frame in colour when somebody asks.
struct Tap {
    plaza: Arc<Plaza>,
    /// The frame that the stream began with.
    first: u64,
    newest: Mutex<Option<(u64, Timestamp)>>,
    /// The plaza without anybody, in the sizes that were asked for last: painting it takes longer than the people.
    empty: Mutex<Vec<Canvas>>,
}

impl PictureTap for Tap {
    fn latest(&self, max_width: u32) -> Option<Picture> {
        let (frame, wall) = (*self.newest.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(self.render(frame, wall, max_width))
    }

    fn at(&self, pts: Duration, max_width: u32) -> Option<Picture> {
        let (newest, wall) = (*self.newest.lock().unwrap_or_else(PoisonError::into_inner))?;
        let frame = (self.first + (pts.as_secs_f64() * PLAZA_FPS as f64).round() as u64).min(newest);
        let before = Duration::from_millis((newest - frame) * 1000 / PLAZA_FPS);
        Some(self.render(frame, wall.checked_sub(before).unwrap_or(wall), max_width))
    }
}

impl Tap {
    fn render(&self, frame: u64, wall: Timestamp, max_width: u32) -> Picture {
        let width = max_width.clamp(1, WIDTH);
        let height = (width * HEIGHT / WIDTH).max(1);
        let mut empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        let known = empty.iter().position(|e| (e.width, e.height) == (width as usize, height as usize));
        let own = match known {
            Some(known) => empty.remove(known),
            None => self.plaza.empty(width, height),
        };
        empty.truncate(EMPTY_SIZES - 1);
        empty.insert(0, own);
        let rgb = self.plaza.render(frame, &empty[0], PixelFormat::Rgb8);
        Picture { width, height, rgb, wall }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimClock;

    const SPEC: FrameSpec = FrameSpec { width: 180, height: 120, format: PixelFormat::Gray8, fps: 10.0 };

    fn plaza(fast: bool, clock: &Arc<SimClock>) -> Synthetic {
        let config = config::Synthetic { seed: 7, as_fast_as_possible: fast };
        Synthetic::new(&config, Arc::clone(clock) as _)
    }

    fn clock() -> Arc<SimClock> {
        Arc::new(SimClock::new(Timestamp::UNIX_EPOCH))
    }

    fn frame(stream: &mut dyn Stream) -> Frame {
        match stream.next(Duration::from_secs(1)).expect("the plaza never fails") {
            Next::Frame(frame) => frame,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_pictures_and_another_seed_others() {
        let frames = |seed| {
            let config = config::Synthetic { seed, as_fast_as_possible: true };
            let mut stream = Synthetic::new(&config, clock()).open(&[SPEC]).expect("it opens");
            (0..3).map(|_| frame(stream.as_mut()).pixels).collect::<Vec<_>>()
        };
        assert_eq!(frames(1), frames(1));
        assert_ne!(frames(1), frames(2));
        assert_ne!(frames(1)[0], frames(1)[1], "people move");
    }

    #[test]
    fn real_time_follows_the_clock_and_fast_does_not() {
        let clock = clock();
        let mut stream = plaza(false, &clock).open(&[SPEC]).expect("it opens");
        for i in 0..20 {
            let f = frame(stream.as_mut());
            assert_eq!((f.stamp.seq, f.run, f.stamp.received.as_millis()), (i, 1, 100 * u128::from(i)));
        }
        let short = stream.next(Duration::from_millis(30)).expect("the plaza never fails");
        assert!(matches!(short, Next::Idle), "{short:?}");
        let mut fast = plaza(true, &clock).open(&[SPEC]).expect("it opens");
        let before = clock.monotonic();
        (0..20).for_each(|_| drop(frame(fast.as_mut())));
        assert_eq!(clock.monotonic(), before);
    }

    #[test]
    fn a_late_consumer_loses_counted_frames_and_begins_a_run() {
        let clock = clock();
        let mut stream = plaza(false, &clock).open(&[SPEC]).expect("it opens");
        frame(stream.as_mut());
        clock.advance(Duration::from_secs(5));
        let f = frame(stream.as_mut());
        assert_eq!((f.stamp.seq, f.stamp.pts.as_secs(), f.run, stream.dropped()), (1, 5, 2, 49));
    }

    #[test]
    fn a_slower_rate_is_thinned_and_opening_again_goes_on() {
        let clock = clock();
        let mut source = plaza(true, &clock);
        let mut stream = source.open(&[FrameSpec { fps: 5.0, ..SPEC }]).expect("it opens");
        let times: Vec<_> = (0..4).map(|_| frame(stream.as_mut()).stamp.pts.as_millis()).collect();
        assert_eq!(times, [0, 200, 400, 600]);
        let again = frame(source.open(&[SPEC]).expect("it opens").as_mut());
        assert_eq!((again.stamp.seq, again.run), (4, 2));
    }

    #[test]
    fn views_of_several_sizes_and_rates_show_the_same_moments() {
        let small = FrameSpec { width: 60, height: 40, fps: 5.0, ..SPEC };
        let mut both = plaza(true, &clock()).open(&[SPEC, small.clone()]).expect("it opens");
        let (mut large, mut few) = (vec![], vec![]);
        for _ in 0..30 {
            let frame = frame(both.as_mut());
            [&mut large, &mut few][frame.view].push(frame);
        }
        assert_eq!((large.len(), few.len()), (20, 10));
        let mut alone = plaza(true, &clock()).open(&[small]).expect("it opens");
        for (i, seen) in few.iter().enumerate() {
            let of_it = frame(alone.as_mut());
            assert_eq!((seen.stamp.seq, seen.stamp.pts), (i as u64, large[2 * i].stamp.pts));
            assert_eq!((seen.stamp.pts, &seen.pixels), (of_it.stamp.pts, &of_it.pixels));
        }
        assert!(large.iter().all(|f| f.run == large[0].run) && few.iter().all(|f| f.run == few[0].run));
    }

    #[test]
    fn the_script_is_quiet_first_and_then_brings_every_incident_in_turn() {
        use IncidentKind::*;
        let plaza = Plaza::new(1);
        assert!((0..1200).all(|i| plaza.truth(i).is_empty()));
        for (n, kind) in [Cyclist, WrongWayRunner, Loiterer, DroppedBag, Cyclist].into_iter().enumerate() {
            let start = 1200 + 400 * n as u64;
            let seen: Vec<_> = (start..start + 400).filter_map(|i| plaza.truth(i).pop()).collect();
            assert!((30..=280).contains(&seen.len()), "{kind:?}: {} frames", seen.len());
            for t in &seen {
                assert_eq!(t.kind, kind);
                assert!((start..start + 10).contains(&t.from) && t.to - t.from >= seen.len() as u64, "{t:?}");
                let [left, top, right, bottom] = t.region;
                assert!(left < right && top < bottom && right <= 1.0 && bottom <= 1.0, "{t:?}");
            }
        }
    }

    #[test]
    fn what_the_truth_names_is_to_be_seen_there() {
        let plaza = Plaza::new(3);
        let empty = plaza.empty(WIDTH, HEIGHT);
        // The middle of the first cyclist's ride.
        let truth = plaza.truth(1225)[0];
        let picture = plaza.render(1225, &empty, PixelFormat::Rgb8);
        let changed = |x: usize, y: usize| {
            let at = (y * WIDTH as usize + x) * 3;
            (0..3).any(|k| picture[at + k].abs_diff(empty.rgb[at + k]) > 40)
        };
        let [left, top, right, bottom] = truth.region;
        let columns = (left * 640.0) as usize..(right * 640.0) as usize;
        let rows = (top * 360.0) as usize..(bottom * 360.0) as usize;
        let area = columns.len() * rows.len();
        let hits =
            rows.flat_map(|y| columns.clone().map(move |x| (x, y))).filter(|&(x, y)| changed(x, y)).count();
        assert!(hits * 6 > area, "{hits} of {area} pixels differ from the empty plaza");
    }

    #[test]
    fn the_picture_is_colour_and_scaled() {
        let mut stream = plaza(true, &clock()).open(&[SPEC]).expect("it opens");
        let tap = stream.pictures();
        assert!(tap.latest(640).is_none());
        frame(stream.as_mut());
        let (full, small) = (tap.latest(4000).expect("a picture"), tap.latest(320).expect("a picture"));
        assert_eq!((full.width, full.height, full.rgb.len()), (640, 360, 640 * 360 * 3));
        assert_eq!((small.width, small.height, small.rgb.len()), (320, 180, 320 * 180 * 3));
    }
    #[test]
    fn the_picture_of_a_moment_is_that_frame() {
        let clock = clock();
        let mut source = plaza(false, &clock);
        drop(source.open(&[SPEC]).map(|mut stream| frame(stream.as_mut())));
        let mut stream = source.open(&[SPEC]).expect("it opens");
        let tap = stream.pictures();
        assert!(tap.at(Duration::ZERO, 640).is_none());
        (0..30).for_each(|_| drop(frame(stream.as_mut())));
        let plaza = Plaza::new(7);
        let empty = plaza.empty(640, 360);
        // The second stream begins with the plaza's frame 1.
        for (asked, shown) in [(0, 1), (1210, 13), (1260, 14), (2900, 30), (99_000, 30)] {
            let picture = tap.at(Duration::from_millis(asked), 640).expect("a picture");
            assert!(picture.rgb == plaza.render(shown, &empty, PixelFormat::Rgb8), "{asked} ms: not {shown}");
            assert_eq!(picture.wall.as_millisecond(), 100 * (shown as i64 - 1), "{asked} ms");
        }
    }
}
