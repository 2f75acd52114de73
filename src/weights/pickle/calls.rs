//! What a pickle would call: the few names that mark arrays and tensors, what is made of them, and refusals.

use super::machine::{Machine, Step};
use super::value::{Array, Element, Global, Id, Node, Storage, View, What};

/// Letters of a type of numbers, and parts of its state.
const LONGEST_KIND: usize = 8;
/// Dimensions of an array.
const MOST_DIMS: usize = 32;

impl Machine<'_> {
    /// What would be a call.
    pub(super) fn reduce(&mut self) -> Step {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Node::Tuple(arguments) = &self.nodes[arguments] else {
            return Err("it calls something without arguments".into());
        };
        let first = arguments.first().map(|&id| &self.nodes[id]);
        let second = arguments.get(1).map(|&id| &self.nodes[id]);
        let made = match (&self.nodes[callee], first, second) {
            (Node::Global(Global::Reconstruct), Some(Node::Global(Global::NdArray)), _) => Node::Array(None),
            // Its byte order comes with its state.
            (Node::Global(Global::Dtype), Some(Node::Text(kind)), _) if kind.len() <= LONGEST_KIND => {
                Node::Kind(format!("|{kind}"))
            }
            (Node::Global(Global::Encode), Some(Node::Text(text)), Some(Node::Text(codec))) => {
                if codec != "latin1" {
                    return Err("it has bytes written as something else than latin1".into());
                }
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                let bytes = bytes.ok_or("it has bytes written as text that is not latin1")?;
                self.copied += bytes.len();
                if self.copied > self.bytes.len() {
                    return Err("it describes more bytes than it has".into());
                }
                Node::Bytes(bytes.into())
            }
            (Node::Global(Global::OrderedDict), None, _) => Node::Dict(Vec::new()),
            (Node::Global(Global::Size), Some(Node::Tuple(dims)), _) if dims.len() <= MOST_DIMS => {
                Node::Tuple(dims.clone())
            }
            (Node::Global(Global::RebuildTensor), Some(Node::Storage(_)), _) => {
                Node::View(self.view(arguments)?)
            }
            (Node::Global(Global::RebuildParameter), Some(Node::View(view)), _) => Node::View(view.clone()),
            (other, ..) => return Err(format!("it calls {} as no array does", other.what())),
        };
        self.push(made)
    }

    /// A tensor from `(storage, offset, size, stride, ...)`.
    fn view(&self, arguments: &[Id]) -> Step<View> {
        let parts: Vec<&Node> = arguments.iter().take(4).map(|&id| &self.nodes[id]).collect();
        match parts.as_slice() {
            [_, Node::Int(offset), Node::Tuple(dims), Node::Tuple(strides)]
                if dims.len() <= MOST_DIMS && dims.len() == strides.len() =>
            {
                let offset = usize::try_from(*offset).map_err(|_| format!("it has an offset of {offset}"))?;
                let (dims, strides) = (self.sizes(dims)?, self.sizes(strides)?);
                Ok(View { storage: arguments[0], offset, dims, strides })
            }
            _ => Err("it has a tensor whose shape is none".into()),
        }
    }

    fn sizes(&self, ids: &[Id]) -> Step<Vec<usize>> {
        let size = |&id: &Id| match self.nodes[id] {
            Node::Int(size) => usize::try_from(size).map_err(|_| format!("it has a dimension of {size}")),
            ref other => Err(format!("it has a dimension that is {}", other.what())),
        };
        ids.iter().map(size).collect()
    }

    /// What torch keeps outside: `("storage", type, key, device, count)`, and the part of it in old files.
    pub(super) fn outside(&mut self) -> Step {
        let id = self.pop()?;
        let Node::Tuple(parts) = &self.nodes[id] else {
            return Err(format!("it keeps {} outside of itself", self.nodes[id].what()));
        };
        let parts: Vec<&Node> = parts.iter().take(6).map(|&id| &self.nodes[id]).collect();
        let storage = match parts.as_slice() {
            [
                Node::Text(kind),
                Node::Global(Global::StorageOf(element)),
                Node::Text(key),
                _,
                Node::Int(count),
                rest @ ..,
            ] if kind == "storage" && matches!(rest, [] | [Node::None]) => {
                let count =
                    usize::try_from(*count).map_err(|_| format!("it has a storage of {count} numbers"))?;
                Node::Storage(Storage { element: *element, key: key.to_string(), count })
            }
            _ => return Err("it keeps something outside of itself that is no storage of numbers".into()),
        };
        self.push(storage)
    }

    /// Gives an array or a type its state.
    pub(super) fn build(&mut self) -> Step {
        let (state, target) = (self.pop()?, self.top()?);
        // An ordered dictionary may have attributes: `_metadata` is torch's.
        if let (Node::Dict(_), Node::Dict(_)) = (&self.nodes[target], &self.nodes[state]) {
            return Ok(());
        }
        let Node::Tuple(places) = &self.nodes[state] else {
            return Err(format!("it gives something {} as its state", self.nodes[state].what()));
        };
        let parts: Vec<&Node> = places.iter().take(LONGEST_KIND).map(|&id| &self.nodes[id]).collect();
        let built = match (&self.nodes[target], parts.as_slice()) {
            (Node::Kind(kind), [_, Node::Text(order), Node::None, Node::None, Node::None, ..])
                if ["<", ">", "|", "="].contains(&&**order) =>
            {
                Node::Kind(format!("{order}{}", &kind[1..]))
            }
            (Node::Kind(_), _) => {
                return Err("it has arrays of records, and of numbers alone are read".into());
            }
            (Node::Array(None), [_, Node::Tuple(dims), Node::Kind(kind), Node::Bool(by_column), _])
                if dims.len() <= MOST_DIMS =>
            {
                let dims = self.sizes(dims)?;
                if *by_column && dims.len() > 1 {
                    return Err("it has an array stored column by column, and row by row are read".into());
                }
                Node::Array(Some(Array { dims, kind: kind.clone(), data: places[4] }))
            }
            (other, _) => return Err(format!("it gives {} a state that no array has", other.what())),
        };
        self.nodes[target] = built;
        Ok(())
    }
}

/// What the name means, if anything.
pub fn global(module: &str, name: &str) -> Step<Global> {
    match (module, name) {
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Ok(Global::Reconstruct),
        ("numpy", "ndarray") => Ok(Global::NdArray),
        ("numpy", "dtype") => Ok(Global::Dtype),
        ("_codecs", "encode") => Ok(Global::Encode),
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch", "Size") => Ok(Global::Size),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch" | "torch.cuda", _) => {
            Element::of_storage(name).map(Global::StorageOf).ok_or_else(|| refused(module, name))
        }
        _ => Err(refused(module, name)),
    }
}

pub fn refused(module: &str, name: &str) -> String {
    let name: String = format!("{module}.{name}").chars().take(80).collect();
    format!("it wants to run `{name}`, and a weight file may run nothing")
}
