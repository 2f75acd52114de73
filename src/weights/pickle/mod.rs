//! Python pickles of dictionaries of arrays, and of nothing else: no name of the file is ever called.
//!
//! A pickle is a program for a small stack machine (Python's `pickletools` describes it), and one of its
//! instructions calls any function by name. This machine knows no functions. A few names, which numpy's and torch's
//! own pickles hold, mark what follows as an array, a type of numbers or text for bytes; every other is refused.

mod calls;
mod machine;
mod value;

pub use machine::{Machine, Pickled};
pub use value::{Element, Node, Storage, View, What};

use super::{Tensor, Tensors};
use crate::infer::InferError;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use value::{Array, Id};

/// Dictionaries in dictionaries.
const DEEPEST: usize = 32;

/// Reads the arrays of a pickled dictionary, or of dictionaries in it; their names are the keys on the way,
/// joined by `/`. Pickle protocols 0 to 4. Memory is bounded by the size of `bytes`; `file` is for messages.
///
/// # Errors
/// Where the file is truncated, wants to call something (which is named), or holds anything but arrays.
pub fn read_pickle<'a>(file: &str, bytes: &'a [u8]) -> Result<Tensors<'a>, InferError> {
    let tensors = Machine::new(bytes).run().and_then(|Pickled { nodes, root, .. }| {
        let mut walk = Walk { nodes, seen: HashSet::new(), found: BTreeMap::new() };
        walk.down(root, "", 0)?;
        Ok(walk.found)
    });
    let remedy = "name a checkpoint that holds a dictionary of numpy arrays";
    tensors.map(|t| Tensors::new(file, t)).map_err(|problem| InferError::new(file, problem, remedy))
}

/// A walk through the dictionaries.
struct Walk<'a> {
    nodes: Vec<Node<'a>>,
    /// Everything is visited once, or a small file could describe an endless one.
    seen: HashSet<Id>,
    found: BTreeMap<String, Tensor<'a>>,
}

impl<'a> Walk<'a> {
    fn down(&mut self, id: Id, name: &str, depth: usize) -> Result<(), String> {
        if depth > DEEPEST || !self.seen.insert(id) {
            return Err(format!("`{name}` occurs in several places, or inside itself"));
        }
        match std::mem::replace(&mut self.nodes[id], Node::None) {
            Node::Dict(entries) => {
                for (key, value) in entries {
                    let Node::Text(key) = &self.nodes[key] else {
                        return Err(format!("a key in `{name}` is {}, not text", self.nodes[key].what()));
                    };
                    let name = if name.is_empty() { key.to_string() } else { format!("{name}/{key}") };
                    self.down(value, &name, depth + 1)?;
                }
                Ok(())
            }
            Node::Array(Some(array)) if depth > 0 => {
                let tensor = self.tensor(name, array)?;
                match self.found.insert(name.into(), tensor) {
                    None => Ok(()),
                    Some(_) => Err(format!("`{name}` occurs twice")),
                }
            }
            other if depth == 0 => Err(format!("it holds {}, not a dictionary of arrays", other.what())),
            other => Err(format!("`{name}` is {}, not an array", other.what())),
        }
    }

    fn tensor(&mut self, name: &str, array: Array) -> Result<Tensor<'a>, String> {
        let Array { dims, kind, data } = array;
        let bytes = match &mut self.nodes[data] {
            Node::Bytes(Cow::Borrowed(bytes)) => Cow::Borrowed(*bytes),
            // A copy: the first array that wants it has it.
            Node::Bytes(owned) => std::mem::take(owned),
            other => return Err(format!("the numbers of `{name}` are {}, not bytes", other.what())),
        };
        let size: Option<usize> = kind.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok();
        let wanted = size.and_then(|size| dims.iter().try_fold(size, |n, &d| n.checked_mul(d)));
        if wanted != Some(bytes.len()) {
            let count = bytes.len();
            return Err(format!("`{name}` of {dims:?} numbers of type {kind} has {count} bytes"));
        }
        Ok(Tensor { dims, kind, bytes })
    }
}

#[cfg(test)]
mod tests;
