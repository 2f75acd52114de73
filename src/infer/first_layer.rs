//! The first convolution that the picture reaches in a model file, and its weights.

use super::InferError;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{GraphProto, Message, ModelProto, NodeProto, TensorProto};
use std::collections::{HashMap, HashSet};

/// What may stand between the picture and the first layer: it moves, scales or chooses pixels, one by one.
const PREPROCESSING: [&str; 21] = [
    "Cast",
    "Identity",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Gather",
    "Slice",
    "Split",
    "Concat",
    "Pad",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Resize",
    "Clip",
    "QuantizeLinear",
    "DequantizeLinear",
    "Dropout",
];

/// Weights of a convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    pub outputs: usize,
    /// Channels (of one group), frames, rows and columns; one frame for a convolution of single pictures.
    pub dims: [usize; 4],
    /// `[outputs, channels, frames, height, width]`, row-major.
    pub weights: Vec<f32>,
}

/// Finds the first convolution of the pictures, in the order of the graph. Its weights are those of the file: in
/// the units of what it is given, after the scaling of the preprocessing.
///
/// # Errors
/// Where `bytes` are no model, or the picture reaches another operator first.
pub fn first_convolution(model: &str, bytes: &[u8]) -> Result<Convolution, InferError> {
    let refuse = |problem: String| {
        InferError::new(model, problem, "only a network whose first layer is a convolution can be inspected")
    };
    let parsed =
        ModelProto::parse_from_bytes(bytes).map_err(|e| refuse(format!("it cannot be read: {e}")))?;
    let graph = &parsed.graph;
    let constants = constants(graph);
    let mut pictures: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    pictures.retain(|name| !constants.contains_key(name));
    let mut other = None;
    for node in &graph.node {
        let sees = node.input.iter().any(|input| pictures.contains(input.as_str()));
        match node.op_type.as_str() {
            _ if !sees => {}
            "Conv" if pictures.contains(node.input[0].as_str()) => {
                let weights = node.input.get(1).and_then(|name| weights(graph, &constants, name));
                return convolution(weights).map_err(refuse);
            }
            // The shape of the picture is no picture.
            "Shape" => {}
            operator if PREPROCESSING.contains(&operator) => {
                pictures.extend(node.output.iter().map(String::as_str));
            }
            operator => other = other.or(Some(operator)),
        }
    }
    let problem = match other {
        Some(operator) => format!("its picture goes into {operator} before any convolution"),
        None => "its picture reaches no convolution".into(),
    };
    Err(refuse(problem))
}

/// Tensors that the file itself holds, by name.
fn constants(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    let constant = |node: &'_ NodeProto| node.op_type == "Constant" && node.attribute.len() == 1;
    let of_nodes = graph.node.iter().filter(|node| constant(node));
    let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    initializers
        .chain(
            of_nodes.filter_map(|node| Some((node.output.first()?.as_str(), node.attribute[0].t.as_ref()?))),
        )
        .collect()
}

/// A constant, as floats; of a quantised one what it stands for.
fn weights(
    graph: &GraphProto,
    constants: &HashMap<&str, &TensorProto>,
    name: &str,
) -> Option<(Vec<usize>, Vec<f32>)> {
    if let Some(tensor) = constants.get(name) {
        let dims = tensor.dims.iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().ok()?;
        return Some((dims, floats(tensor)?));
    }
    let node = graph.node.iter().find(|node| node.output.iter().any(|output| output == name))?;
    let part = |i: usize| Some(floats(constants.get(node.input.get(i)?.as_str())?));
    match node.op_type.as_str() {
        "Identity" => weights(graph, constants, node.input.first()?),
        "DequantizeLinear" => {
            let (dims, mut values) = weights(graph, constants, node.input.first()?)?;
            let scales = part(1)??;
            let zeros = part(2).unwrap_or_else(|| Some(vec![0.0]))?;
            // One scale for all, or one an output.
            let each = values.len() / dims.first().copied().filter(|&d| d > 0)?;
            for (i, value) in values.iter_mut().enumerate() {
                let at = |of: &[f32]| of.get(if of.len() == 1 { 0 } else { i / each }).copied();
                *value = (*value - at(&zeros)?) * at(&scales)?;
            }
            Some((dims, values))
        }
        _ => None,
    }
}

/// The numbers of a tensor of the kinds that weights have; `None` of others, and of those kept in another file.
fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let raw = &tensor.raw_data;
    let count: i64 = tensor.dims.iter().product();
    let values: Vec<f32> = match tensor.data_type {
        t if t == DataType::FLOAT as i32 && raw.is_empty() => tensor.float_data.clone(),
        t if t == DataType::FLOAT as i32 => {
            raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        t if t == DataType::FLOAT16 as i32 => {
            raw.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        t if t == DataType::INT8 as i32 => raw.iter().map(|&b| f32::from(b as i8)).collect(),
        t if t == DataType::UINT8 as i32 => raw.iter().map(|&b| f32::from(b)).collect(),
        _ => return None,
    };
    (values.len() as i64 == count).then_some(values)
}

fn convolution(found: Option<(Vec<usize>, Vec<f32>)>) -> Result<Convolution, String> {
    let (dims, weights) = found.ok_or("the weights of its first convolution are not in the file")?;
    let (outputs, dims) = match dims[..] {
        [outputs, channels, height, width] => (outputs, [channels, 1, height, width]),
        [outputs, channels, frames, height, width] => (outputs, [channels, frames, height, width]),
        _ => return Err(format!("its first convolution has kernels of {} dimensions", dims.len())),
    };
    if weights.is_empty() {
        return Err("its first convolution has no weights".into());
    }
    Ok(Convolution { outputs, dims, weights })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::{Dim, Graph};

    fn graph(first: &str) -> Graph {
        let mut g = Graph::new("toy");
        let x = g.input_u8("frames", &[Dim::Symbol("n"), Dim::Fixed(4), Dim::Fixed(4), Dim::Fixed(3)]);
        let x = g.op("Cast", &[&x], &[("to", 1.into())]);
        let scale = g.scalar(255.0);
        let x = g.op("Div", &[&x, &scale], &[]);
        let x = g.op("Transpose", &[&x], &[("perm", [0usize, 3, 1, 2].into())]);
        let x = if first == "Conv" { x } else { g.op(first, &[&x], &[]) };
        let weights: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let kernel = g.constant(&[2, 3, 2, 2], &weights);
        let y = g.op("Conv", &[&x, &kernel], &[]);
        g.output_f32("y", &y, &[Dim::Symbol("n"), Dim::Fixed(2), Dim::Fixed(3), Dim::Fixed(3)]);
        g
    }

    #[test]
    fn the_convolution_behind_the_preprocessing_is_found() {
        let found = first_convolution("toy", &graph("Conv").finish_bare()).expect("a convolution");
        assert_eq!((found.outputs, found.dims), (2, [3, 1, 2, 2]));
        assert_eq!(found.weights[23], 23.0);
    }

    #[test]
    fn quantised_weights_are_what_they_stand_for() {
        let mut model = ModelProto::parse_from_bytes(&graph("Conv").finish_bare()).expect("parses");
        let graph = model.graph.mut_or_insert_default();
        let kernel = graph.initializer.iter_mut().find(|t| t.dims.len() == 4).expect("a kernel");
        let name = std::mem::replace(&mut kernel.name, "bytes".into());
        (kernel.data_type, kernel.raw_data) = (DataType::INT8 as i32, (0..24).collect());
        let number = |name: &str, values: [f32; 2]| TensorProto {
            name: name.into(),
            dims: vec![2],
            data_type: DataType::FLOAT as i32,
            float_data: values.into(),
            ..Default::default()
        };
        graph.initializer.extend([number("scales", [0.5, 2.0]), number("zeros", [1.0, 0.0])]);
        let node = NodeProto {
            op_type: "DequantizeLinear".into(),
            input: ["bytes", "scales", "zeros"].map(String::from).into(),
            output: vec![name],
            ..Default::default()
        };
        graph.node.insert(0, node);
        let found = first_convolution("toy", &model.write_to_bytes().expect("bytes")).expect("found");
        assert_eq!((found.weights[0], found.weights[11], found.weights[12]), (-0.5, 5.0, 24.0));
    }

    #[test]
    fn another_first_layer_is_refused_by_name() {
        let error = first_convolution("toy", &graph("Sqrt").finish_bare()).expect_err("refused").to_string();
        assert!(error.contains("toy: its picture goes into Sqrt before any convolution"), "{error}");
        let error = first_convolution("toy", b"no model").expect_err("refused").to_string();
        assert!(error.contains("toy: it cannot be read"), "{error}");
    }
}
