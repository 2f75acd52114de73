//! A small anti-aliased painter: the scene is drawn in 640 x 360 units at whatever size is wanted.

/// The scene's own size: what positions and lengths below are measured in.
pub(super) const WIDTH: f32 = 640.0;
pub(super) const HEIGHT: f32 = 360.0;

/// Red, green, blue, 0 to 255.
pub(super) type Colour = [f32; 3];
/// Right and down, in scene units.
pub(super) type Point = [f32; 2];

/// A picture being painted.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    /// `width * height * 3` bytes, red, green, blue.
    pub rgb: Vec<u8>,
    /// Scene units a pixel.
    unit: Point,
}

impl Canvas {
    /// A picture whose pixels `colour` gives, from the place in the scene; four samples a pixel.
    pub(super) fn paint(width: u32, height: u32, colour: impl Fn(Point) -> Colour) -> Self {
        let (width, height) = (width as usize, height as usize);
        let unit = [WIDTH / width as f32, HEIGHT / height as f32];
        let mut rgb = Vec::with_capacity(width * height * 3);
        for i in 0..width * height {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            let mut sum = [0.0; 3];
            for (dx, dy) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
                let c = colour([(x + dx) * unit[0], (y + dy) * unit[1]]);
                (0..3).for_each(|k| sum[k] += c[k] / 4.0);
            }
            rgb.extend(sum.map(|v| v as u8));
        }
        Self { width, height, rgb, unit }
    }

    /// A line of radius `r` with round ends.
    pub(super) fn capsule(&mut self, a: Point, b: Point, r: f32, colour: Colour, alpha: f32) {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length2 = (dx * dx + dy * dy).max(1e-6);
        let bounds = [a[0].min(b[0]) - r, a[1].min(b[1]) - r, a[0].max(b[0]) + r, a[1].max(b[1]) + r];
        self.fill(bounds, colour, alpha, |[x, y]| {
            let along = (((x - a[0]) * dx + (y - a[1]) * dy) / length2).clamp(0.0, 1.0);
            (x - a[0] - along * dx).hypot(y - a[1] - along * dy) - r
        });
    }

    /// A filled ellipse.
    pub(super) fn ellipse(&mut self, at: Point, [rx, ry]: Point, colour: Colour, alpha: f32) {
        let bounds = [at[0] - rx, at[1] - ry, at[0] + rx, at[1] + ry];
        self.fill(bounds, colour, alpha, |[x, y]| {
            (((x - at[0]) / rx).hypot((y - at[1]) / ry) - 1.0) * rx.min(ry)
        });
    }

    /// A circle's line, `thick` across.
    pub(super) fn ring(&mut self, at: Point, radius: f32, thick: f32, colour: Colour) {
        let outer = radius + thick;
        let bounds = [at[0] - outer, at[1] - outer, at[0] + outer, at[1] + outer];
        self.fill(bounds, colour, 1.0, |[x, y]| ((x - at[0]).hypot(y - at[1]) - radius).abs() - thick / 2.0);
    }

    /// Fills where the signed distance is negative, with an edge one pixel soft.
    fn fill(&mut self, bounds: [f32; 4], colour: Colour, alpha: f32, distance: impl Fn(Point) -> f32) {
        let [ux, uy] = self.unit;
        let soft = ux.max(uy);
        let span = |low: f32, high: f32, unit: f32, size: usize| {
            let first = ((low - soft) / unit).floor().clamp(0.0, size as f32) as usize;
            let last = ((high + soft) / unit).ceil().clamp(0.0, size as f32) as usize;
            first..last
        };
        let columns = span(bounds[0], bounds[2], ux, self.width);
        for row in span(bounds[1], bounds[3], uy, self.height) {
            let y = (row as f32 + 0.5) * uy;
            let line =
                &mut self.rgb[(row * self.width + columns.start) * 3..(row * self.width + columns.end) * 3];
            for (pixel, column) in line.chunks_exact_mut(3).zip(columns.clone()) {
                let d = distance([(column as f32 + 0.5) * ux, y]);
                let cover = (0.5 - d / soft).clamp(0.0, 1.0) * alpha;
                if cover > 0.0 {
                    for (p, c) in pixel.iter_mut().zip(colour) {
                        *p = (f32::from(*p) + cover * (c - f32::from(*p)) + 0.5) as u8;
                    }
                }
            }
        }
    }
}

/// A number in `0..1` that only depends on `seed` and `key` (SplitMix64 finaliser).
pub(super) fn chance(seed: u64, key: [i64; 3]) -> f32 {
    let mut z = seed;
    for k in key {
        z = (z ^ k as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
    }
    (z >> 40) as f32 / (1u64 << 24) as f32
}

/// Between `a` and `b`, by `t` in `0..=1`.
pub(super) fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}
