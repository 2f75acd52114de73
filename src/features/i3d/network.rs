//! The layers of Inception-I3D (Carreira & Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017), as a graph.

use crate::infer::{Attr, Graph, Value};
use crate::weights::Tensors;

/// Numbers a place of the last map.
pub const DIMS: usize = 1024;
/// Added to the variance of batch normalisation.
const EPSILON: f64 = 1e-3;
const CLASSES: usize = 400;

/// A step of the network.
enum Layer {
    /// Name, side of the cubic kernel, stride, inputs, outputs.
    Conv(&'static str, usize, usize, usize, usize),
    /// Sides of the window (and its strides) in time and space.
    Pool([usize; 2], [usize; 2]),
    /// Name, inputs, and the outputs of its convolutions.
    Mixed(&'static str, usize, [usize; 6]),
}

/// Everything up to the last map.
const LAYERS: [Layer; 16] = [
    Layer::Conv("Conv3d_1a_7x7", 7, 2, 3, 64),
    Layer::Pool([1, 3], [1, 2]),
    Layer::Conv("Conv3d_2b_1x1", 1, 1, 64, 64),
    Layer::Conv("Conv3d_2c_3x3", 3, 1, 64, 192),
    Layer::Pool([1, 3], [1, 2]),
    Layer::Mixed("Mixed_3b", 192, [64, 96, 128, 16, 32, 32]),
    Layer::Mixed("Mixed_3c", 256, [128, 128, 192, 32, 96, 64]),
    Layer::Pool([3, 3], [2, 2]),
    Layer::Mixed("Mixed_4b", 480, [192, 96, 208, 16, 48, 64]),
    Layer::Mixed("Mixed_4c", 512, [160, 112, 224, 24, 64, 64]),
    Layer::Mixed("Mixed_4d", 512, [128, 128, 256, 24, 64, 64]),
    Layer::Mixed("Mixed_4e", 512, [112, 144, 288, 32, 64, 64]),
    Layer::Mixed("Mixed_4f", 528, [256, 160, 320, 32, 128, 128]),
    Layer::Pool([2, 2], [2, 2]),
    Layer::Mixed("Mixed_5b", 832, [256, 160, 320, 32, 128, 128]),
    LAST,
];
const LAST: Layer = Layer::Mixed("Mixed_5c", 832, LAST_OUTPUTS);
const LAST_OUTPUTS: [usize; 6] = [384, 192, 384, 48, 128, 128];

/// A convolution with its batch normalisation and rectifier.
struct Unit {
    name: String,
    side: usize,
    stride: usize,
    inputs: usize,
    outputs: usize,
}

/// The convolutions of a mixed layer: branch by branch, in the order of the checkpoint's counts.
fn mixed(name: &str, inputs: usize, outputs: [usize; 6]) -> [Unit; 6] {
    let [one, three_in, three, five_in, five, pooled] = outputs;
    let unit = |branch: &str, side, inputs, outputs| Unit {
        name: format!("{name}/{branch}"),
        side,
        stride: 1,
        inputs,
        outputs,
    };
    [
        unit("Branch_0/Conv3d_0a_1x1", 1, inputs, one),
        unit("Branch_1/Conv3d_0a_1x1", 1, inputs, three_in),
        unit("Branch_1/Conv3d_0b_3x3", 3, three_in, three),
        unit("Branch_2/Conv3d_0a_1x1", 1, inputs, five_in),
        unit("Branch_2/Conv3d_0b_3x3", 3, five_in, five),
        unit("Branch_3/Conv3d_0b_1x1", 1, inputs, pooled),
    ]
}

fn units(layer: &Layer) -> Vec<Unit> {
    match *layer {
        Layer::Conv(name, side, stride, inputs, outputs) => {
            vec![Unit { name: name.into(), side, stride, inputs, outputs }]
        }
        Layer::Pool(..) => Vec::new(),
        Layer::Mixed(name, inputs, outputs) => mixed(name, inputs, outputs).into(),
    }
}

/// Names and dimensions of every tensor of the checkpoint: kernels are `[time, height, width, inputs, outputs]`.
pub fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut found = Vec::new();
    for unit in LAYERS.iter().flat_map(units) {
        let Unit { name, side, inputs, outputs, .. } = unit;
        found.push((format!("params/{name}/Conv_0/kernel"), vec![side, side, side, inputs, outputs]));
        found.push((format!("params/{name}/BatchNorm_0/bias"), vec![outputs]));
        for moment in ["mean", "var"] {
            found.push((format!("batch_stats/{name}/BatchNorm_0/{moment}"), vec![1, 1, 1, 1, outputs]));
        }
    }
    found.push((format!("{LOGITS}/kernel"), vec![1, 1, 1, DIMS, CLASSES]));
    found.push((format!("{LOGITS}/bias"), vec![CLASSES]));
    found
}

/// The classifier: checked, since it belongs to the checkpoint, and no part of an extractor.
pub const LOGITS: &str = "params/Logits/Conv3d_0c_1x1/Conv_0";

/// One name a dimension of the last map: the branch of the last layer, and the number in it.
pub fn channels() -> Vec<String> {
    let [one, _, three, _, five, pooled] = LAST_OUTPUTS;
    let branches = [("1x1x1", one), ("3x3x3", three), ("3x3x3 narrow", five), ("pooled", pooled)];
    branches.iter().flat_map(|(name, count)| (0..*count).map(move |i| format!("{name} {i}"))).collect()
}

/// The last map before pooling, `[segments, 1024, time / 8, height / 32, width / 32]`, of `frames`
/// `[segments, time, height, width, 3]`, RGB from -1 to 1.
pub fn last_map(g: &mut Graph, tensors: &Tensors, frames: &Value) -> Value {
    let mut x = g.op("Transpose", &[frames], &[("perm", [0usize, 4, 1, 2, 3].into())]);
    for layer in &LAYERS {
        x = match layer {
            Layer::Conv(..) => convolve(g, tensors, &units(layer)[0], &x),
            Layer::Pool(window, strides) => pool(g, &x, *window, *strides),
            Layer::Mixed(name, inputs, outputs) => {
                let [one, three_in, three, five_in, five, pooled] = mixed(name, *inputs, *outputs);
                let a = convolve(g, tensors, &one, &x);
                let b = convolve(g, tensors, &three_in, &x);
                let b = convolve(g, tensors, &three, &b);
                let c = convolve(g, tensors, &five_in, &x);
                let c = convolve(g, tensors, &five, &c);
                let d = pool(g, &x, [3, 3], [1, 1]);
                let d = convolve(g, tensors, &pooled, &d);
                g.op("Concat", &[&a, &b, &c, &d], &[("axis", 1.into())])
            }
        };
    }
    x
}

/// Padding as TensorFlow's `SAME`: the odd one comes after.
fn same() -> (&'static str, Attr) {
    ("auto_pad", "SAME_UPPER".into())
}

fn pool(g: &mut Graph, x: &Value, [time, space]: [usize; 2], strides: [usize; 2]) -> Value {
    let strides = [strides[0], strides[1], strides[1]];
    let window = ("kernel_shape", [time, space, space].into());
    g.op("MaxPool", &[x], &[same(), window, ("strides", strides.into())])
}

/// Convolution, batch normalisation (folded into the kernel; it has a bias and no scale) and rectifier.
fn convolve(g: &mut Graph, tensors: &Tensors, unit: &Unit, x: &Value) -> Value {
    let Unit { name, side, stride, inputs, outputs } = unit;
    let moment = |of: &str| tensors.floats(&format!("batch_stats/{name}/BatchNorm_0/{of}"));
    let (mean, variance) = (moment("mean"), moment("var"));
    let shift = tensors.floats(&format!("params/{name}/BatchNorm_0/bias"));
    let scale: Vec<f64> = variance.iter().map(|&v| (f64::from(v) + EPSILON).sqrt().recip()).collect();
    let bias: Vec<f32> = (shift.iter().zip(&mean).zip(&scale))
        .map(|((&shift, &mean), scale)| (f64::from(shift) - f64::from(mean) * scale) as f32)
        .collect();
    let kernel =
        by_output(&tensors.floats(&format!("params/{name}/Conv_0/kernel")), *inputs, *outputs, &scale);
    let kernel = g.constant(&[*outputs, *inputs, *side, *side, *side], &kernel);
    let bias = g.constant(&[*outputs], &bias);
    let shape = ("kernel_shape", [*side; 3].into());
    let sums = g.op("Conv", &[x, &kernel, &bias], &[same(), shape, ("strides", [*stride; 3].into())]);
    g.op("Relu", &[&sums], &[])
}

/// A kernel `[places.., inputs, outputs]` as `[outputs, inputs, places..]`, each output scaled.
pub fn by_output(kernel: &[f32], inputs: usize, outputs: usize, scale: &[f64]) -> Vec<f32> {
    let places = kernel.len() / (inputs * outputs);
    let mut turned = Vec::with_capacity(kernel.len());
    for (output, scale) in scale.iter().enumerate() {
        for input in 0..inputs {
            for place in 0..places {
                let weight = kernel[(place * inputs + input) * outputs + output];
                turned.push((f64::from(weight) * scale) as f32);
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_has_the_published_size() {
        let tensors = tensors();
        let count = |part: &str| -> usize {
            let of = tensors.iter().filter(|(name, _)| name.contains(part));
            of.map(|(_, dims)| dims.iter().product::<usize>()).sum()
        };
        // 57 convolutions with batch normalisation, and the classifier.
        assert_eq!(tensors.len(), 57 * 4 + 2);
        // Ports that also scale in batch normalisation, once an output, have 7,280 more.
        assert_eq!((count("params/"), count("params/Logits")), (12_689_984, 410_000));
        let names: std::collections::BTreeSet<_> = channels().into_iter().collect();
        assert_eq!(names.len(), DIMS);
    }

    #[test]
    fn kernels_are_turned_and_scaled() {
        // Two places, three inputs, two outputs; the weight says where it was: place, input, output.
        let kernel: Vec<f32> = (0..12).map(|i| (i / 6 * 100 + i / 2 % 3 * 10 + i % 2) as f32).collect();
        let turned = by_output(&kernel, 3, 2, &[1.0, 2.0]);
        assert_eq!(turned, [0.0, 100.0, 10.0, 110.0, 20.0, 120.0, 2.0, 202.0, 22.0, 222.0, 42.0, 242.0]);
    }
}
