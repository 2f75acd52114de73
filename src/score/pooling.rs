//! From one number a region to one score a segment: smoothing, and the mean of the highest regions.

use super::vectors::with_nan_of;
use crate::infer::{Attr, Graph, Grid, Value};

/// How the regions' residuals become one score.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooling {
    /// Standard deviation of the Gaussian that smooths the map of residuals, in regions; 0 for none.
    pub smoothing: f32,
    /// The score is the mean over this many highest regions.
    pub highest: usize,
    /// Which numbers come out.
    pub scale: Scale,
    /// Regions that count for nothing, row by row; not all of them.
    pub masked: Vec<usize>,
}

/// Masked regions come out with this residual, which nothing learned has.
const NOTHING: f32 = 1e-6;

/// The scale of scores and maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Logarithms: residuals have a heavy tail, and their logarithms are near to normal, so that mu + k sigma means
    /// what it says.
    Logarithm,
    /// The residuals as they are.
    Plain,
}

/// What [`Pooling::pooled`] gives.
#[derive(Debug)]
pub struct Pooled {
    /// Mean over the highest regions, `[segments]`.
    pub score: Value,
    /// The smoothed residuals, `[segments, regions]`.
    pub map: Value,
}

impl Pooling {
    /// Pools positive residuals of any shape with `segments * regions` numbers.
    pub fn pooled(&self, g: &mut Graph, residual: &Value, grid: Grid) -> Pooled {
        let regions = grid.regions();
        let mut map = g.reshape(residual, &[-1, 1, grid.rows as i64, grid.cols as i64]);
        let mut kept = vec![1.0; regions];
        self.masked.iter().for_each(|region| kept[*region] = 0.0);
        if !self.masked.is_empty() {
            let kept = g.constant(&[1, 1, grid.rows, grid.cols], &kept);
            map = g.op("Mul", &[&map, &kept], &[]);
        }
        if self.smoothing > 0.0 && regions > 1 {
            let kernel = gaussian(self.smoothing);
            let (size, reach) = (kernel.len(), (kernel.len() / 2) as i64);
            let pads = g.ints(&[0, 0, reach, reach, 0, 0, reach, reach]);
            map = g.op("Pad", &[&map, &pads], &[("mode", "edge".into())]);
            let (down, across) =
                (g.constant(&[1, 1, size, 1], &kernel), g.constant(&[1, 1, 1, size], &kernel));
            map = g.op("Conv", &[&map, &down], &[("kernel_shape", [size, 1].into())]);
            map = g.op("Conv", &[&map, &across], &[("kernel_shape", [1, size].into())]);
            if !self.masked.is_empty() {
                // A mean over the neighbours that count, not over those that were made nought.
                kept = shares(&kept, &kernel, grid);
            }
        }
        let mut map = g.reshape(&map, &[-1, regions as i64]);
        if !self.masked.is_empty() {
            let masked = |region: usize| self.masked.contains(&region);
            let of = |value: &dyn Fn(usize) -> f32| (0..regions).map(value).collect::<Vec<f32>>();
            let scale = of(&|region| if masked(region) { 0.0 } else { 1.0 / kept[region] });
            let floor = of(&|region| if masked(region) { NOTHING } else { 0.0 });
            let (scale, floor) = (g.constant(&[regions], &scale), g.constant(&[regions], &floor));
            map = g.op("Mul", &[&map, &scale], &[]);
            map = g.op("Add", &[&map, &floor], &[]);
        }
        let count = g.ints(&[self.highest.min(regions - self.masked.len()) as i64]);
        let attributes: [(&str, Attr); 3] = [("axis", 1.into()), ("largest", 1.into()), ("sorted", 0.into())];
        let top = g.ops("TopK", &[&map, &count], 2, &attributes);
        let over_regions = [("axes", [1i64].into()), ("keepdims", 0.into())];
        let mean = g.op("ReduceMean", &[&top[0]], &over_regions);
        let all = g.op("ReduceMean", &[&map], &over_regions);
        let mean = with_nan_of(g, &mean, &all);
        let mut scaled = |value: Value| match self.scale {
            Scale::Logarithm => g.op("Log", &[&value], &[]),
            Scale::Plain => value,
        };
        Pooled { score: scaled(mean), map: scaled(map) }
    }
}

/// Share of each region's smoothed neighbourhood that is kept, with the picture's edges going on outside.
fn shares(kept: &[f32], kernel: &[f32], grid: Grid) -> Vec<f32> {
    let reach = (kernel.len() / 2) as isize;
    let along = |line: &dyn Fn(usize) -> f32, at: usize, length: usize| -> f32 {
        let place = |k: usize| (at as isize + k as isize - reach).clamp(0, length as isize - 1) as usize;
        kernel.iter().enumerate().map(|(k, weight)| weight * line(place(k))).sum()
    };
    let down: Vec<f32> = (0..grid.regions())
        .map(|i| along(&|row| kept[row * grid.cols + i % grid.cols], i / grid.cols, grid.rows))
        .collect();
    let across = |i: usize| along(&|col| down[i / grid.cols * grid.cols + col], i % grid.cols, grid.cols);
    (0..grid.regions()).map(across).collect()
}

/// A Gaussian's samples out to three standard deviations, of sum 1.
fn gaussian(sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as i32;
    let raw: Vec<f32> = (-reach..=reach).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = raw.iter().sum();
    raw.iter().map(|v| v / sum).collect()
}
