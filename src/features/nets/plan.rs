//! A network with everything chosen: what it takes and gives, and its graph from bytes to features.

use super::int8::Linears;
use super::resnet3d::ResNet3d;
use super::vit::{self, Vit};
use super::{Layout, Net, Normalisation, Shapes};
use crate::infer::{Dim, Graph, Grid, Value};
use crate::segment::SEGMENT_FRAMES;
use crate::weights::Tensors;

/// Side of the picture that the networks in three dimensions were trained on, pixels.
const SIDE: usize = 112;
/// Of every segment, a transformer sees the frames 0, 5, 10 and 15.
const PICTURE_STEP: usize = 5;
const PICTURES: usize = SEGMENT_FRAMES.div_ceil(PICTURE_STEP);

/// A network with the layout and scaling that it will have.
pub struct Plan {
    pub net: Net,
    pub layout: Layout,
    pub normalisation: Normalisation,
    pub body: Body,
    /// One vector for the whole frame instead of one a region.
    pub whole_frame: bool,
}

/// Networks of segments, and networks of single pictures.
pub enum Body {
    Video(ResNet3d),
    Pictures(Vit),
}

/// Frames that are ready for a network: floats `[.., side, side, 3]`, scaled.
pub struct Input {
    pub pixels: Value,
    /// Pixels.
    pub side: usize,
}

impl Plan {
    /// Names and dimensions of every tensor, without the classifier.
    pub fn tensors(&self) -> Shapes {
        match &self.body {
            Body::Video(net) => net.tensors(),
            Body::Pictures(vit) => vit.tensors(),
        }
    }

    /// Side of the picture, pixels.
    pub fn side(&self) -> usize {
        match &self.body {
            Body::Video(_) => SIDE,
            Body::Pictures(vit) => vit.side(),
        }
    }

    /// Numbers a region.
    pub fn dims(&self) -> usize {
        match &self.body {
            Body::Video(net) => net.dims(),
            Body::Pictures(_) => 2 * vit::WIDTH,
        }
    }

    /// One name a number.
    pub fn channels(&self) -> Vec<String> {
        match &self.body {
            Body::Video(net) => (0..net.dims()).map(|i| format!("layer4 {i}")).collect(),
            Body::Pictures(_) => ["mean", "deviation"]
                .iter()
                .flat_map(|of| (0..vit::WIDTH).map(move |i| format!("{of} of {i}")))
                .collect(),
        }
    }

    /// Analysed frames a second: of the training, where that had a rate.
    pub fn fps(&self) -> f64 {
        match (&self.body, self.layout) {
            (Body::Video(_), Layout::Torchvision) => 15.0,
            // Kinetics as it was uploaded, mostly at 25 to 30.
            (Body::Video(_), _) => 25.0,
            // Pictures have none: four of a segment of 1.6 s.
            (Body::Pictures(_), _) => 10.0,
        }
    }

    /// For the provenance.
    pub fn title(&self) -> &'static str {
        match self.net {
            Net::R3d18 => "ResNet-18 in three dimensions (Tran et al. 2018; Hara et al. 2018)",
            Net::Resnext101 => "ResNeXt-101 in three dimensions (Hara et al. 2018)",
            Net::VitB16 => "ViT-B/16 (Dosovitskiy et al. 2021)",
            Net::R50VitB16 => "the hybrid of ResNet-50 and ViT-B/16 (Dosovitskiy et al. 2021)",
        }
    }

    /// The dimensions of one segment of frames.
    pub fn segment_dims(&self) -> [usize; 5] {
        [1, SEGMENT_FRAMES, self.side(), self.side(), 3]
    }

    /// Whether linear layers are most of its work: those alone gain by 8-bit integers.
    pub fn has_linears(&self) -> bool {
        matches!(self.body, Body::Pictures(_))
    }

    /// From `frames` to the extremes of what goes into each linear layer, for [`super::int8::ranges`].
    pub fn watched(&self, tensors: &Tensors) -> Graph {
        let mut g = Graph::new(self.net.name());
        let mut linears = Linears::Watched(Vec::new());
        self.features(&mut g, tensors, &mut linears);
        if let Some(extremes) = linears.watched(&mut g) {
            g.output_f32("extremes", &extremes, &[Dim::Symbol("extremes")]);
        }
        g
    }

    /// From `frames` u8 `[segments, 16, side, side, 3]` to `features` f32 `[segments, regions, dims]`, and its grid.
    pub fn graph(&self, tensors: &Tensors, mut linears: Linears) -> (Graph, Grid) {
        let mut g = Graph::new(self.net.name());
        let (features, grid) = self.features(&mut g, tensors, &mut linears);
        let dims = [Dim::Symbol("segments"), Dim::Fixed(grid.regions()), Dim::Fixed(self.dims())];
        g.output_f32("features", &features, &dims);
        (g, grid)
    }

    fn features(&self, g: &mut Graph, tensors: &Tensors, linears: &mut Linears) -> (Value, Grid) {
        let [_, rest @ ..] = self.segment_dims().map(Dim::Fixed);
        let frames = g.input_u8("frames", &[&[Dim::Symbol("segments")], rest.as_slice()].concat());
        match &self.body {
            Body::Video(net) => self.video(g, tensors, net, &frames),
            Body::Pictures(vit) => self.pictures(g, tensors, vit, &frames, linears),
        }
    }

    /// The last map, mean over its time, and over the grid for the whole frame.
    fn video(&self, g: &mut Graph, tensors: &Tensors, net: &ResNet3d, frames: &Value) -> (Value, Grid) {
        let pixels = self.normalisation.apply(g, frames);
        let (map, side) = net.last_map(g, tensors, &Input { pixels, side: SIDE });
        let grid = if self.whole_frame { Grid::WHOLE } else { Grid { rows: side, cols: side } };
        let over = if self.whole_frame { vec![2, 3, 4] } else { vec![2] };
        let mean = g.op("ReduceMean", &[&map], &[("axes", over.into()), ("keepdims", 0.into())]);
        let by_region = g.reshape(&mean, &[-1, self.dims() as i64, grid.regions() as i64]);
        (g.op("Transpose", &[&by_region], &[("perm", [0usize, 2, 1].into())]), grid)
    }

    /// The class, or the patches in squares of four, of four pictures: mean and deviation over them.
    fn pictures(
        &self,
        g: &mut Graph,
        tensors: &Tensors,
        vit: &Vit,
        frames: &Value,
        linears: &mut Linears,
    ) -> (Value, Grid) {
        let [start, end, axis, step] =
            [0, SEGMENT_FRAMES as i64, 1, PICTURE_STEP as i64].map(|n| g.ints(&[n]));
        let chosen = g.op("Slice", &[frames, &start, &end, &axis, &step], &[]);
        let side = vit.side();
        let bytes = g.reshape(&chosen, &[-1, side as i64, side as i64, 3]);
        let pixels = self.normalisation.apply(g, &bytes);
        let tokens = vit.tokens(g, tensors, &Input { pixels, side }, linears);
        let patches = (vit.grid * vit.grid) as i64;
        let tokens = g.reshape(&tokens, &[-1, 1 + patches, vit::WIDTH as i64]);
        let (from, to) = if self.whole_frame { (0, 1) } else { (1, 1 + patches) };
        let [from, to, axis] = [from, to, 1].map(|n| g.ints(&[n]));
        let mut tokens = g.op("Slice", &[&tokens, &from, &to, &axis], &[]);
        let mut grid = Grid::WHOLE;
        if !self.whole_frame {
            // Two by two, where the patches come out even.
            let square = if vit.grid.is_multiple_of(2) { 2 } else { 1 };
            let rows = vit.grid / square;
            let [rows, square] = [rows, square].map(|n| n as i64);
            let squares = g.reshape(&tokens, &[-1, rows, square, rows, square, vit::WIDTH as i64]);
            let axes = ("axes", [2i64, 4].into());
            tokens = g.op("ReduceMean", &[&squares], &[axes, ("keepdims", 0.into())]);
            grid = Grid { rows: rows as usize, cols: rows as usize };
        }
        let pictures = g.reshape(&tokens, &[-1, PICTURES as i64, grid.regions() as i64, vit::WIDTH as i64]);
        let mean = |g: &mut Graph, of: &Value| {
            g.op("ReduceMean", &[of], &[("axes", [1i64].into()), ("keepdims", 1.into())])
        };
        let centre = mean(g, &pictures);
        let away = g.op("Sub", &[&pictures, &centre], &[]);
        let squares = g.op("Mul", &[&away, &away], &[]);
        let variance = mean(g, &squares);
        let deviation = g.op("Sqrt", &[&variance], &[]);
        let both = g.op("Concat", &[&centre, &deviation], &[("axis", (-1i64).into())]);
        (g.reshape(&both, &[-1, grid.regions() as i64, self.dims() as i64]), grid)
    }
}
