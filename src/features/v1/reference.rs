//! V1 energy once more, in plain loops and straight from the definition, to hold the ONNX graph against.

use super::bank::V1Params;
use super::graph::build;
use crate::features::{ExtractorModel, Features};
use crate::frame::Stamp;
use crate::infer::{ModelSpec, Session, TensorIn, init_for_tests};
use crate::segment::{SEGMENT_FRAMES, Segment};
use std::f64::consts::PI;
use std::time::Duration;

/// A grey picture, 0 to 1.
#[derive(Clone)]
struct Image {
    width: usize,
    height: usize,
    light: Vec<f64>,
}

impl Image {
    /// The nearest pixel of the picture.
    fn at(&self, x: i64, y: i64) -> f64 {
        let x = x.clamp(0, self.width as i64 - 1) as usize;
        let y = y.clamp(0, self.height as i64 - 1) as usize;
        self.light[y * self.width + x]
    }

    fn halved(&self) -> Image {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut light = Vec::new();
        for y in 0..height as i64 {
            for x in 0..width as i64 {
                let sum = self.at(2 * x, 2 * y) + self.at(2 * x + 1, 2 * y) + self.at(2 * x, 2 * y + 1);
                light.push((sum + self.at(2 * x + 1, 2 * y + 1)) / 4.0);
            }
        }
        Image { width, height, light }
    }
}

/// The 3-D Gabor pair, weight by weight: `w[t][y][x]`.
fn pair(p: &V1Params, tau: f64, omega: f64) -> [Vec<f64>; 2] {
    let (r, h) = ((p.kernel / 2) as i64, (p.taps / 2) as i64);
    [0.0, -PI / 2.0].map(|phi| {
        let mut w = Vec::new();
        for t in -h..=h {
            for y in -r..=r {
                for x in -r..=r {
                    let (t, y, x) = (t as f64, y as f64, x as f64);
                    let along = x * tau.cos() + y * tau.sin();
                    let across = -x * tau.sin() + y * tau.cos();
                    let space = (along * along + across * across) / (2.0 * p.sigma * p.sigma);
                    let time = t * t / (2.0 * p.sigma_t * p.sigma_t);
                    w.push((-space - time).exp() * (2.0 * PI / p.wavelength * along - omega * t + phi).cos());
                }
            }
        }
        if phi == 0.0 {
            let mean = w.iter().sum::<f64>() / w.len() as f64;
            w.iter_mut().for_each(|w| *w -= mean);
        }
        let length = w.iter().map(|w| w * w).sum::<f64>().sqrt();
        w.into_iter().map(|w| w / length).collect()
    })
}

/// Energy of a pair at a pixel, for the frames from `start` on.
fn energy(p: &V1Params, pair: &[Vec<f64>; 2], frames: &[Image], x: usize, y: usize, start: usize) -> f64 {
    let r = (p.kernel / 2) as i64;
    let mut sums = [0.0, 0.0];
    let mut i = 0;
    for frame in &frames[start..start + p.taps] {
        for dy in -r..=r {
            for dx in -r..=r {
                let light = frame.at(x as i64 + dx, y as i64 + dy);
                sums[0] += pair[0][i] * light;
                sums[1] += pair[1][i] * light;
                i += 1;
            }
        }
    }
    sums[0].hypot(sums[1])
}

/// The features of a segment: `regions * dims` numbers.
fn reference(p: &V1Params, frames: &[Vec<u8>]) -> Vec<f64> {
    let (rows, cols) = if p.whole_frame { (1, 1) } else { (p.height / p.cell, p.width / p.cell) };
    let mut per_dim = Vec::new();
    let light = |f: &Vec<u8>| f.iter().map(|&b| f64::from(b) / 255.0).collect();
    let mut pyramid: Vec<Image> =
        frames.iter().map(|f| Image { width: p.width, height: p.height, light: light(f) }).collect();
    for octave in 0..p.octaves {
        if octave > 0 {
            pyramid = pyramid.iter().map(Image::halved).collect();
        }
        let scale = 1 << octave;
        let stride = p.spacing;
        for i in 0..p.orientations {
            let tau = PI * i as f64 / p.orientations as f64;
            for &omega in &p.omegas {
                let signs: &[f64] = if omega == 0.0 { &[1.0] } else { &[1.0, -1.0] };
                for sign in signs {
                    let pair = pair(p, tau, sign * omega);
                    let (mut sums, mut counts) = (vec![0.0; rows * cols], vec![0.0; rows * cols]);
                    for sy in 0..(pyramid[0].height - 1) / stride + 1 {
                        for sx in 0..(pyramid[0].width - 1) / stride + 1 {
                            let (cy, cx) = (sy * stride * scale / p.cell, sx * stride * scale / p.cell);
                            let region = if p.whole_frame { 0 } else { cy * cols + cx };
                            if !p.whole_frame && (cy >= rows || cx >= cols) {
                                continue;
                            }
                            for start in (0..=SEGMENT_FRAMES - p.taps).rev().step_by(p.step) {
                                let (x, y) = (sx * stride + stride / 2, sy * stride + stride / 2);
                                sums[region] += energy(p, &pair, &pyramid, x, y, start);
                                counts[region] += 1.0;
                            }
                        }
                    }
                    let means = sums.iter().zip(&counts).map(|(s, c)| (s / c + p.epsilon).ln());
                    per_dim.push(means.collect::<Vec<f64>>());
                }
            }
        }
    }
    (0..rows * cols).flat_map(|region| per_dim.iter().map(move |d| d[region])).collect()
}

fn segment(frames: &[Vec<u8>]) -> Segment {
    let zero = Duration::ZERO;
    let stamp = Stamp { seq: 0, pts: zero, wall: crate::base::Timestamp::UNIX_EPOCH, received: zero };
    let frames = frames.iter().map(|f| f.as_slice().into()).collect();
    Segment { index: 0, run: 0, start: stamp, end: stamp, unsettled: false, damaged: false, frames }
}

fn extract(p: &V1Params, frames: &[Vec<u8>]) -> Features {
    init_for_tests();
    let mut extractor = ExtractorModel::generate(p).expect("a model").open().expect("opens");
    extractor.extract(&[&segment(frames)]).expect("features").remove(0)
}

/// Sixteen frames, pixel by pixel: `light(x, y, t)` in 0 to 1.
fn film(p: &V1Params, light: impl Fn(f64, f64, f64) -> f64) -> Vec<Vec<u8>> {
    let picture = |t: usize| {
        (0..p.height * p.width)
            .map(|i| (255.0 * light((i % p.width) as f64, (i / p.width) as f64, t as f64)).round() as u8)
            .collect()
    };
    (0..SEGMENT_FRAMES).map(picture).collect()
}

/// A film of noise, the same for the same seed.
fn noise(p: &V1Params, seed: u32) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..SEGMENT_FRAMES).map(|_| (0..p.width * p.height).map(|_| next()).collect()).collect()
}

/// Energies of the middle region (before the logarithm) of a bank on one octave.
fn middle(p: &V1Params, frames: &[Vec<u8>]) -> Vec<f64> {
    let features = extract(p, frames);
    let region = features.regions / 2;
    let values = &features.values[region * features.dims..(region + 1) * features.dims];
    values.iter().map(|&v| f64::from(v).exp() - p.epsilon).collect()
}

/// A bank on one octave and a picture of 5 x 5 cells, whose middle cell no border reaches.
fn small(wavelength: f64, sigma: f64, kernel: usize, taps: usize, sigma_t: f64) -> V1Params {
    V1Params { wavelength, sigma, kernel, taps, sigma_t, octaves: 1, ..V1Params::new(80, 80, 10.0, false) }
}

/// A drifting grating around mid-grey; `angle` in quarters of a half turn (0, 45, 90, 135 degrees).
fn grating(p: &V1Params, wavelength: f64, angle: usize, omega: f64, contrast: f64) -> Vec<Vec<u8>> {
    let (f, angle) = (2.0 * PI / wavelength, PI / 4.0 * angle as f64);
    film(p, move |x, y, t| 0.5 + 0.5 * contrast * (f * (x * angle.cos() + y * angle.sin()) - omega * t).cos())
}

#[test]
fn the_graph_gives_what_plain_loops_give() {
    // Sides that no cell and no octave divides; a coarser bank than shipped keeps the loops short.
    let shipped = V1Params { spacing: 4, step: 4, ..V1Params::new(45, 52, 10.0, false) };
    let whole = V1Params { whole_frame: true, ..shipped.clone() };
    let coarse =
        V1Params { spacing: 4, cell: 8, octaves: 2, kernel: 7, step: 1, taps: 13, ..shipped.clone() };
    for p in [shipped, whole, coarse] {
        let frames = noise(&p, 7);
        let (expected, got) = (reference(&p, &frames), extract(&p, &frames));
        assert_eq!(expected.len(), got.values.len());
        for (e, g) in expected.iter().zip(&got.values) {
            let relative = (f64::from(*g).exp() - e.exp()).abs() / e.exp();
            assert!(relative <= 1e-4, "{g} for {e}");
        }
    }
}

#[test]
fn energies_of_gratings_are_those_of_the_method_sheet() {
    // Sampled everywhere, so that the mean is over all the phases there are.
    let p = V1Params { spacing: 1, step: 1, ..small(6.0, 3.0, 17, 13, 2.5) };
    let near = |value: f64, expected: f64, tolerance: f64| {
        assert!((value - expected).abs() <= tolerance, "{value} for {expected}");
    };
    // Dimensions: 5 an orientation (static; slow and back; fast and back). Full contrast is half the range,
    // and bytes round it by up to a part in 500.
    for (forward, back, omega, opposite) in [(1, 2, PI / 4.0, 0.0025), (3, 4, PI / 2.0, 0.0052)] {
        let energies = middle(&p, &grating(&p, 6.0, 0, omega, 1.0));
        let preferred = energies[forward];
        near(2.0 * preferred, 21.996, 0.03);
        near(energies[back] / preferred, opposite, 5e-4);
        near(energies[10 + forward] / preferred, 1e-4, 3e-4);
        near(energies[5 + forward] / preferred, 0.054, 1e-3);
        near(middle(&p, &grating(&p, 3.0, 0, omega, 1.0))[forward] / preferred, 0.0104, 1e-3);
        near(middle(&p, &grating(&p, 12.0, 0, omega, 1.0))[forward] / preferred, 0.29, 5e-3);
        // The other way round, the two directions change places.
        let reversed = middle(&p, &grating(&p, 6.0, 0, -omega, 1.0));
        near(reversed[back] / preferred, 1.0, 1e-3);
        near(reversed[forward] / preferred, opposite, 5e-4);
    }
    let still = middle(&p, &grating(&p, 6.0, 0, 0.0, 1.0));
    near(2.0 * still[0], 21.996, 0.05);
    near(still[1] / still[0], 0.140, 1e-3);
    near(still[3] / still[0], 0.0014, 5e-4);
}

#[test]
fn contrast_scales_inversion_keeps_and_uniform_light_gives_nothing() {
    let p = small(4.0, 2.0, 11, 9, 2.0);
    let full = grating(&p, 4.0, 1, PI / 4.0, 0.8);
    let half = grating(&p, 4.0, 1, PI / 4.0, 0.4);
    let (at_full, at_half) = (middle(&p, &full)[6], middle(&p, &half)[6]);
    assert!((at_full / at_half - 2.0).abs() < 5e-3, "{at_full} / {at_half}");
    let inverted: Vec<Vec<u8>> = full.iter().map(|f| f.iter().map(|b| 255 - b).collect()).collect();
    for (a, b) in extract(&p, &full).values.iter().zip(extract(&p, &inverted).values) {
        assert!((a - b).abs() < 1e-3, "{a} and {b}");
    }
    for light in [0.0, 0.5, 1.0] {
        let energies = middle(&p, &film(&p, |_, _, _| light));
        assert!(energies.iter().all(|e| e.abs() < 1e-4), "{energies:?}");
    }
}

#[test]
fn every_channel_prefers_the_motion_that_it_is_named_for() {
    let p = V1Params::new(144, 144, 10.0, false);
    let (manifest, _) = build(&p);
    let ModelSpec::Extractor(spec) = &manifest.spec else { panic!("an extractor") };
    for (octave, angle, forward) in [(0, 0, true), (0, 3, false), (1, 1, false), (1, 2, true), (2, 0, false)]
    {
        let wavelength = f64::from(4 << octave);
        let omega = if forward { PI / 4.0 } else { -PI / 4.0 };
        let energies = middle(&p, &grating(&p, wavelength, angle, omega, 1.0));
        let strongest = (0..energies.len()).max_by(|&a, &b| energies[a].total_cmp(&energies[b]));
        let heading = 45 * angle + if forward { 0 } else { 180 };
        let speed = wavelength / 8.0;
        let expected = format!("{wavelength} px, heading {heading} deg at {speed} px/frame");
        assert_eq!(strongest.map(|i| spec.channels[i].as_str()), Some(expected.as_str()));
    }
}

#[test]
fn segments_of_a_batch_do_not_touch_each_other() {
    let p = V1Params::new(64, 48, 10.0, false);
    let films = [noise(&p, 1), noise(&p, 2)];
    let apart: Vec<f32> = films.iter().flat_map(|film| extract(&p, film).values).collect();
    let (_, bytes) = build(&p);
    let mut session = Session::from_bytes("v1", &bytes).expect("loads");
    let frames = films.concat().concat();
    let input = TensorIn::U8 { dims: &[2, SEGMENT_FRAMES, p.height, p.width, 1], data: &frames };
    let together = session.run(input).expect("runs").remove(0);
    assert_eq!(together.dims, [2, 12, 60]);
    for (a, b) in apart.iter().zip(&together.data) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn sampled_energies_speak_for_dense_ones() {
    let p = V1Params::new(96, 80, 10.0, false);
    let dense = V1Params { spacing: 1, step: 1, ..p.clone() };
    let frames = noise(&p, 3);
    let (a, b) = (extract(&p, &frames), extract(&dense, &frames));
    let difference: f32 = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).sum();
    let mean = difference / a.values.len() as f32;
    assert!(mean < 0.1, "log energies differ by {mean} on average");
}

#[test]
fn the_manifest_tells_what_the_graph_is() {
    init_for_tests();
    let model = ExtractorModel::generate(&V1Params::new(360, 240, 12.5, false)).expect("a model");
    assert_eq!(model.manifest().id(), "v1 3-360x240@12.5-16px");
    let spec = model.spec();
    assert_eq!((spec.grid.rows, spec.grid.cols, spec.dims, spec.frames), (15, 22, 60, 16));
    assert!((spec.covers.width - 352.0 / 360.0).abs() < 1e-9 && spec.covers.height == 1.0);
    let again = ExtractorModel::generate(&V1Params::new(360, 240, 12.5, false)).expect("a model");
    assert_eq!(model.sha256(), again.sha256(), "the same parameters write the same file");
    let small = ExtractorModel::generate(&V1Params::new(12, 240, 12.5, false)).expect_err("too small");
    assert!(small.to_string().contains("12 x 240 px holds no cell of 16 px"), "{small}");
}
