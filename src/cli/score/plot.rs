//! Scores against the threshold over time, as a picture.

use crate::cli::draw::{put, text};
use image::{Rgb, RgbImage};

/// The scores of one recording.
#[derive(Debug)]
pub struct Curve {
    pub name: String,
    /// Seconds in the recording, and the score there.
    pub points: Vec<(f64, f32)>,
}

const WIDTH: u32 = 1200;
/// Of one recording's panel.
const HEIGHT: u32 = 220;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 26.0;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([40, 40, 40]);
const GRID: Rgb<u8> = Rgb([225, 225, 225]);
const LINE: Rgb<u8> = Rgb([31, 105, 180]);
const LIMIT: Rgb<u8> = Rgb([205, 45, 40]);

/// One panel a recording, one below the other, all on the same scale. Scores that are not finite are gaps.
pub fn draw(curves: &[Curve], limit: f64) -> RgbImage {
    let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT * curves.len().max(1) as u32, PAPER);
    let finite =
        |c: &Curve| c.points.iter().map(|p| f64::from(p.1)).filter(|v| v.is_finite()).collect::<Vec<_>>();
    let values: Vec<f64> = curves.iter().flat_map(finite).chain([limit]).collect();
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let margin = ((high - low) * 0.08).max(1e-3);
    for (i, curve) in curves.iter().enumerate() {
        let end = curve.points.iter().map(|p| p.0).fold(1.0, f64::max);
        let panel = Panel { top: f64::from(i as u32 * HEIGHT), end, low: low - margin, high: high + margin };
        panel.draw(&mut picture, curve, limit);
    }
    picture
}

struct Panel {
    /// Pixels from the picture's top.
    top: f64,
    /// Seconds at the right end.
    end: f64,
    low: f64,
    high: f64,
}

impl Panel {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.end * (f64::from(WIDTH) - LEFT - RIGHT)
    }

    fn y(&self, score: f64) -> f64 {
        let height = f64::from(HEIGHT) - TOP - BOTTOM;
        self.top + TOP + (self.high - score) / (self.high - self.low) * height
    }

    fn draw(&self, picture: &mut RgbImage, curve: &Curve, limit: f64) {
        let (left, right) = (self.x(0.0), self.x(self.end));
        let bottom = self.y(self.low);
        for score in ticks(self.low, self.high, 5) {
            segment(picture, (left, self.y(score)), (right, self.y(score)), GRID);
            let label = format!("{score:.2}");
            text(picture, left - 6.0 - 8.0 * label.len() as f64, self.y(score) - 4.0, &label, INK);
        }
        for seconds in ticks(0.0, self.end, 10) {
            segment(picture, (self.x(seconds), self.y(self.high)), (self.x(seconds), bottom), GRID);
            let label = format!("{seconds}");
            text(picture, self.x(seconds) - 4.0 * label.len() as f64, bottom + 6.0, &label, INK);
        }
        text(picture, left, self.top + 8.0, &format!("{}: score over seconds", curve.name), INK);
        let label = format!("threshold {limit:.3}");
        text(picture, right - 8.0 * label.len() as f64, self.top + 8.0, &label, LIMIT);
        segment(picture, (left, self.y(limit)), (right, self.y(limit)), LIMIT);
        for pair in curve.points.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if from.1.is_finite() && to.1.is_finite() {
                let place = |p: (f64, f32)| (self.x(p.0), self.y(f64::from(p.1)));
                segment(picture, place(from), place(to), LINE);
            }
        }
        for (seconds, score) in &curve.points {
            if f64::from(*score) > limit {
                let (x, y) = (self.x(*seconds), self.y(f64::from(*score)));
                for d in [-1.0, 0.0, 1.0] {
                    segment(picture, (x - 1.0, y + d), (x + 1.0, y + d), LIMIT);
                }
            }
        }
    }
}

/// Round numbers between `low` and `high`, about `count` of them.
fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count as f64;
    let decade = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade);
    let step = steps.into_iter().find(|s| *s >= rough).unwrap_or(10.0 * decade);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

fn segment(picture: &mut RgbImage, from: (f64, f64), to: (f64, f64), colour: Rgb<u8>) {
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
    for i in 0..=steps as u32 {
        let share = f64::from(i) / steps;
        put(picture, from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1), colour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(picture: &RgbImage, colour: Rgb<u8>) -> usize {
        picture.pixels().filter(|p| **p == colour).count()
    }

    #[test]
    fn curve_and_threshold_are_drawn_and_gaps_left() {
        let curve = |values: &[f32]| Curve {
            name: "a.mp4".into(),
            points: values.iter().enumerate().map(|(i, v)| (i as f64, *v)).collect(),
        };
        let whole = draw(&[curve(&[0.1, 0.2, 0.15, 0.3])], 0.9);
        assert_eq!(whole.dimensions(), (WIDTH, HEIGHT));
        assert!(count(&whole, LINE) > 900 && count(&whole, LIMIT) > 1000);
        let gap = draw(&[curve(&[0.1, f32::NAN, 0.15, 0.3])], 0.9);
        assert!(count(&gap, LINE) < count(&whole, LINE) / 2);
        let above = draw(&[curve(&[0.1, 1.2, 0.15, 0.3])], 0.9);
        assert!(count(&above, LIMIT) > count(&whole, LIMIT), "what is above stands out");
    }

    #[test]
    fn nothing_to_draw_is_still_a_picture() {
        assert_eq!(draw(&[], 1.0).height(), HEIGHT);
        let empty = Curve { name: "ä".into(), points: Vec::new() };
        assert_eq!(draw(&[empty], 1.0).height(), HEIGHT);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 18.0, 10), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]);
    }
}
