//! Whether the picture can be believed: a camera whose frames arrive may show a frozen, black, covered or blurred one.
//!
//! Looked at are a few thousand single pixels some times a second; single ones, since means would hide the sensor's
//! noise, which is what tells a scene where nothing happens from a picture that is repeated. A coarse encoder leaves the
//! noise out between key frames, as if the picture stood still, so pictures are compared across key frames alone. There
//! an encoder that is fed one picture again and again gives others, but sooner or later nearly the same as seconds
//! before; noise never comes back.

use super::cells::{Luma, means};
use crate::frame::FrameSpec;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// Pictures are looked at this often.
const EVERY: Duration = Duration::from_millis(390);
/// Pixels that are looked at, at most, along each side.
const ACROSS: usize = 112;
const DOWN: usize = 72;
/// Cells whose means are compared, along each side.
const COLUMNS: usize = 16;
const ROWS: usize = 9;
/// A picture is compared with those of at most so long ago, longer than the usual time between key frames, ...
const KEPT: Duration = Duration::from_millis(12_000);
/// ... that at least one key frame parts from the look this many looks back, so that a decoder may take its time.
const DECODES: usize = 2;
/// Where nothing is decoded, from so long ago: longer than slow cameras and players repeat a picture.
const UNPARTED: Duration = Duration::from_secs(4);
/// Mean difference, in levels, below which two pictures are the same. Sensor noise of half a level leaves 0.36 and more
/// across key frames, however coarse H.264 is; one picture that is encoded again and again at 300 kbit/s, 0.14 to 0.2.
const SAME: f32 = 0.2;
/// The same as well is what differs by this share of what is usual: a coarse encoder's own noise.
const SAME_SHARE: f32 = 0.55;
/// The picture is as usual again when it differs by this share for so long.
const USUAL_SHARE: f32 = 0.8;
const USUAL_FOR: Duration = Duration::from_secs(5);
/// Something moves when some cell differs by so many levels from every look of the last [`KEPT`].
const MOVED_CELL: f32 = 8.0;
/// Frozen: nothing moved for so long, and the same picture came again within it, and so long after it had before; ...
const STILL: Duration = Duration::from_secs(10);
const TWICE: Duration = Duration::from_secs(1);
/// ... no more when it did not come for ...
const NOT_AGAIN: Duration = Duration::from_secs(30);
/// Black: nearly all pixels are this dark, and there is nothing to be seen in them.
const DARK: u8 = 28;
const NEARLY_ALL: f32 = 0.98;
const NOTHING_SEEN: f32 = 3.0;
/// Covered: cells differ by no more than this from an even or evenly falling brightness, and edges are as faint.
const EVEN: f32 = 4.0;
const NO_EDGES: f32 = 1.6;
/// Blurred: edges are fainter than this share of what is usual, while what is large looks as usual.
const BLURRED: f32 = 0.5;
const ALIKE: f32 = 0.7;
const CONTRAST: f32 = 0.5;
/// Edges are means over this time, seconds, so that noise is none.
const EDGES: f32 = 2.0;
/// What is usual is followed within this time, seconds; hardly any more where the picture is bad.
const USUAL: f32 = 60.0;
const USUAL_BAD: f32 = 3600.0;
/// Nothing is usual before so much was seen, in which it is followed within [`SOON`], seconds.
const SOON: f32 = 5.0;
const KNOWN_AFTER: Duration = Duration::from_secs(20);
/// A bad picture must last so long, and be good again for so long.
const BAD_FOR: Duration = Duration::from_secs(8);
const GOOD_FOR: Duration = Duration::from_secs(2);

/// What a camera's picture is worth. Where several hold, the first one of damaged, black, covered, frozen, moved, blurred
/// is told: a black picture stands still as well, and darkness is the better reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PictureState {
    Healthy,
    /// The same picture comes again and again.
    Frozen,
    /// There is no light in it.
    Black,
    /// It shows one even surface.
    Covered,
    /// It has lost its edges.
    Blurred,
    /// It shows something else than before: [`super::SceneWatch`] tells.
    Moved,
    /// Much of it is made of damaged or incomplete data: [`super::DamageWatch`] tells.
    Damaged,
}

impl PictureState {
    /// What is wrong, with a remedy; `None` where nothing is.
    pub fn problem(self) -> Option<&'static str> {
        match self {
            Self::Healthy => None,
            Self::Frozen => Some(
                "the same picture comes again and again, without even noise: it is frozen (restart the camera)",
            ),
            Self::Black => {
                Some("the picture is black (see to the camera's light, lens cap, and day and night switch)")
            }
            Self::Covered => Some(
                "the picture shows one even surface: the lens is covered, or there is no sensor signal (clear the \
                 lens, or restart the camera)",
            ),
            Self::Moved => Some(
                "the camera's view has changed: it was moved, or something stands before it (put it back, or have it \
                 learn again)",
            ),
            Self::Damaged => Some(
                "packets are lost or damaged on their way from the camera: what is made of them is not judged (set \
                 `transport = \"tcp\"`, or mend the network or the camera)",
            ),
            Self::Blurred => {
                Some("the picture is blurred (clean the lens, wait for fog to lift, or focus the camera)")
            }
        }
    }
}

/// The figures of the newest look; levels are of luma, 0 to 255.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Look {
    /// Mean difference from the most alike of the earlier pictures, beyond a key frame; `None` while there is none.
    pub again: Option<f32>,
    /// How much the cell that differs most does, from the most alike of all earlier pictures.
    pub moved: f32,
    /// Share of dark pixels.
    pub dark: f32,
    /// Between the dark and the bright cells, once an even fall of brightness is taken out.
    pub uneven: f32,
    /// Strength of edges, root of the mean square: a blur spreads a step, and leaves its sum as it is.
    pub edges: f32,
}

/// Watches the pictures of one camera. Pure: its only clock is the caller's.
#[derive(Debug)]
pub struct PictureWatch {
    spec: FrameSpec,
    /// Of the last [`KEPT`], oldest first.
    looks: VecDeque<Seen>,
    look: Look,
    /// Differences of pixels from those beside them, over time.
    edges: Vec<f32>,
    began: Option<Duration>,
    moved: Duration,
    /// The same picture came again: first, and last.
    again: Option<(Duration, Duration)>,
    usual: Option<Usual>,
    black: Lasting,
    covered: Lasting,
    frozen: bool,
    /// The picture differs as it usually does, since then.
    differs: Option<Duration>,
    blurred: Lasting,
    state: PictureState,
}

#[derive(Debug)]
struct Seen {
    at: Duration,
    pixels: Vec<u8>,
    /// Key frames that had come.
    keys: Option<u64>,
}

#[derive(Debug)]
struct Usual {
    /// [`Look::again`]; `None` before it is known.
    again: Option<f32>,
    /// Seconds in which it was.
    known: f32,
    edges: f32,
    cells: Vec<f32>,
}

/// Something that holds once it has lasted, until it has been over for a while.
#[derive(Debug, Default)]
struct Lasting {
    holds: bool,
    /// It is otherwise than `holds` says since then.
    since: Option<Duration>,
}

impl Lasting {
    fn see(&mut self, is: bool, now: Duration, lasts: Duration) {
        if is == self.holds {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) >= if is { lasts } else { GOOD_FOR } {
            (self.holds, self.since) = (is, None);
        }
    }
}

impl PictureWatch {
    pub fn new(spec: FrameSpec) -> Self {
        Self {
            spec,
            looks: VecDeque::new(),
            look: Look::default(),
            edges: vec![],
            began: None,
            moved: Duration::ZERO,
            again: None,
            usual: None,
            black: Lasting::default(),
            covered: Lasting::default(),
            frozen: false,
            differs: None,
            blurred: Lasting::default(),
            state: PictureState::Healthy,
        }
    }

    pub fn state(&self) -> PictureState {
        self.state
    }

    /// For people who want to know why.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Takes the next picture (`FrameSpec::frame_bytes` bytes), shown at `now`, a clock that never goes back; `keys` is
    /// the number of key frames that the decoder was given so far, `None` where nothing is decoded. Gives the state that
    /// begins with it.
    pub fn see(&mut self, pixels: &[u8], keys: Option<u64>, now: Duration) -> Option<PictureState> {
        let passed = self.looks.back().map(|seen| now.saturating_sub(seen.at));
        if passed.is_some_and(|passed| passed < EVERY) {
            return None;
        }
        let passed = passed.unwrap_or_default().as_secs_f32();
        let began = *self.began.get_or_insert(now);
        let (picked, beside, across) = self.pick(pixels);
        let cells = cells(&picked, across);
        self.compare(&picked, across, now);
        if self.edges.is_empty() {
            self.edges = beside;
        } else {
            follow(&mut self.edges, &beside, passed / EDGES);
        }
        let dark = picked.iter().filter(|v| **v <= DARK).count() as f32 / picked.len() as f32;
        self.look = Look {
            dark,
            uneven: spread(&without_plane(&cells)),
            edges: (self.edges.iter().map(|e| e * e).sum::<f32>() / self.edges.len().max(1) as f32).sqrt(),
            ..self.look
        };
        self.looks.push_back(Seen { at: now, pixels: picked, keys });

        let Look { uneven, edges, .. } = self.look;
        self.black.see(dark >= NEARLY_ALL && uneven <= NOTHING_SEEN, now, BAD_FOR);
        self.covered.see(uneven <= EVEN && edges <= NO_EDGES, now, BAD_FOR);
        let known = now.saturating_sub(began) >= KNOWN_AFTER;
        self.stands_still(now);
        let blurred = known && self.usual.as_ref().is_some_and(|usual| usual.is_sharper(edges, &cells));
        self.blurred.see(blurred, now, BAD_FOR);
        self.get_used(passed, cells, blurred);

        let state = match (self.black.holds, self.covered.holds, self.frozen, self.blurred.holds) {
            (true, ..) => PictureState::Black,
            (_, true, ..) => PictureState::Covered,
            (_, _, true, _) => PictureState::Frozen,
            (.., true) => PictureState::Blurred,
            _ => PictureState::Healthy,
        };
        let changed = state != self.state;
        self.state = state;
        changed.then_some(state)
    }

    /// Every so many pixels, how each differs from one beside it, and how many there are in a row.
    fn pick(&self, pixels: &[u8]) -> (Vec<u8>, Vec<f32>, usize) {
        let (width, height) = (self.spec.width as usize, self.spec.height as usize);
        let Luma { step, first } = Luma::of(self.spec.format);
        let (right, down) = (width.div_ceil(ACROSS), height.div_ceil(DOWN));
        let beside = 2.min(width - 1);
        let (mut picked, mut differ) = (vec![], vec![]);
        for line in pixels.chunks_exact(width * step).step_by(down) {
            let at = |x: usize| line[x * step + first];
            for x in (0..width).step_by(right) {
                let other = if x + beside < width { x + beside } else { x - beside };
                picked.push(at(x));
                differ.push(f32::from(at(x)) - f32::from(at(other)));
            }
        }
        (picked, differ, width.div_ceil(right))
    }

    /// With the looks before.
    fn compare(&mut self, picked: &[u8], across: usize, now: Duration) {
        while self.looks.front().is_some_and(|seen| now.saturating_sub(seen.at) > KEPT) {
            self.looks.pop_front();
        }
        let before = self.looks.len().checked_sub(DECODES).and_then(|at| self.looks[at].keys);
        (self.look.again, self.look.moved) = (None, f32::MAX);
        for seen in &self.looks {
            let steps: Vec<u8> = picked.iter().zip(&seen.pixels).map(|(a, b)| a.abs_diff(*b)).collect();
            let moved = cells(&steps, across).into_iter().fold(0.0, f32::max);
            self.look.moved = self.look.moved.min(moved);
            let parted = match seen.keys {
                Some(_) => seen.keys < before,
                None => now.saturating_sub(seen.at) >= UNPARTED,
            };
            if parted && moved < MOVED_CELL {
                let apart = steps.iter().map(|v| u32::from(*v)).sum::<u32>() as f32 / steps.len() as f32;
                self.look.again = Some(self.look.again.map_or(apart, |least: f32| least.min(apart)));
            }
        }
        if self.look.moved >= MOVED_CELL {
            self.moved = now;
        }
    }

    /// Nothing has moved for long, and not even noise tells pictures apart.
    fn stands_still(&mut self, now: Duration) {
        let known = |usual: &&Usual| usual.known >= KNOWN_AFTER.as_secs_f32();
        let usual = self.usual.as_ref().filter(known).and_then(|usual| usual.again);
        let below = |share: f32, apart: f32| usual.is_some_and(|usual| apart < share * usual);
        let since = |at: Duration| now.saturating_sub(at);
        if let Some(apart) = self.look.again {
            if apart <= SAME || below(SAME_SHARE, apart) {
                let first =
                    self.again.filter(|(_, last)| since(*last) < STILL).map_or(now, |(first, _)| first);
                self.again = Some((first, now));
            }
            let differs = apart > SAME && !below(USUAL_SHARE, apart);
            self.differs = differs.then(|| self.differs.unwrap_or(now));
        }
        let as_usual = self.differs.is_some_and(|at| since(at) >= USUAL_FOR);
        if self.moved == now || as_usual {
            self.again = None;
        }
        self.frozen = self.again.is_some_and(|(first, last)| match self.frozen {
            false => since(self.moved) >= STILL && since(last) < STILL && last - first >= TWICE,
            true => since(last) < NOT_AGAIN,
        });
    }

    /// What is seen becomes what is usual, unless it is bad.
    fn get_used(&mut self, passed: f32, cells: Vec<f32>, blurred: bool) {
        let Look { again, edges, .. } = self.look;
        let Some(usual) = &mut self.usual else {
            self.usual = Some(Usual { again, known: 0.0, edges, cells });
            return;
        };
        let slow = |bad: bool| passed / if bad { USUAL_BAD } else { USUAL };
        match (&mut usual.again, again) {
            (Some(usually), Some(again)) => {
                // A picture that has just stopped must not become usual before that is known.
                let stops = self.frozen || again < SAME_SHARE * *usually;
                let soon = usual.known < KNOWN_AFTER.as_secs_f32();
                *usually += (again - *usually) * if soon { passed / SOON } else { slow(stops) }.min(1.0);
                usual.known += passed;
            }
            (none, again) => *none = none.or(again),
        }
        let pace = slow(blurred || self.state != PictureState::Healthy);
        follow(std::slice::from_mut(&mut usual.edges), &[edges], pace);
        follow(&mut usual.cells, &cells, pace);
    }
}

impl Usual {
    /// Than a picture of the same view.
    fn is_sharper(&self, edges: f32, cells: &[f32]) -> bool {
        let (now, usual) = (without_mean(cells), without_mean(&self.cells));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (power, usual_power) = (product(&now, &now), product(&usual, &usual));
        let alike = product(&now, &usual) / (power * usual_power).sqrt().max(f32::MIN_POSITIVE);
        self.edges > NO_EDGES
            && edges < BLURRED * self.edges
            && alike >= ALIKE
            && power >= CONTRAST * CONTRAST * usual_power
    }
}

/// Draws what is remembered towards what is seen, by a share of the way.
fn follow(remembered: &mut [f32], seen: &[f32], pace: f32) {
    remembered.iter_mut().zip(seen).for_each(|(r, s)| *r += (s - *r) * pace.min(1.0));
}

/// Means over [`ROWS`] x [`COLUMNS`] cells of values of which there are `across` in a row; cells of a picture that is
/// smaller than they are many have no pixel, and say nothing.
fn cells(values: &[u8], across: usize) -> Vec<f32> {
    means(values, Luma::PLAIN, across, ROWS, COLUMNS).into_iter().flatten().collect()
}

fn without_mean(values: &[f32]) -> Vec<f32> {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    values.iter().map(|v| v - mean).collect()
}

/// Means of cells without the plane that fits them best.
fn without_plane(cells: &[f32]) -> Vec<f32> {
    let mut left = without_mean(cells);
    if cells.len() == COLUMNS * ROWS {
        let place = |i: usize| {
            [
                (i % COLUMNS) as f32 - (COLUMNS - 1) as f32 / 2.0,
                (i / COLUMNS) as f32 - (ROWS - 1) as f32 / 2.0,
            ]
        };
        for axis in [0, 1] {
            let product: f32 = left.iter().enumerate().map(|(i, v)| v * place(i)[axis]).sum();
            let power: f32 = (0..left.len()).map(|i| place(i)[axis].powi(2)).sum();
            left.iter_mut().enumerate().for_each(|(i, v)| *v -= product / power * place(i)[axis]);
        }
    }
    left
}

/// From the 5th to the 95th of a hundred values: a clock that is written into the picture matters little.
fn spread(values: &[f32]) -> f32 {
    let mut values = values.to_vec();
    values.sort_by(f32::total_cmp);
    let at = |share: f32| values[((values.len() - 1) as f32 * share) as usize];
    at(0.95) - at(0.05)
}

#[cfg(test)]
mod tests;
