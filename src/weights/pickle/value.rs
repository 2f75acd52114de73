//! The values that a pickle of weights is made of.

use std::borrow::Cow;

/// Place of a value in the machine's list.
pub type Id = usize;

/// A value. Containers hold places, since the file changes them after it has named them.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A numpy type: byte order and kind, such as `<f4`.
    Kind(String),
    /// `None` until its state comes.
    Array(Option<Array>),
    Storage(Storage),
    View(View),
}

/// A numpy array: where its bytes are.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub dims: Vec<usize>,
    pub kind: String,
    pub data: Id,
}

/// Numbers that torch keeps outside of the pickle, under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    pub element: Element,
    pub key: String,
    /// Numbers in it.
    pub count: usize,
}

/// A torch tensor: a view of a storage. Offset and strides count numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub storage: Id,
    pub offset: usize,
    pub dims: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The type of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F16,
    Bf16,
    F32,
    F64,
    /// Anything that is no weight: its name as numpy writes it, and its bytes.
    Other(&'static str, usize),
}

impl Element {
    /// By the name of torch's storage of it.
    pub fn of_storage(name: &str) -> Option<Self> {
        Some(match name {
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "LongStorage" => Self::Other("<i8", 8),
            "IntStorage" => Self::Other("<i4", 4),
            "ShortStorage" => Self::Other("<i2", 2),
            "CharStorage" => Self::Other("|i1", 1),
            "ByteStorage" => Self::Other("|u1", 1),
            "BoolStorage" => Self::Other("|b1", 1),
            _ => return None,
        })
    }

    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Other(_, bytes) => bytes,
        }
    }
}

/// The names that mean something; none of them is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    Reconstruct,
    NdArray,
    Dtype,
    /// `_codecs.encode(text, "latin1")`: how older protocols write bytes.
    Encode,
    OrderedDict,
    /// `torch.Size(tuple)`.
    Size,
    /// `(storage, offset, size, stride, ...)`.
    RebuildTensor,
    /// `(tensor, ...)`.
    RebuildParameter,
    StorageOf(Element),
}

/// What a value is, for messages.
pub trait What {
    fn what(&self) -> &'static str;
}

impl What for Node<'_> {
    fn what(&self) -> &'static str {
        match self {
            Node::None => "nothing",
            Node::Bool(_) => "a truth value",
            Node::Int(_) | Node::Float => "a number",
            Node::Text(_) => "text",
            Node::Bytes(_) => "bytes",
            Node::Tuple(_) => "a tuple",
            Node::List(_) => "a list",
            Node::Dict(_) => "a dictionary",
            Node::Global(_) | Node::Kind(_) => "a type",
            Node::Array(_) => "an array",
            Node::Storage(_) => "a storage",
            Node::View(_) => "a tensor",
        }
    }
}
