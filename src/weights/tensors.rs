//! The tensors of a weight file by name, and the check that they are those that a network has.

use crate::infer::InferError;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// So many names are said of a file that does not fit; the rest is counted.
const NAMED: usize = 8;

/// One array as the file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<'a> {
    pub dims: Vec<usize>,
    /// As numpy writes it, byte order first: `<f4` is a little-endian 32-bit float.
    pub kind: String,
    /// Row-major.
    pub bytes: Cow<'a, [u8]>,
}

/// Every tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensors<'a> {
    file: String,
    tensors: BTreeMap<String, Tensor<'a>>,
}

impl<'a> Tensors<'a> {
    /// `file` names them in messages.
    pub fn new(file: &str, tensors: BTreeMap<String, Tensor<'a>>) -> Self {
        Self { file: file.into(), tensors }
    }

    /// Checks that the file holds exactly the tensors of `network`, by name and dimensions, all of 32-bit floats.
    ///
    /// # Errors
    /// Names every tensor that is missing, that the network does not have, or that has another shape or type.
    pub fn check(&self, network: &str, wanted: &[(String, Vec<usize>)]) -> Result<(), InferError> {
        let names: BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let mut misfits = Vec::new();
        for (name, dims) in wanted {
            match self.tensors.get(name) {
                None => misfits.push(format!("`{name}` is missing")),
                Some(tensor) if tensor.dims != *dims => {
                    misfits.push(format!("`{name}` is {:?}, not {dims:?}", tensor.dims));
                }
                Some(tensor) if tensor.kind != "<f4" => {
                    misfits.push(format!("`{name}` has numbers of type {}, not <f4", tensor.kind));
                }
                Some(_) => {}
            }
        }
        let extra = self.tensors.keys().filter(|name| !names.contains(name.as_str()));
        misfits.extend(extra.map(|name| format!("`{name}` is none of its tensors")));
        if misfits.is_empty() {
            return Ok(());
        }
        let rest = misfits.len().saturating_sub(NAMED);
        misfits.truncate(NAMED);
        let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
        let problem = format!("these are not the weights of {network}: {}{more}", misfits.join("; "));
        Err(InferError::new(&self.file, problem, format!("name a checkpoint of {network}")))
    }

    /// The numbers of a tensor, row-major.
    ///
    /// # Panics
    /// If [`Tensors::check`] has not passed a list with it.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        let tensor = self.tensors.get(name).expect("checked before");
        let numbers = tensor.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        numbers.collect()
    }

    /// Leaves out the tensors whose names `which` chooses: those that an extractor does without.
    pub fn leave_out(&mut self, which: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !which(name));
    }

    /// Gives every tensor the name that `name` makes of its own.
    pub fn rename(&mut self, name: impl Fn(&str) -> String) {
        let tensors = std::mem::take(&mut self.tensors);
        self.tensors = tensors.into_iter().map(|(old, tensor)| (name(&old), tensor)).collect();
    }

    /// Names and tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<'a>)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dims: &[usize], kind: &str) -> Tensor<'static> {
        let count: usize = dims.iter().product();
        Tensor { dims: dims.into(), kind: kind.into(), bytes: vec![0; 4 * count].into() }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let held = [
            ("a", tensor(&[2], "<f4")),
            ("b", tensor(&[2, 3], "<f4")),
            ("c", tensor(&[1], "<i4")),
            ("z", tensor(&[], "<f4")),
        ];
        let tensors = Tensors::new("w.ckpt", held.map(|(n, t)| (n.to_string(), t)).into());
        let wanted = |list: &[(&str, &[usize])]| -> Vec<(String, Vec<usize>)> {
            list.iter().map(|(name, dims)| (name.to_string(), dims.to_vec())).collect()
        };
        let list = wanted(&[("a", &[2]), ("b", &[3, 2]), ("c", &[1]), ("d", &[5])]);
        let message = tensors.check("toy", &list).expect_err("refused").to_string();
        for part in [
            "w.ckpt: these are not the weights of toy: `b` is [2, 3], not [3, 2]; ",
            "`c` has numbers of type <i4, not <f4; ",
            "`d` is missing; ",
            "`z` is none of its tensors (",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let many: Vec<_> = (0..20).map(|i| (format!("m{i}"), vec![1])).collect();
        let message = tensors.check("toy", &many).expect_err("refused").to_string();
        assert!(message.contains("`m7` is missing; and 16 more ("), "{message}");
    }
}
