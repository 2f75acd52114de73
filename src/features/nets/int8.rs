//! Linear layers in 8-bit integers: ranges from footage, weights by output, and the operators that ONNX Runtime fuses.
//!
//! Static quantisation as ONNX writes it: QuantizeLinear and DequantizeLinear around the layer, which the runtime
//! makes one integer product of. Weights are symmetric and have a scale an output; what comes in has one scale a
//! layer, of the smallest and the largest number that the calibration saw.

use crate::infer::{Graph, InferError, Runner, TensorIn, Value, sha256_hex};

/// How the linear layers of a graph are written.
pub enum Linears<'a> {
    Float,
    /// As floats, and the extremes of what goes into each layer are remembered.
    Watched(Vec<Value>),
    /// In integers, with the ranges that are left.
    Int8(std::slice::Iter<'a, Range>),
}

/// The smallest and the largest number that goes into a layer; 0 is between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub low: f32,
    pub high: f32,
}

impl Range {
    /// The range that nothing has been seen of.
    const NONE: Self = Self { low: 0.0, high: 0.0 };

    /// Size of a step, and the byte that stands for 0.
    fn scale(self) -> (f32, u8) {
        let scale = ((self.high - self.low) / 255.0).max(f32::MIN_POSITIVE);
        (scale, (-self.low / scale).round().clamp(0.0, 255.0) as u8)
    }
}

/// Names the ranges in the version of an extractor: others make other features.
pub fn digest(ranges: &[Range]) -> String {
    let bytes: Vec<u8> =
        ranges.iter().flat_map(|r| [r.low.to_le_bytes(), r.high.to_le_bytes()].concat()).collect();
    sha256_hex(&bytes)[..8].into()
}

/// Runs a graph whose only output is the extremes of its layers ([`Linears::watched`]) on `segments`, each of `dims`.
///
/// # Errors
/// Where the graph does not run.
pub fn ranges(graph: Graph, dims: &[usize], segments: &[Vec<u8>]) -> Result<Vec<Range>, InferError> {
    let mut runner = Runner::own("calibration", &graph.finish_bare())?;
    let mut ranges = Vec::new();
    for data in segments {
        let extremes = runner.run(&[TensorIn::U8 { dims, data }])?.remove(0).data;
        ranges.resize(extremes.len() / 2, Range::NONE);
        for (range, &[low, high]) in ranges.iter_mut().zip(extremes.as_chunks().0) {
            *range = Range { low: range.low.min(low), high: range.high.max(high) };
        }
    }
    Ok(ranges)
}

impl Linears<'_> {
    /// The extremes that were remembered, as one list: low and high by turns.
    pub fn watched(self, g: &mut Graph) -> Option<Value> {
        let Self::Watched(extremes) = self else { return None };
        Some(g.op("Concat", &extremes.iter().collect::<Vec<_>>(), &[("axis", 0.into())]))
    }

    /// Rows times `weight` `[outputs, inputs]`, plus `bias`.
    pub fn write(&mut self, g: &mut Graph, rows: &Value, weight: &[f32], bias: &[f32]) -> Value {
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        match self {
            Self::Int8(ranges) => {
                let range = ranges.next().expect("one range a layer, from the same network");
                return quantised(g, rows, weight, bias, *range);
            }
            Self::Watched(extremes) => {
                for operator in ["ReduceMin", "ReduceMax"] {
                    let extreme = g.op(operator, &[rows], &[("keepdims", 0.into())]);
                    extremes.push(g.reshape(&extreme, &[1]));
                }
            }
            Self::Float => {}
        }
        let weight = g.constant(&[outputs, inputs], weight);
        let bias = g.constant(&[outputs], bias);
        g.op("Gemm", &[rows, &weight, &bias], &[("transB", 1.into())])
    }
}

/// Largest weight, in steps: of 8 bits one is left free. A CPU without VNNI adds two products of a byte and a weight in 16
/// bits, which saturate beyond 2^15; 2 * 255 * 63 does not.
const MOST: f32 = 63.0;

fn quantised(g: &mut Graph, rows: &Value, weight: &[f32], bias: &[f32], range: Range) -> Value {
    let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
    let (step, zero) = range.scale();
    let (step_in, zero_in) = (g.scalar(step), g.scalar_u8(zero));
    let bytes = g.op("QuantizeLinear", &[rows, &step_in, &zero_in], &[]);
    let rows = g.op("DequantizeLinear", &[&bytes, &step_in, &zero_in], &[]);
    let mut whole = Vec::with_capacity(weight.len());
    let mut steps = Vec::with_capacity(outputs);
    for row in weight.chunks_exact(inputs) {
        let largest = row.iter().fold(0f32, |most, w| most.max(w.abs()));
        let step = (largest / MOST).max(f32::MIN_POSITIVE);
        whole.extend(row.iter().map(|w| (w / step).round() as i8));
        steps.push(step);
    }
    let first = ("axis", 0.into());
    let (weight, of_weight) = (g.constant_i8(&[outputs, inputs], &whole), g.constant(&[outputs], &steps));
    let zeros = g.constant_i8(&[outputs], &vec![0; outputs]);
    let weight = g.op("DequantizeLinear", &[&weight, &of_weight, &zeros], std::slice::from_ref(&first));
    // The bias has the scale of the product.
    let steps: Vec<f32> = steps.iter().map(|of| of * step).collect();
    let whole: Vec<i32> = bias.iter().zip(&steps).map(|(b, step)| (b / step).round() as i32).collect();
    let (bias, of_bias) = (g.constant_i32(&[outputs], &whole), g.constant(&[outputs], &steps));
    let zeros = g.constant_i32(&[outputs], &vec![0; outputs]);
    let bias = g.op("DequantizeLinear", &[&bias, &of_bias, &zeros], &[first]);
    g.op("Gemm", &[&rows, &weight, &bias], &[("transB", 1.into())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::{Dim, init_for_tests};

    /// A layer of 2 outputs and 3 inputs.
    const WEIGHT: [f32; 6] = [1.0, -2.0, 0.5, 0.01, 0.0, -0.02];
    const BIAS: [f32; 2] = [0.25, -0.005];

    fn layer(linears: &mut Linears) -> (Graph, Value) {
        let mut g = Graph::new("layer");
        let rows = g.input_f32("rows", &[Dim::Symbol("rows"), Dim::Fixed(3)]);
        let sums = linears.write(&mut g, &rows, &WEIGHT, &BIAS);
        (g, sums)
    }

    #[test]
    fn a_layer_in_integers_gives_what_it_gives_in_floats_to_a_step() {
        init_for_tests();
        let rows = [1.0, 0.5, -1.0, 3.0, -1.0, 0.25];
        let (mut g, sums) = layer(&mut Linears::Int8([Range { low: -1.0, high: 3.0 }].iter()));
        g.output_f32("sums", &sums, &[Dim::Symbol("rows"), Dim::Fixed(2)]);
        let mut runner = Runner::own("layer", &g.finish_bare()).expect("loads");
        let out = runner.run(&[TensorIn::F32 { dims: &[2, 3], data: &rows }]).expect("runs").remove(0).data;
        let exact: Vec<f32> = (rows.chunks(3))
            .flat_map(|row| [0, 1].map(|o| BIAS[o] + (0..3).map(|i| row[i] * WEIGHT[3 * o + i]).sum::<f32>()))
            .collect();
        // A step of what comes in is 4 / 255; weights have steps of 2 / 63 and 0.02 / 63.
        for (o, (is, wanted)) in out.iter().zip(&exact).enumerate() {
            let bound = if o % 2 == 0 { 0.08 } else { 0.0008 };
            assert!((is - wanted).abs() < bound, "{out:?} {exact:?}");
        }
    }

    #[test]
    fn ranges_hold_zero_and_all_that_was_seen() {
        init_for_tests();
        let mut g = Graph::new("watched");
        let bytes = g.input_u8("frames", &[Dim::Symbol("rows"), Dim::Fixed(3)]);
        let rows = g.op("Cast", &[&bytes], &[("to", 1.into())]);
        let mut linears = Linears::Watched(Vec::new());
        linears.write(&mut g, &rows, &WEIGHT, &BIAS);
        let extremes = linears.watched(&mut g).expect("watched");
        g.output_f32("extremes", &extremes, &[Dim::Fixed(2)]);
        let found = ranges(g, &[1, 3], &[vec![3, 7, 5], vec![9, 4, 4]]).expect("runs");
        assert_eq!(found, [Range { low: 0.0, high: 9.0 }]);
        assert_ne!(digest(&found), digest(&[Range::NONE]));
        assert_eq!(Range { low: -1.0, high: 1.55 }.scale(), (0.01, 100));
    }
}
