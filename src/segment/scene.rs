//! Whether the whole picture changes at once: lights, the switch to infrared, a camera that was moved.
//!
//! Such a change is no event in the scene, and yet every region of it looks unusual. What is judged are means of
//! luma over a coarse grid, against a reference that follows slow changes (dusk, clouds). Its *structure*, the means
//! without the mean of their neighbours, does not depend on the light: where it stays alike the light has changed,
//! where it does not the camera looks elsewhere.

use super::cells::{Luma, means};
use crate::frame::FrameSpec;
use std::time::Duration;

/// Cells along the picture's longer side.
const CELLS: usize = 40;
/// The reference follows the picture within this time, and the short one within this.
const REFERENCE: f32 = 20.0;
const RECENT: f32 = 0.5;
/// A cell has changed when it differs by this many levels of luma, this share of its own, ...
const LEVELS: f32 = 10.0;
const SHARE: f32 = 0.1;
/// ... and this many times what it usually differs by.
const USUAL: f32 = 4.0;
/// The picture as a whole changes when this share of its cells does.
const WHOLE: f32 = 0.6;
/// Seen again, and seen no more: correlation of structures, as shares of the usual one. Pictures that usually
/// correlate by less than this have no structure to speak of.
const SAME: f32 = 0.6;
const OTHER: f32 = 0.5;
const LEAST_STRUCTURE: f32 = 0.5;
/// Root of the mean square, levels, below which a structure is the sensor's noise, which nothing is compared with: what
/// appears where nothing was to be seen is an event.
const FAINT: f32 = 1.0;
/// Another structure counts when it has been there for so long: what passes close before the lens hides it shortly.
const GONE_FOR: Duration = Duration::from_secs(2);
/// It is over when no more than this share of the cells has moved by so many levels lately, for so long, ...
const STILL: f32 = 0.1;
const STILL_LEVELS: f32 = 6.0;
const SETTLED_FOR: Duration = Duration::from_secs(3);
/// ... or after this, whatever goes on: nobody should blind a detector with a torch.
const LONGEST: Duration = Duration::from_secs(60);

/// What happened to the picture as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SceneChange {
    /// It changes: what is seen now says nothing about the scene.
    Began,
    /// It is over, and the camera looks at what it looked at before, in another light.
    Light,
    /// It is over, and the camera looks at something else, or something else stands before it.
    View,
    /// After [`SceneChange::View`]: the view of before is there again.
    Back,
}

/// Watches the pictures of one camera. Pure: its only clock is the caller's.
#[derive(Debug)]
pub struct SceneWatch {
    spec: FrameSpec,
    columns: usize,
    rows: usize,
    /// Means of luma of each cell, 0 to 255: what is usual, what has been there lately.
    reference: Vec<f32>,
    recent: Vec<f32>,
    /// Structure of the reference.
    usual_structure: Vec<f32>,
    /// What each cell usually differs by.
    noise: Vec<f32>,
    /// Usual correlation of the structure with the reference's.
    usual: f32,
    newest: Option<Duration>,
    /// Structure has been another one since then.
    other_since: Option<Duration>,
    changing: Option<Changing>,
    /// The structure that the camera looked at before its view changed, and since when it is seen again.
    before: Option<(Vec<f32>, Option<Duration>)>,
}

#[derive(Debug)]
struct Changing {
    since: Duration,
    still_since: Option<Duration>,
    /// Of before the change.
    structure: Vec<f32>,
}

impl SceneWatch {
    pub fn new(spec: FrameSpec) -> Self {
        let longer = spec.width.max(spec.height) as usize;
        let cells = |side: u32| (side as usize * CELLS / longer).max(3);
        let (columns, rows) = (cells(spec.width), cells(spec.height));
        Self {
            spec,
            columns,
            rows,
            reference: vec![],
            recent: vec![],
            usual_structure: vec![],
            noise: vec![LEVELS / USUAL; columns * rows],
            usual: 1.0,
            newest: None,
            other_since: None,
            changing: None,
            before: None,
        }
    }

    /// The picture changes as a whole at this moment.
    pub fn changes(&self) -> bool {
        self.changing.is_some()
    }

    /// Takes the next picture (`FrameSpec::frame_bytes` bytes), shown at `now`, a clock that never goes back.
    pub fn see(&mut self, pixels: &[u8], now: Duration) -> Option<SceneChange> {
        let means = self.means(pixels);
        let structure = self.structure(&means);
        let Some(newest) = self.newest.replace(now) else {
            self.usual_structure = structure;
            (self.reference, self.recent) = (means.clone(), means);
            return None;
        };
        let passed = now.saturating_sub(newest).as_secs_f32();
        let moved = share(&means, &self.recent, |_| STILL_LEVELS);
        follow(&mut self.recent, &means, passed / RECENT);
        let change = match self.changing.take() {
            Some(changing) => self.go_on(changing, &means, &structure, moved, now),
            None => self.calm(&means, &structure, passed, now),
        };
        change.or_else(|| self.look_back(&structure, now))
    }

    /// Nothing special, until now.
    fn calm(&mut self, means: &[f32], structure: &[f32], passed: f32, now: Duration) -> Option<SceneChange> {
        let (reference, noise) = (&self.reference, &self.noise);
        let differs = share(means, reference, |i| LEVELS + SHARE * reference[i] + USUAL * noise[i]);
        let before = &self.usual_structure;
        let alike = correlation(structure, before);
        if self.is_other(alike, before) {
            self.other_since.get_or_insert(now);
        } else {
            self.other_since = None;
        }
        let gone = self.other_since.is_some_and(|since| now.saturating_sub(since) >= GONE_FOR);
        if differs >= WHOLE || gone {
            self.changing = Some(Changing { since: now, still_since: None, structure: before.clone() });
            self.other_since = None;
            return Some(SceneChange::Began);
        }
        let pace = passed / REFERENCE;
        for (i, mean) in means.iter().enumerate() {
            // What passes by is no noise: it would hide the next change.
            let by = (mean - self.reference[i]).abs().min(LEVELS);
            self.noise[i] += (by - self.noise[i]) * pace.min(1.0);
        }
        // What hides the view for a moment must not become the view.
        if self.other_since.is_none() {
            self.usual += (alike - self.usual) * pace.min(1.0);
            follow(&mut self.reference, means, pace);
            // The structure of what follows is what follows the structure.
            follow(&mut self.usual_structure, structure, pace);
        }
        None
    }

    /// Whether what correlates so little with the structure of before is another one.
    fn is_other(&self, alike: f32, before: &[f32]) -> bool {
        self.usual >= LEAST_STRUCTURE && alike < OTHER * self.usual && is_seen(before)
    }

    fn go_on(
        &mut self,
        mut changing: Changing,
        means: &[f32],
        structure: &[f32],
        moved: f32,
        now: Duration,
    ) -> Option<SceneChange> {
        if moved > STILL {
            changing.still_since = None;
        } else {
            changing.still_since.get_or_insert(now);
        }
        let still = changing.still_since.is_some_and(|since| now.saturating_sub(since) >= SETTLED_FOR);
        if !still && now.saturating_sub(changing.since) < LONGEST {
            self.changing = Some(changing);
            return None;
        }
        let alike = correlation(structure, &changing.structure);
        (self.reference, self.usual_structure) = (means.to_vec(), structure.to_vec());
        self.noise.fill(LEVELS / USUAL);
        if !self.is_other(alike, &changing.structure) {
            return Some(SceneChange::Light);
        }
        // Of several changes one after the other, the first view is the one to come back to.
        self.before.get_or_insert((changing.structure, None));
        self.usual = 1.0;
        Some(SceneChange::View)
    }

    /// Whether the view of before is there again.
    fn look_back(&mut self, structure: &[f32], now: Duration) -> Option<SceneChange> {
        let (before, since) = self.before.as_mut()?;
        if correlation(structure, before) < SAME {
            *since = None;
            return None;
        }
        let seen_for = now.saturating_sub(*since.get_or_insert(now));
        if seen_for < SETTLED_FOR {
            return None;
        }
        self.before = None;
        Some(SceneChange::Back)
    }

    /// Another view is the right one from now on.
    pub fn accept(&mut self) {
        self.before = None;
    }

    /// Mean luma of each cell; the green of colour pictures stands for it.
    fn means(&self, pixels: &[u8]) -> Vec<f32> {
        let (luma, width) = (Luma::of(self.spec.format), self.spec.width as usize);
        let means = means(pixels, luma, width, self.rows, self.columns);
        means.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Each cell without the mean of its neighbourhood of 3 x 3.
    fn structure(&self, means: &[f32]) -> Vec<f32> {
        let (rows, columns) = (self.rows, self.columns);
        // Sums of three beside each other, then of three such on top of each other; at the edges of two.
        let mut across = Vec::with_capacity(means.len());
        for line in means.chunks_exact(columns) {
            let inner = line.windows(3).map(|near| near[0] + near[1] + near[2]);
            across.push(line[0] + line[1]);
            across.extend(inner);
            across.push(line[columns - 2] + line[columns - 1]);
        }
        let mut structure = Vec::with_capacity(means.len());
        for y in 0..rows {
            let (top, bottom) = (y.saturating_sub(1), (y + 1).min(rows - 1));
            let count = |x: usize| (bottom - top + 1) * if x == 0 || x == columns - 1 { 2 } else { 3 };
            for x in 0..columns {
                let sum: f32 = (top..=bottom).map(|line| across[line * columns + x]).sum();
                structure.push(means[y * columns + x] - sum / count(x) as f32);
            }
        }
        structure
    }
}

/// Draws what is remembered towards what is seen, by a share of the way.
fn follow(remembered: &mut [f32], seen: &[f32], pace: f32) {
    remembered.iter_mut().zip(seen).for_each(|(r, s)| *r += (s - *r) * pace.min(1.0));
}

/// Share of the cells that differ by more than `limit` of that cell.
fn share(a: &[f32], b: &[f32], limit: impl Fn(usize) -> f32) -> f32 {
    let differ = a.iter().zip(b).enumerate().filter(|(i, (a, b))| (*a - *b).abs() > limit(*i)).count();
    differ as f32 / a.len() as f32
}

/// A structure is more than noise.
fn is_seen(structure: &[f32]) -> bool {
    let power = structure.iter().map(|v| v * v).sum::<f32>() / structure.len() as f32;
    power.sqrt() >= FAINT
}

/// Pearson's r of two structures, whose means are nought; 0 where there is none.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let power = product(a, a) * product(b, b);
    if power > 0.0 { product(a, b) / power.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests;
