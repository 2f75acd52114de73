//! The residual network before the hybrid vision transformer, as a graph: R50 without its last stage, with
//! standardised kernels and group normalisation (Kolesnikov et al., "Big Transfer", ECCV 2020), as timm names it.

use super::Shapes;
use crate::infer::{Attr, Graph, Value};
use crate::weights::Tensors;

/// Numbers a place of the last map.
pub const DIMS: usize = 1024;
/// Blocks a stage.
pub const DEPTHS: [usize; 3] = [3, 4, 9];
/// Added to the variance of a kernel.
const KERNEL_EPSILON: f64 = 1e-8;
/// Added to the variance of a group.
const GROUP_EPSILON: f32 = 1e-5;
const GROUPS: usize = 32;
/// Before every name.
const AT: &str = "patch_embed.backbone";

/// A convolution with its group normalisation.
struct Unit {
    conv: String,
    norm: String,
    channels: [usize; 2],
    side: usize,
    stride: usize,
}

/// A bottleneck, and the convolution beside it where the map changes its size.
struct Block {
    units: [Unit; 3],
    shortcut: Option<Unit>,
}

fn stem() -> Unit {
    let (conv, norm) = (format!("{AT}.stem.conv"), format!("{AT}.stem.norm"));
    Unit { conv, norm, channels: [3, 64], side: 7, stride: 2 }
}

fn blocks(depths: [usize; 3]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut inputs = 64;
    for (stage, depth) in depths.into_iter().enumerate() {
        let (inner, outputs) = (64 << stage, 256 << stage);
        for number in 0..depth {
            let at = format!("{AT}.stages.{stage}.blocks.{number}");
            let stride = if number == 0 && stage > 0 { 2 } else { 1 };
            let unit = |n: usize, channels, side, stride| {
                let (conv, norm) = (format!("{at}.conv{n}"), format!("{at}.norm{n}"));
                Unit { conv, norm, channels, side, stride }
            };
            let units = [
                unit(1, [inputs, inner], 1, 1),
                unit(2, [inner; 2], 3, stride),
                unit(3, [inner, outputs], 1, 1),
            ];
            let (conv, norm) = (format!("{at}.downsample.conv"), format!("{at}.downsample.norm"));
            let shortcut =
                (number == 0).then_some(Unit { conv, norm, channels: [inputs, outputs], side: 1, stride });
            blocks.push(Block { units, shortcut });
            inputs = outputs;
        }
    }
    blocks
}

/// Names and dimensions of every tensor.
pub fn tensors(depths: [usize; 3]) -> Shapes {
    let mut found = Shapes::new();
    let mut add = |unit: &Unit| {
        let [inputs, outputs] = unit.channels;
        found.push((format!("{}.weight", unit.conv), vec![outputs, inputs, unit.side, unit.side]));
        found.push((format!("{}.weight", unit.norm), vec![outputs]));
        found.push((format!("{}.bias", unit.norm), vec![outputs]));
    };
    add(&stem());
    for block in blocks(depths) {
        block.units.iter().chain(&block.shortcut).for_each(&mut add);
    }
    found
}

/// The last map, `[pictures, 1024, side / 16, side / 16]`, of `pixels` `[pictures, 3, side, side]`.
pub fn last_map(g: &mut Graph, tensors: &Tensors, depths: [usize; 3], pixels: &Value, side: usize) -> Value {
    let mut side = side.div_ceil(2);
    let mut x = unit(g, tensors, &stem(), pixels, side);
    x = g.op("Relu", &[&x], &[]);
    let pool = [same(), ("kernel_shape", [3usize; 2].into()), ("strides", [2usize; 2].into())];
    x = g.op("MaxPool", &[&x], &pool);
    side = side.div_ceil(2);
    for block in blocks(depths) {
        let mut sums = x.clone();
        for (number, part) in block.units.iter().enumerate() {
            if number > 0 {
                sums = g.op("Relu", &[&sums], &[]);
            }
            side = side.div_ceil(part.stride);
            sums = unit(g, tensors, part, &sums, side);
        }
        let beside = block.shortcut.as_ref().map_or(x.clone(), |part| unit(g, tensors, part, &x, side));
        let sums = g.op("Add", &[&sums, &beside], &[]);
        x = g.op("Relu", &[&sums], &[]);
    }
    x
}

fn same() -> (&'static str, Attr) {
    ("auto_pad", "SAME_UPPER".into())
}

/// Convolution and group normalisation; `side` is of the map that it gives.
fn unit(g: &mut Graph, tensors: &Tensors, unit: &Unit, x: &Value, side: usize) -> Value {
    let [inputs, outputs] = unit.channels;
    let mut kernel = tensors.floats(&format!("{}.weight", unit.conv));
    let one = kernel.len() / outputs;
    kernel.chunks_exact_mut(one).for_each(standardise);
    let kernel = g.constant(&[outputs, inputs, unit.side, unit.side], &kernel);
    let attributes = [same(), ("kernel_shape", [unit.side; 2].into()), ("strides", [unit.stride; 2].into())];
    let sums = g.op("Conv", &[x, &kernel], &attributes);
    // The operator set has no group normalisation: each group as one channel of many places.
    let groups = g.reshape(&sums, &[-1, GROUPS as i64, (outputs / GROUPS * side * side) as i64]);
    let (ones, zeros) = (g.constant(&[GROUPS], &[1.0; GROUPS]), g.constant(&[GROUPS], &[0.0; GROUPS]));
    let normal =
        g.op("InstanceNormalization", &[&groups, &ones, &zeros], &[("epsilon", GROUP_EPSILON.into())]);
    let normal = g.reshape(&normal, &[-1, outputs as i64, side as i64, side as i64]);
    let of = |name: &str| tensors.floats(&format!("{}.{name}", unit.norm));
    let gain = g.constant(&[outputs, 1, 1], &of("weight"));
    let shift = g.constant(&[outputs, 1, 1], &of("bias"));
    let scaled = g.op("Mul", &[&normal, &gain], &[]);
    g.op("Add", &[&scaled, &shift], &[])
}

/// Takes the mean out of the weights of one output, and makes their variance 1.
fn standardise(weights: &mut [f32]) {
    let count = weights.len() as f64;
    let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / count;
    let variance = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / count;
    let scale = (variance + KERNEL_EPSILON).sqrt().recip();
    weights.iter_mut().for_each(|w| *w = ((f64::from(*w) - mean) * scale) as f32);
}
