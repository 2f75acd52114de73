//! A frame's lines as the filters take them: of every octave, their edges repeated, sorted by where samples see them.

use super::{LANES, Octave};
use crate::features::v1::bank::{KERNEL, RADIUS, SPACING};

/// Lines that are held at a time: those that a filter sees, and those that come with the next sample.
const HELD: usize = (KERNEL + SPACING).next_power_of_two();
/// Pixels between the edge of the first sample's field, outside of the picture, and that of the picture.
const BEFORE: usize = RADIUS - SPACING / 2;

/// Pictures of the octaves above the first, and the lines that are held.
#[derive(Debug, Default)]
pub struct Scratch {
    pictures: Vec<Vec<u16>>,
    held: Vec<f32>,
}

impl Octave {
    /// Pixels of a line that lie a sample's spacing apart: sample `c` sees pixel `k` of its field as number
    /// `c + k / SPACING` of phase `k % SPACING`. With room for two vectors from any sample on.
    pub fn phase(&self) -> usize {
        self.pitch + LANES
    }

    /// Numbers of a line in all its phases.
    pub fn line(&self) -> usize {
        SPACING * self.phase()
    }
}

/// Lines of one octave of a frame, as they are asked for from top to bottom.
pub struct Lines<'a> {
    octave: &'a Octave,
    picture: Picture<'a>,
    held: &'a mut Vec<f32>,
    /// Lines that have been laid out.
    count: usize,
}

#[derive(Clone, Copy)]
enum Picture<'a> {
    Bytes(&'a [u8]),
    Sums(&'a [u16]),
}

impl<'a> Lines<'a> {
    /// Of octave `at` of a frame that has been shrunk.
    #[inline(always)]
    pub fn new(octaves: &'a [Octave], at: usize, frame: &'a [u8], scratch: &'a mut Scratch) -> Self {
        let Scratch { pictures, held } = scratch;
        let picture = if at == 0 { Picture::Bytes(frame) } else { Picture::Sums(&pictures[at - 1]) };
        held.resize(HELD * octaves[at].line(), 0.0);
        Self { octave: &octaves[at], picture, held, count: 0 }
    }

    /// The lines round line `middle`, which lies below the one asked for before; outside the picture its edge.
    #[inline(always)]
    pub fn round(&mut self, middle: usize) -> [&[f32]; KERNEL] {
        let (width, height, line) = (self.octave.width, self.octave.height, self.octave.line());
        while self.count < height.min(middle + RADIUS + 1) {
            let to = &mut self.held[self.count % HELD * line..][..line];
            let first = self.count * width;
            match self.picture {
                Picture::Bytes(pixels) => lay_out(&pixels[first..][..width], to, four_bytes),
                Picture::Sums(pixels) => lay_out(&pixels[first..][..width], to, |four| four.map(f32::from)),
            }
            self.count += 1;
        }
        std::array::from_fn(|k| {
            let y = (middle + k).saturating_sub(RADIUS).min(height - 1);
            &self.held[y % HELD * line..][..line]
        })
    }
}

/// The octaves above the first: each pixel the sum of those of the frame that lie under it.
#[inline(always)]
pub fn shrink(octaves: &[Octave], frame: &[u8], scratch: &mut Scratch) {
    scratch.pictures.resize(octaves.len() - 1, vec![]);
    for (at, pair) in octaves.windows(2).enumerate() {
        let (done, rest) = scratch.pictures.split_at_mut(at);
        let (below, octave, picture) = (&pair[0], &pair[1], &mut rest[0]);
        picture.resize(octave.width * octave.height, 0);
        for (y, to) in picture.chunks_exact_mut(octave.width).enumerate() {
            let first = 2 * y * below.width;
            match done.last() {
                None => halve(&frame[first..], below.width, to, |[a, b]| u16::from(*a) + u16::from(*b)),
                Some(picture) => halve(&picture[first..], below.width, to, |[a, b]| a + b),
            }
        }
    }
}

/// Sums of two by two pixels of the first two lines.
#[inline(always)]
fn halve<T>(lines: &[T], width: usize, to: &mut [u16], sum: impl Fn(&[T; 2]) -> u16) {
    let upper = lines[..2 * to.len()].as_chunks().0;
    let lower = lines[width..][..2 * to.len()].as_chunks().0;
    for ((to, upper), lower) in to.iter_mut().zip(upper).zip(lower) {
        *to = sum(upper) + sum(lower);
    }
}

/// Sorts a line into phases.
#[inline(always)]
fn lay_out<T: Copy + Into<f32>>(line: &[T], to: &mut [f32], four: impl Fn([T; SPACING]) -> [f32; SPACING]) {
    let (groups, rest) = line.as_chunks();
    let phase = to.len() / SPACING;
    let mut slots: [&mut [f32]; SPACING] = Default::default();
    for (number, phase) in to.chunks_exact_mut(phase).enumerate() {
        // The first pixel of each group of four that lies in this phase, and where.
        let pixel = (number + SPACING - BEFORE % SPACING) % SPACING;
        let begin = (pixel + BEFORE) / SPACING;
        let end = begin + groups.len();
        phase[..begin].fill(line[0].into());
        phase[end..].fill(line[line.len() - 1].into());
        if let Some(last) = rest.get(pixel) {
            phase[end] = (*last).into();
        }
        slots[pixel] = &mut phase[begin..end];
    }
    let [a, b, c, d] = slots;
    for ((((group, a), b), c), d) in groups.iter().zip(a).zip(b).zip(c).zip(d) {
        [*a, *b, *c, *d] = four(*group);
    }
}

/// The same as one conversion each, in a form that becomes vectors.
#[inline(always)]
fn four_bytes(bytes: [u8; 4]) -> [f32; 4] {
    let four = u32::from_le_bytes(bytes);
    [0, 8, 16, 24].map(|shift| (four >> shift & 0xff) as i32 as f32)
}
