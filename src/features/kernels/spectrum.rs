//! Where the power of a kernel lies over spatial and temporal frequency: what the fit of a Gabor function begins at.

use super::Volume;
use std::f64::consts::PI;

/// Frequencies a side of zero that are looked at on each axis.
const STEPS: i32 = 16;

/// The wave with much of a kernel's power: radians a pixel and a frame, in the phase `x fx + y fy + t ft`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    pub fx: f64,
    pub fy: f64,
    pub ft: f64,
}

/// A wave with less than this share of the strongest one's power is not looked at.
const WEAK: f64 = 0.25;

/// The strongest local maxima of the power spectrum, strongest first, `count` at most. Of each pair of opposite
/// frequencies, which are the same wave, one.
pub fn peaks(volume: &Volume, count: usize) -> Vec<Peak> {
    let Volume { frames, height, width, .. } = *volume;
    let spatial: Vec<f64> = (-STEPS..=STEPS).map(|i| PI * f64::from(i) / f64::from(STEPS)).collect();
    let temporal = if frames > 1 { spatial.clone() } else { vec![0.0] };
    // One axis after the other: [t, y, x] -> [t, y, fx] -> [t, fx, fy] -> [fx, fy, ft].
    let real = volume.weights.iter().map(|&w| [w, 0.0]).collect();
    let by_x = transformed(real, width, &spatial);
    let by_x = turned(&by_x, frames, height, spatial.len());
    let by_y = transformed(by_x, height, &spatial);
    let by_y = turned(&by_y, 1, frames, spatial.len() * spatial.len());
    let by_t = transformed(by_y, frames, &temporal);
    let power: Vec<f64> = by_t.iter().map(|[re, im]| re * re + im * im).collect();
    let (n, m) = (spatial.len() as i32, temporal.len() as i32);
    // Frequencies repeat after one turn, so the ends are neighbours.
    let at = |x: i32, y: i32, t: i32| {
        power[((x.rem_euclid(n) * n + y.rem_euclid(n)) * m + t.rem_euclid(m)) as usize]
    };
    let near = |reach: i32| -reach..=reach;
    let mut found = Vec::new();
    for (x, y, t) in (0..n).flat_map(|x| (0..n).flat_map(move |y| (0..m).map(move |t| (x, y, t)))) {
        let [fx, fy, ft] = [spatial[x as usize], spatial[y as usize], temporal[t as usize]];
        if (fx, fy, ft) < (0.0, 0.0, 0.0) {
            continue;
        }
        let here = at(x, y, t);
        let mut around =
            near(1).flat_map(|i| near(1).flat_map(move |j| near(m.min(2) - 1).map(move |k| (i, j, k))));
        if around.all(|(i, j, k)| at(x + i, y + j, t + k) <= here) {
            found.push((here, Peak { fx, fy, ft }));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let least = WEAK * found.first().map_or(0.0, |(power, _)| *power);
    found.retain(|(power, _)| *power >= least);
    found.into_iter().take(count).map(|(_, peak)| peak).collect()
}

type Complex = [f64; 2];

/// The Fourier transform of the last axis, of length `n`, at `frequencies`.
fn transformed(values: Vec<Complex>, n: usize, frequencies: &[f64]) -> Vec<Complex> {
    let waves: Vec<Vec<Complex>> = frequencies
        .iter()
        .map(|f| (0..n).map(|i| [(f * i as f64).cos(), -(f * i as f64).sin()]).collect())
        .collect();
    let sum = |row: &[Complex], wave: &Vec<Complex>| {
        row.iter()
            .zip(wave)
            .fold([0.0, 0.0], |[re, im], ([a, b], [c, d])| [re + a * c - b * d, im + a * d + b * c])
    };
    values
        .chunks_exact(n)
        .flat_map(|row| waves.iter().map(|wave| sum(row, wave)).collect::<Vec<_>>())
        .collect()
}

/// `[outer, rows, cols]` as `[outer, cols, rows]`.
fn turned(values: &[Complex], outer: usize, rows: usize, cols: usize) -> Vec<Complex> {
    let at = |o: usize, c: usize, r: usize| values[(o * rows + r) * cols + c];
    (0..outer).flat_map(|o| (0..cols).flat_map(move |c| (0..rows).map(move |r| at(o, c, r)))).collect()
}
