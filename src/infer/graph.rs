//! A small typed writer of ONNX graphs: operators, constants, inputs, outputs and the manifest, as bytes.

use super::manifest::{MANIFEST_KEY, Manifest};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

/// Version of the operator set that the graphs are written in (ONNX 1.12; every ONNX Runtime since 1.12).
const OPSET: i64 = 17;
/// Version of the file layout that goes with it.
const IR_VERSION: i64 = 8;

/// A graph under construction. Operators go in in the order they run.
#[derive(Debug)]
pub struct Graph {
    proto: GraphProto,
    /// Numbers the unnamed values.
    unnamed: usize,
}

/// A tensor of a [`Graph`]: an input, a constant, or what an operator gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// One dimension of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    Fixed(usize),
    /// Known when the graph runs; equal symbols are equal sizes.
    Symbol(&'static str),
}

/// What an operator's attribute holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

impl From<i64> for Attr {
    fn from(value: i64) -> Self {
        Attr::Int(value)
    }
}

impl From<f32> for Attr {
    fn from(value: f32) -> Self {
        Attr::Float(value)
    }
}

impl From<&'static str> for Attr {
    fn from(value: &'static str) -> Self {
        Attr::Text(value)
    }
}

impl<const N: usize> From<[usize; N]> for Attr {
    fn from(values: [usize; N]) -> Self {
        Attr::Ints(values.iter().map(|&v| v as i64).collect())
    }
}

impl<const N: usize> From<[i64; N]> for Attr {
    fn from(values: [i64; N]) -> Self {
        Attr::Ints(values.to_vec())
    }
}

impl From<Vec<i64>> for Attr {
    fn from(values: Vec<i64>) -> Self {
        Attr::Ints(values)
    }
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self { proto: GraphProto { name: name.into(), ..Default::default() }, unnamed: 0 }
    }

    /// Declares an input of bytes.
    pub fn input_u8(&mut self, name: &str, dims: &[Dim]) -> Value {
        self.input(name, DataType::UINT8, dims)
    }

    /// Declares an input of floats.
    pub fn input_f32(&mut self, name: &str, dims: &[Dim]) -> Value {
        self.input(name, DataType::FLOAT, dims)
    }

    fn input(&mut self, name: &str, element: DataType, dims: &[Dim]) -> Value {
        self.proto.input.push(value_info(name, element, dims));
        Value(name.into())
    }

    /// A constant tensor of floats, `data` in row-major order.
    ///
    /// # Panics
    /// If `data` has not as many numbers as `dims` say.
    pub fn constant(&mut self, dims: &[usize], data: &[f32]) -> Value {
        assert_eq!(dims.iter().product::<usize>(), data.len(), "a constant of dims {dims:?}");
        // Networks have hundreds of megabytes of them.
        let mut raw = Vec::with_capacity(4 * data.len());
        data.iter().for_each(|v| raw.extend_from_slice(&v.to_le_bytes()));
        self.initializer(DataType::FLOAT, dims, raw)
    }

    /// A constant float without dimensions.
    pub fn scalar(&mut self, value: f32) -> Value {
        self.constant(&[], &[value])
    }

    /// A constant byte without dimensions: the zero of quantised numbers.
    pub fn scalar_u8(&mut self, value: u8) -> Value {
        self.initializer(DataType::UINT8, &[], vec![value])
    }

    /// A constant tensor of bytes with sign: quantised weights.
    pub fn constant_i8(&mut self, dims: &[usize], data: &[i8]) -> Value {
        self.initializer(DataType::INT8, dims, data.iter().map(|&v| v as u8).collect())
    }

    /// A constant tensor of integers: quantised biases.
    pub fn constant_i32(&mut self, dims: &[usize], data: &[i32]) -> Value {
        self.initializer(DataType::INT32, dims, data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A constant list of integers: shapes, axes, starts, ends.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(DataType::INT64, &[values.len()], raw)
    }

    fn initializer(&mut self, element: DataType, dims: &[usize], raw: Vec<u8>) -> Value {
        let value = self.fresh();
        self.proto.initializer.push(TensorProto {
            name: value.0.clone(),
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: element as i32,
            raw_data: raw,
            ..Default::default()
        });
        value
    }

    /// An operator with one output, for example `g.op("Conv", &[&x, &w], &[("strides", [2usize, 2].into())])`.
    pub fn op(&mut self, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr)]) -> Value {
        let value = self.fresh();
        self.node(operator, inputs, value.0.clone(), attributes);
        value
    }

    /// An operator with several outputs, for example `TopK` with its values and indices.
    pub fn ops(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        outputs: usize,
        attributes: &[(&str, Attr)],
    ) -> Vec<Value> {
        let first = self.op(operator, inputs, attributes);
        let rest: Vec<Value> = (1..outputs).map(|_| self.fresh()).collect();
        let node = self.proto.node.last_mut().expect("pushed just now");
        node.output.extend(rest.iter().map(|v| v.0.clone()));
        std::iter::once(first).chain(rest).collect()
    }

    /// `value` with other dimensions; -1 is whatever is left.
    pub fn reshape(&mut self, value: &Value, dims: &[i64]) -> Value {
        let dims = self.ints(dims);
        self.op("Reshape", &[value, &dims], &[])
    }

    /// Gives `value` out of the graph as floats named `name`.
    pub fn output_f32(&mut self, name: &str, value: &Value, dims: &[Dim]) {
        self.node("Identity", &[value], name.into(), &[]);
        self.proto.output.push(value_info(name, DataType::FLOAT, dims));
    }

    /// The finished model file.
    pub fn finish(self, manifest: &Manifest) -> Vec<u8> {
        let json = serde_json::to_string(manifest).expect("a manifest has only string keys");
        let property = StringStringEntryProto { key: MANIFEST_KEY.into(), value: json, ..Default::default() };
        self.write(vec![property])
    }

    /// The finished graph without a manifest: for [`super::Runner::own`], not for a file.
    pub fn finish_bare(self) -> Vec<u8> {
        self.write(vec![])
    }

    fn write(self, metadata_props: Vec<StringStringEntryProto>) -> Vec<u8> {
        let model = ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { version: OPSET, ..Default::default() }],
            producer_name: env!("CARGO_PKG_NAME").into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.proto).into(),
            metadata_props,
            ..Default::default()
        };
        model.write_to_bytes().expect("writing to memory with every field set")
    }

    fn fresh(&mut self) -> Value {
        self.unnamed += 1;
        Value(format!("v{}", self.unnamed))
    }

    fn node(&mut self, operator: &str, inputs: &[&Value], output: String, attributes: &[(&str, Attr)]) {
        self.proto.node.push(NodeProto {
            // Shown by profilers; the output is unique, so the name is too.
            name: format!("{operator}_{output}"),
            op_type: operator.into(),
            input: inputs.iter().map(|v| v.0.clone()).collect(),
            output: vec![output],
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            ..Default::default()
        });
    }
}

fn attribute(name: &str, value: &Attr) -> AttributeProto {
    let mut proto = AttributeProto { name: name.into(), ..Default::default() };
    match value {
        Attr::Int(i) => {
            proto.type_ = AttributeType::INT.into();
            proto.i = *i;
        }
        Attr::Ints(ints) => {
            proto.type_ = AttributeType::INTS.into();
            proto.ints = ints.clone();
        }
        Attr::Float(f) => {
            proto.type_ = AttributeType::FLOAT.into();
            proto.f = *f;
        }
        Attr::Text(text) => {
            proto.type_ = AttributeType::STRING.into();
            proto.s = text.as_bytes().to_vec();
        }
    }
    proto
}

fn value_info(name: &str, element: DataType, dims: &[Dim]) -> ValueInfoProto {
    let mut shape = TensorShapeProto::new();
    for dim in dims {
        let mut d = tensor_shape_proto::Dimension::new();
        match dim {
            Dim::Fixed(size) => d.set_dim_value(*size as i64),
            Dim::Symbol(symbol) => d.set_dim_param((*symbol).into()),
        }
        shape.dim.push(d);
    }
    let mut tensor = type_proto::Tensor::new();
    tensor.elem_type = element as i32;
    tensor.shape = Some(shape).into();
    let mut type_ = TypeProto::new();
    type_.set_tensor_type(tensor);
    ValueInfoProto { name: name.into(), type_: Some(type_).into(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::manifest::tests::extractor_manifest;

    #[test]
    fn a_finished_graph_reads_back_as_it_was_built() {
        let mut g = Graph::new("double");
        let x = g.input_f32("x", &[Dim::Symbol("n"), Dim::Fixed(3)]);
        let two = g.scalar(2.0);
        let y = g.op("Mul", &[&x, &two], &[]);
        let axes = g.ints(&[1]);
        let sum = g.op("ReduceSum", &[&y, &axes], &[("keepdims", 0.into())]);
        g.output_f32("sum", &sum, &[Dim::Symbol("n")]);
        let model = ModelProto::parse_from_bytes(&g.finish(&extractor_manifest())).expect("parses");
        let ops: Vec<&str> = model.graph.node.iter().map(|n| n.op_type.as_str()).collect();
        assert_eq!(ops, ["Mul", "ReduceSum", "Identity"]);
        assert_eq!(model.graph.output[0].name, "sum");
        let manifest: Manifest = serde_json::from_str(&model.metadata_props[0].value).expect("a manifest");
        assert_eq!(manifest, extractor_manifest());
    }
}
