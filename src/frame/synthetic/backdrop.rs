//! What stands still on the plaza, and the camera that looks at it.

use super::raster::{Canvas, Colour, HEIGHT, Point, WIDTH, chance, mix};

/// Row of the horizon, scene units.
const HORIZON: f32 = 40.0;
/// Focal length, scene units.
const FOCAL: f32 = 520.0;
/// The camera's height over the ground, metres.
const EYE: f32 = 5.0;
/// Where the facade stands and where it ends on the right, metres.
const FACADE: f32 = 52.0;
const FACADE_END: f32 = 15.0;

/// Where a point `x` metres to the right, `up` metres high and `z` metres away is seen.
pub(super) fn project(x: f32, up: f32, z: f32) -> Point {
    [WIDTH / 2.0 + FOCAL * x / z, HORIZON + FOCAL * (EYE - up) / z]
}

/// Scene units a metre at a distance of `z` metres.
pub(super) fn scale(z: f32) -> f32 {
    FOCAL / z
}

/// Metres to the right of the middle at which the picture ends, at a distance of `z` metres.
pub(super) fn half_width(z: f32) -> f32 {
    WIDTH / 2.0 * z / FOCAL
}

/// The empty plaza.
pub(super) fn backdrop(width: u32, height: u32, seed: u64) -> Canvas {
    let mut canvas = Canvas::paint(width, height, |p| ground_or_wall(p, seed));
    for (i, (x, z)) in
        [(24.0, 47.0), (17.5, 41.0), (-17.0, 40.0), (-9.5, 39.0), (9.0, 38.0)].into_iter().enumerate()
    {
        tree(&mut canvas, x, z, seed ^ i as u64);
    }
    for x in [-12.5, -6.0, 3.5, 12.5] {
        planter(&mut canvas, x, 28.3);
    }
    for x in [-1.5, 8.2] {
        bench(&mut canvas, x, 28.3);
    }
    canvas
}

/// What stands in front of everybody.
pub(super) fn foreground(canvas: &mut Canvas) {
    let (x, z) = (-4.9, 9.0);
    let s = scale(z);
    canvas.ellipse(project(x + 0.2, 0.0, z), [0.36 * s, 0.12 * s], [40.0, 40.0, 46.0], 0.35);
    canvas.capsule(project(x, 0.05, z), project(x, 6.0, z), 0.07 * s, [52.0, 58.0, 62.0], 1.0);
    canvas.capsule(
        project(x - 0.025, 0.4, z),
        project(x - 0.025, 6.0, z),
        0.015 * s,
        [120.0, 126.0, 128.0],
        0.8,
    );
    canvas.capsule(project(x, 0.05, z), project(x, 0.5, z), 0.12 * s, [44.0, 49.0, 53.0], 1.0);
}

fn ground_or_wall(p: Point, seed: u64) -> Colour {
    let [x, y] = p;
    let base = project(0.0, 0.0, FACADE)[1];
    let right = (x - WIDTH / 2.0) * FACADE / FOCAL;
    if y < base && right < FACADE_END {
        return facade(right, EYE - (y - HORIZON) * FACADE / FOCAL, seed);
    }
    if y < HORIZON + FOCAL * EYE / 75.0 {
        return distance(x, y);
    }
    paving(x, y, seed)
}

/// Sky, and a row of far trees.
fn distance(x: f32, y: f32) -> Colour {
    let sky = mix([150.0, 178.0, 208.0], [214.0, 222.0, 226.0], (y / 50.0).clamp(0.0, 1.0));
    let tops = 44.0 + 6.0 * (x * 0.055).sin() + 3.5 * (x * 0.17 + 1.0).sin() + 1.5 * (x * 0.51).sin();
    if y < tops { sky } else { mix([98.0, 118.0, 96.0], [78.0, 98.0, 74.0], ((y - tops) / 25.0).min(1.0)) }
}

/// A sandstone front with windows, and shops with awnings below; metres.
fn facade(x: f32, up: f32, seed: u64) -> Colour {
    let bay = (x / 3.0).floor();
    let within = x / 3.0 - bay;
    let wall = mix([186.0, 168.0, 142.0], [170.0, 152.0, 128.0], (up / 9.0).clamp(0.0, 1.0));
    let wall = mix(wall, [140.0, 124.0, 104.0], if (up * 2.5).fract() < 0.08 { 0.25 } else { 0.0 });
    if up < 3.6 {
        let awning = [[158.0, 58.0, 50.0], [62.0, 98.0, 88.0], [196.0, 158.0, 84.0], [70.0, 84.0, 120.0]]
            [(bay as i64).rem_euclid(4) as usize];
        return match up {
            u if u > 3.2 => [120.0, 106.0, 92.0],
            u if u > 2.5 => {
                mix(awning, [236.0, 230.0, 218.0], if (x * 2.5).rem_euclid(1.0) < 0.5 { 0.75 } else { 0.0 })
            }
            u if (0.08..0.92).contains(&within) && u > 0.3 => {
                let lit = chance(seed, [bay as i64, 99, 0]);
                mix([44.0, 50.0, 58.0], [150.0, 132.0, 96.0], 0.5 * lit * (1.0 - (within - 0.5).abs()))
            }
            _ => [112.0, 98.0, 84.0],
        };
    }
    let floor = ((up - 3.6) / 3.2).floor();
    let rise = (up - 3.6) / 3.2 - floor;
    if (0.24..0.76).contains(&within) && (0.2..0.82).contains(&rise) {
        let edge =
            !(0.29..0.71).contains(&within) || !(0.25..0.78).contains(&rise) || (within - 0.5).abs() < 0.02;
        let glass =
            mix([66.0, 80.0, 96.0], [150.0, 170.0, 188.0], chance(seed, [bay as i64, floor as i64, 1]) * 0.7);
        return if edge { [216.0, 208.0, 194.0] } else { glass };
    }
    wall
}

/// Stone slabs in perspective, with bands, a round inlay and the building's shade.
fn paving(x: f32, y: f32, seed: u64) -> Colour {
    let z = FOCAL * EYE / (y - HORIZON);
    let side = (x - WIDTH / 2.0) * z / FOCAL;
    let (column, row) = ((side / 1.2).floor(), (z / 1.2).floor());
    let grain = chance(seed, [(x * 3.0) as i64, (y * 3.0) as i64, 7]) - 0.5;
    let tone = chance(seed, [column as i64, row as i64, 2]) - 0.5;
    let mut colour = [176.0, 168.0, 156.0].map(|c| c + 16.0 * tone + 7.0 * grain);
    if (column as i64).rem_euclid(6) == 0 || (row as i64).rem_euclid(6) == 0 {
        colour = mix(colour, [140.0, 128.0, 118.0], 0.6);
    }
    let around = (side - 1.0).hypot(z - 16.8);
    if around < 4.6 {
        let spoke = ((z - 16.8).atan2(side - 1.0) * 16.0 / std::f32::consts::TAU).rem_euclid(1.0) < 0.5;
        let ring = (around / 0.92) as i64;
        let inlay = if (ring % 2 == 0) == spoke { [150.0, 118.0, 100.0] } else { [190.0, 180.0, 164.0] };
        colour = mix(colour, inlay.map(|c| c + 10.0 * tone + 6.0 * grain), 0.85);
    }
    // Joints: as wide as 2 cm, or fainter where a row of pixels covers more.
    let joint = |at: f32, footprint: f32| {
        let d = (at / 1.2 - (at / 1.2).round()).abs() * 1.2;
        (1.0 - d / (0.02 + footprint)).max(0.0) * 0.02 / (0.02 + footprint)
    };
    let lines = joint(side, z / FOCAL).max(joint(z, z * z / (FOCAL * EYE)));
    colour = mix(colour, [96.0, 90.0, 84.0], 0.9 * lines);
    // The building's shade falls to some ten metres before it; far ground fades into the haze.
    let shade =
        ((z - 42.0 - 0.06 * side) / 1.2).clamp(0.0, 1.0) * f32::from(u8::from(side < FACADE_END + 3.0));
    colour = mix(colour, colour.map(|c| c * 0.62), shade);
    mix(colour, [188.0, 190.0, 188.0], ((z - 20.0) / 160.0).clamp(0.0, 0.25))
}

fn tree(canvas: &mut Canvas, x: f32, z: f32, seed: u64) {
    let s = scale(z);
    canvas.ellipse(project(x + 1.6, 0.0, z - 0.9), [2.3 * s, 0.34 * s], [58.0, 56.0, 60.0], 0.45);
    canvas.capsule(project(x, 0.0, z), project(x, 2.6, z), 0.15 * s, [82.0, 66.0, 52.0], 1.0);
    for i in 0..70 {
        let r = |k| chance(seed, [i, k, 5]);
        let (angle, reach) = (r(0) * std::f32::consts::TAU, r(1).sqrt());
        let at = project(x + 1.6 * reach * angle.cos(), 4.0 + 1.5 * reach * angle.sin(), z);
        // Lit from the upper left.
        let light = (0.5 - 0.35 * reach * angle.cos() + 0.4 * reach * angle.sin() + 0.3 * (r(2) - 0.5))
            .clamp(0.0, 1.0);
        let size = (0.26 + 0.26 * r(3)) * s;
        canvas.ellipse(at, [size, size * 0.85], mix([38.0, 60.0, 36.0], [128.0, 152.0, 78.0], light), 0.9);
    }
}

fn planter(canvas: &mut Canvas, x: f32, z: f32) {
    let s = scale(z);
    canvas.capsule(
        project(x - 0.5, 0.0, z - 0.3),
        project(x + 1.2, 0.0, z - 0.3),
        0.14 * s,
        [60.0, 58.0, 60.0],
        0.4,
    );
    for up in [0.2, 0.36] {
        canvas.capsule(project(x - 0.6, up, z), project(x + 0.6, up, z), 0.2 * s, [124.0, 116.0, 108.0], 1.0);
    }
    for i in 0..16 {
        let r = |k| chance(i, [k, (x * 10.0) as i64, 6]);
        let at = project(x - 0.65 + 1.3 * r(0), 0.6 + 0.3 * r(1), z);
        let flower = [[196.0, 72.0, 84.0], [222.0, 180.0, 84.0], [84.0, 116.0, 62.0], [66.0, 98.0, 52.0]]
            [(4.0 * r(2)) as usize];
        canvas.ellipse(at, [0.13 * s, 0.12 * s], flower, 0.95);
    }
}

fn bench(canvas: &mut Canvas, x: f32, z: f32) {
    let s = scale(z);
    canvas.capsule(
        project(x - 0.7, 0.0, z - 0.2),
        project(x + 1.1, 0.0, z - 0.2),
        0.08 * s,
        [60.0, 58.0, 60.0],
        0.4,
    );
    for side in [-0.7, 0.7] {
        canvas.capsule(
            project(x + side, 0.0, z),
            project(x + side, 0.45, z),
            0.04 * s,
            [50.0, 50.0, 54.0],
            1.0,
        );
    }
    for up in [0.45, 0.68, 0.84] {
        canvas.capsule(
            project(x - 0.85, up, z),
            project(x + 0.85, up, z),
            0.06 * s,
            [134.0, 98.0, 62.0],
            1.0,
        );
    }
}

/// The share of the picture that a box covers, as left, top, right, bottom in `0..=1`.
pub(super) fn share([left, top, right, bottom]: [f32; 4]) -> [f32; 4] {
    [left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT].map(|v| v.clamp(0.0, 1.0))
}
