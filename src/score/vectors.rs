//! What every learned scorer sees of a segment: one vector a region, standardised or whitened.

use crate::infer::{Dim, Graph, Grid, Value};

/// `result`, but NaN where `source` is: minima, maxima and orders may lose it, and it is to reach the score.
pub fn with_nan_of(g: &mut Graph, result: &Value, source: &Value) -> Value {
    let zero = g.scalar(0.0);
    let nothing = g.op("Mul", &[source, &zero], &[]);
    g.op("Add", &[result, &nothing], &[])
}

const SEGMENTS: Dim = Dim::Symbol("segments");

/// Linear map of the features: z = (x - centre) matrix, each number drawn in to plus and minus `clip`.
#[derive(Debug, Clone, PartialEq)]
pub struct Whitening {
    /// `dims` numbers.
    pub centre: Vec<f32>,
    /// `[dims, kept]`, row-major.
    pub matrix: Vec<f32>,
    /// Directions kept.
    pub kept: usize,
    /// Numbers beyond this many standard deviations are drawn in to it.
    pub clip: f32,
}

/// From features to the vectors that a scorer works on.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    pub grid: Grid,
    /// Numbers of a region's features.
    pub dims: usize,
    pub whitening: Whitening,
    /// Appended to the vector of each region: its row in the picture. `None` where no position is told; else
    /// one number a row.
    pub rows: Option<Vec<f32>>,
}

impl Vectors {
    /// Numbers of a vector: the whitened ones, and the position.
    pub fn width(&self) -> usize {
        self.whitening.kept + usize::from(self.rows.is_some())
    }

    /// The vectors of `features` (`[rows, dims]`, any number of whole segments) onto the end of `out`, as the
    /// graph makes them.
    pub fn apply(&self, features: &[f32], out: &mut Vec<f32>) {
        let Whitening { centre, matrix, kept, clip } = &self.whitening;
        let width = self.width();
        for (row, x) in features.chunks_exact(self.dims).enumerate() {
            let at = out.len();
            out.resize(at + width, 0.0);
            let white = &mut out[at..at + kept];
            for ((v, c), weights) in x.iter().zip(centre).zip(matrix.chunks_exact(*kept)) {
                let centred = v - c;
                white.iter_mut().zip(weights).for_each(|(w, m)| *w += centred * m);
            }
            white.iter_mut().for_each(|w| *w = w.clamp(-clip, *clip));
            if let Some(rows) = &self.rows {
                out[at + kept] = rows[row % self.grid.regions() / self.grid.cols];
            }
        }
    }

    /// Declares the graph's input, `features` f32 `[segments, regions, dims]` as the extractor gives them, and
    /// gives `[segments, regions, width]`.
    pub fn taken(&self, g: &mut Graph) -> Value {
        let regions = self.grid.regions();
        let features = g.input_f32("features", &[SEGMENTS, Dim::Fixed(regions), Dim::Fixed(self.dims)]);
        let Whitening { centre, matrix, kept, clip } = &self.whitening;
        let centre = g.constant(&[self.dims], centre);
        // A column of zeros, where the position goes.
        let width = self.width();
        let mut wide = vec![0.0; self.dims * width];
        wide.chunks_exact_mut(width)
            .zip(matrix.chunks_exact(*kept))
            .for_each(|(to, row)| to[..*kept].copy_from_slice(row));
        let matrix = g.constant(&[self.dims, width], &wide);
        let centred = g.op("Sub", &[&features, &centre], &[]);
        let white = g.op("MatMul", &[&centred, &matrix], &[]);
        let (low, high) = (g.scalar(-clip), g.scalar(*clip));
        let drawn_in = g.op("Clip", &[&white, &low, &high], &[]);
        let x = with_nan_of(g, &drawn_in, &white);
        let Some(rows) = &self.rows else { return x };
        let mut position = vec![0.0; regions * width];
        for (region, position) in position.chunks_exact_mut(width).enumerate() {
            position[*kept] = rows[region / self.grid.cols];
        }
        let position = g.constant(&[regions, width], &position);
        g.op("Add", &[&x, &position], &[])
    }

    /// Declares the outputs that every scorer has: `score` `[segments]` and `regions` `[segments, regions]`.
    pub fn given(&self, g: &mut Graph, score: &Value, map: &Value) {
        g.output_f32("score", score, &[SEGMENTS]);
        g.output_f32("regions", map, &[SEGMENTS, Dim::Fixed(self.grid.regions())]);
    }
}
