//! Residual networks in three dimensions, as graphs: R3D-18 as torchvision and as Hara wrote it, and ResNeXt-101.
//!
//! Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018; Hara, Kataoka &
//! Satoh, "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", CVPR 2018.

use super::Shapes;
use super::plan::Input;
use crate::infer::{Attr, Graph, Value};
use crate::weights::Tensors;

/// Added to the variance of batch normalisation.
const EPSILON: f64 = 1e-5;
/// Cardinality of ResNeXt-101 here.
const GROUPS: usize = 32;

/// A convolution with its batch normalisation; sides and strides are time, height and width.
struct Unit {
    conv: String,
    norm: String,
    inputs: usize,
    outputs: usize,
    sides: [usize; 3],
    strides: [usize; 3],
    groups: usize,
}

impl Unit {
    fn cube(conv: String, norm: String, [inputs, outputs]: [usize; 2], side: usize, stride: usize) -> Self {
        Self { conv, norm, inputs, outputs, sides: [side; 3], strides: [stride; 3], groups: 1 }
    }
}

/// Units one after the other, and what is added to the last one's sums.
struct Block {
    units: Vec<Unit>,
    /// The block's input, where there is none.
    shortcut: Option<Unit>,
}

/// A network up to its last map.
pub struct ResNet3d {
    stem: Unit,
    /// A pool of 3 with stride 2 behind the stem.
    pool: bool,
    blocks: Vec<Block>,
}

impl ResNet3d {
    /// `r3d_18` of torchvision: no pool, a stem that sees 3 frames.
    pub fn r3d18_torchvision() -> Self {
        let sides = [3, 7, 7];
        let stem =
            Unit { sides, strides: [1, 2, 2], ..Unit::cube("stem.0".into(), "stem.1".into(), [3, 64], 7, 1) };
        Self {
            stem,
            pool: false,
            blocks: basic(|at, n| [format!("{at}.conv{n}.0"), format!("{at}.conv{n}.1")]),
        }
    }

    /// ResNet-18 of Hara: a pool, a stem that sees 7 frames, shortcuts of type B.
    pub fn r3d18_hara() -> Self {
        let blocks = basic(|at, n| [format!("{at}.conv{n}"), format!("{at}.bn{n}")]);
        Self { stem: hara_stem(), pool: true, blocks }
    }

    /// ResNeXt-101 of Hara.
    pub fn resnext101() -> Self {
        Self::resnext([3, 4, 23, 3])
    }

    /// A ResNeXt of Hara with so many blocks a layer.
    fn resnext(depths: [usize; 4]) -> Self {
        let mut blocks = Vec::new();
        let mut inputs = 64;
        for (layer, depth) in depths.into_iter().enumerate() {
            let (inner, outputs) = (128 << layer, 256 << layer);
            for number in 0..depth {
                let at = format!("layer{}.{number}", layer + 1);
                let stride = if number == 0 && layer > 0 { 2 } else { 1 };
                let unit = |n: usize, channels, side, stride| {
                    Unit::cube(format!("{at}.conv{n}"), format!("{at}.bn{n}"), channels, side, stride)
                };
                let grouped = Unit { groups: GROUPS, ..unit(2, [inner, inner], 3, stride) };
                let units = vec![unit(1, [inputs, inner], 1, 1), grouped, unit(3, [inner, outputs], 1, 1)];
                blocks.push(Block { units, shortcut: shortcut(&at, [inputs, outputs], stride) });
                inputs = outputs;
            }
        }
        Self { stem: hara_stem(), pool: true, blocks }
    }

    /// Numbers a place of the last map.
    pub fn dims(&self) -> usize {
        self.blocks.last().and_then(|block| block.units.last()).expect("blocks of units").outputs
    }

    fn units(&self) -> impl Iterator<Item = &Unit> {
        let blocks = self.blocks.iter().flat_map(|block| block.units.iter().chain(&block.shortcut));
        std::iter::once(&self.stem).chain(blocks)
    }

    /// Names and dimensions of every tensor, without the classifier.
    pub fn tensors(&self) -> Shapes {
        let mut found = Shapes::new();
        for unit in self.units() {
            let [time, height, width] = unit.sides;
            let kernel = vec![unit.outputs, unit.inputs / unit.groups, time, height, width];
            found.push((format!("{}.weight", unit.conv), kernel));
            for of in ["weight", "bias", "running_mean", "running_var"] {
                found.push((format!("{}.{of}", unit.norm), vec![unit.outputs]));
            }
        }
        found
    }

    /// The last map before pooling, `[segments, dims, time, height, width]`, and its height and width.
    pub fn last_map(&self, g: &mut Graph, tensors: &Tensors, input: &Input) -> (Value, usize) {
        let pixels = g.op("Transpose", &[&input.pixels], &[("perm", [0usize, 4, 1, 2, 3].into())]);
        let sums = convolve(g, tensors, &self.stem, &pixels);
        let mut x = g.op("Relu", &[&sums], &[]);
        let mut side = input.side.div_ceil(2);
        if self.pool {
            let pads = ("pads", [1usize; 6].into());
            let window = ("kernel_shape", [3usize; 3].into());
            x = g.op("MaxPool", &[&x], &[window, pads, ("strides", [2usize; 3].into())]);
            side = side.div_ceil(2);
        }
        for block in &self.blocks {
            let mut sums = x.clone();
            for (number, unit) in block.units.iter().enumerate() {
                if number > 0 {
                    sums = g.op("Relu", &[&sums], &[]);
                }
                sums = convolve(g, tensors, unit, &sums);
                side = side.div_ceil(unit.strides[1]);
            }
            let beside = block.shortcut.as_ref().map_or(x.clone(), |unit| convolve(g, tensors, unit, &x));
            let sums = g.op("Add", &[&sums, &beside], &[]);
            x = g.op("Relu", &[&sums], &[]);
        }
        (x, side)
    }
}

fn hara_stem() -> Unit {
    Unit { strides: [1, 2, 2], ..Unit::cube("conv1".into(), "bn1".into(), [3, 64], 7, 1) }
}

/// Four layers of two blocks of two units; `names` gives a unit's convolution and normalisation.
fn basic(names: impl Fn(&str, usize) -> [String; 2]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut inputs = 64;
    for layer in 0..4 {
        let outputs = 64 << layer;
        for number in 0..2 {
            let at = format!("layer{}.{number}", layer + 1);
            let stride = if number == 0 && layer > 0 { 2 } else { 1 };
            let unit = |n, channels, stride| {
                let [conv, norm] = names(&at, n);
                Unit::cube(conv, norm, channels, 3, stride)
            };
            let units = vec![unit(1, [inputs, outputs], stride), unit(2, [outputs, outputs], 1)];
            blocks.push(Block { units, shortcut: shortcut(&at, [inputs, outputs], stride) });
            inputs = outputs;
        }
    }
    blocks
}

/// A convolution of one place where the map changes its size (He et al. 2016, option B).
fn shortcut(at: &str, channels: [usize; 2], stride: usize) -> Option<Unit> {
    let names = (format!("{at}.downsample.0"), format!("{at}.downsample.1"));
    (stride != 1 || channels[0] != channels[1]).then(|| Unit::cube(names.0, names.1, channels, 1, stride))
}

/// Convolution with its batch normalisation folded in.
fn convolve(g: &mut Graph, tensors: &Tensors, unit: &Unit, x: &Value) -> Value {
    let of = |name: &str| tensors.floats(&format!("{}.{name}", unit.norm));
    let (gain, shift, mean, variance) = (of("weight"), of("bias"), of("running_mean"), of("running_var"));
    let scale: Vec<f64> = (gain.iter().zip(&variance))
        .map(|(&gain, &variance)| f64::from(gain) / (f64::from(variance) + EPSILON).sqrt())
        .collect();
    let bias: Vec<f32> = (shift.iter().zip(&mean).zip(&scale))
        .map(|((&shift, &mean), scale)| (f64::from(shift) - f64::from(mean) * scale) as f32)
        .collect();
    let mut kernel = tensors.floats(&format!("{}.weight", unit.conv));
    let one = kernel.len() / unit.outputs;
    for (weights, scale) in kernel.chunks_exact_mut(one).zip(&scale) {
        weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
    }
    let [time, height, width] = unit.sides;
    let kernel = g.constant(&[unit.outputs, unit.inputs / unit.groups, time, height, width], &kernel);
    let bias = g.constant(&[unit.outputs], &bias);
    let pads: [usize; 6] = std::array::from_fn(|i| unit.sides[i % 3] / 2);
    let attributes: [(&str, Attr); 4] = [
        ("kernel_shape", unit.sides.into()),
        ("strides", unit.strides.into()),
        ("pads", pads.into()),
        ("group", (unit.groups as i64).into()),
    ];
    g.op("Conv", &[x, &kernel, &bias], &attributes)
}
