//! PyTorch checkpoints (`torch.save`), both layouts: nothing that they name is ever called.
//!
//! A checkpoint is a pickle of the structure, which [`super::pickle`] reads, and the numbers beside it: since
//! PyTorch 1.6 as stored members of a ZIP file, before that one after the other behind the pickle.

use super::pickle::{Machine, Node, Pickled, Storage, View, What};
use super::{Tensor, element};
use rawzip::{CompressionMethod, ZipArchive};
use std::collections::{BTreeMap, HashMap};

/// How a ZIP file begins.
pub const ZIP: &[u8] = b"PK\x03\x04";
/// How the older layout begins: torch's magic number, pickled.
pub const LEGACY: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";
/// Where a training keeps the weights of its network, beside its own state.
const INSIDE: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// Converted numbers may take so many times the file: views of one storage could describe an endless one.
const LARGEST_COPY: usize = 4;

/// The tensors of a checkpoint by name.
///
/// # Errors
/// Where it is damaged, wants to call something (which is named), or holds anything but a dictionary of tensors.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor<'_>>, String> {
    if bytes.starts_with(LEGACY) { legacy(bytes) } else { zipped(bytes) }
}

fn zipped(bytes: &[u8]) -> Result<BTreeMap<String, Tensor<'_>>, String> {
    let members = members(bytes).map_err(|e| format!("it is truncated or damaged: {e}"))??;
    let top = |name: &&String| name.matches('/').count() == 1 && name.ends_with("/data.pkl");
    let pickle = members.keys().find(top).ok_or("it is a ZIP file without torch's `data.pkl`")?;
    let folder = pickle.trim_end_matches("data.pkl");
    if members.get(&format!("{folder}byteorder")).is_some_and(|order| *order != b"little") {
        return Err("it was written by a big-endian machine".into());
    }
    let pickled = Machine::new(members[pickle]).run()?;
    let data = |key: &str| members.get(&format!("{folder}data/{key}")).copied();
    tensors(&pickled, bytes.len(), data)
}

type Members<'a> = HashMap<String, &'a [u8]>;

/// Every file of a ZIP file; torch compresses none.
fn members(bytes: &[u8]) -> Result<Result<Members<'_>, String>, rawzip::Error> {
    let archive = ZipArchive::from_slice(bytes)?;
    let (mut entries, mut members) = (archive.entries(), Members::new());
    while let Some(entry) = entries.next_entry()? {
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        if entry.compression_method() != CompressionMethod::STORE {
            return Ok(Err(format!("its member `{name}` is compressed, as torch does not write it")));
        }
        let (start, end) = archive.get_entry(entry.wayfinder())?.compressed_data_range();
        // Inside of `bytes`, or `get_entry` would have refused.
        members.insert(name, &bytes[start as usize..end as usize]);
    }
    Ok(Ok(members))
}

fn legacy(bytes: &[u8]) -> Result<BTreeMap<String, Tensor<'_>>, String> {
    let mut rest = &bytes[LEGACY.len()..];
    let mut next = || {
        let pickled = Machine::new(rest).run()?;
        rest = &rest[pickled.length..];
        Ok::<_, String>(pickled)
    };
    // The version of the layout; there has been one.
    next()?;
    let machine = next()?;
    let little = |&(key, value): &(usize, usize)| match (&machine.nodes[key], &machine.nodes[value]) {
        (Node::Text(key), Node::Bool(little)) if key == "little_endian" => Some(*little),
        _ => None,
    };
    if let Node::Dict(entries) = &machine.nodes[machine.root]
        && entries.iter().find_map(little) == Some(false)
    {
        return Err("it was written by a big-endian machine".into());
    }
    let (pickled, keys) = (next()?, next()?);
    let sizes: HashMap<&str, usize> = (pickled.nodes.iter())
        .filter_map(|node| match node {
            Node::Storage(storage) => Some((storage.key.as_str(), storage.element.bytes())),
            _ => None,
        })
        .collect();
    let Node::List(places) = &keys.nodes[keys.root] else {
        return Err("it does not say which storages follow".into());
    };
    let mut data = HashMap::new();
    for &place in places {
        let Node::Text(key) = &keys.nodes[place] else {
            return Err("it does not say which storages follow".into());
        };
        let size = sizes.get(&**key).ok_or_else(|| format!("it has a storage `{key}` of no tensor"))?;
        let cut = || format!("it is truncated in its storage `{key}`");
        let (count, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|n| n.checked_mul(*size));
        let (numbers, after) = length.and_then(|length| after.split_at_checked(length)).ok_or_else(cut)?;
        data.insert(key.to_string(), numbers);
        rest = after;
    }
    tensors(&pickled, bytes.len(), |key| data.get(key).copied())
}

/// The tensors of the weights' dictionary; `data` has the bytes of a storage by its key.
fn tensors<'a>(
    pickled: &Pickled<'a>,
    length: usize,
    data: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<BTreeMap<String, Tensor<'a>>, String> {
    let mut found = BTreeMap::new();
    let mut copied = 0;
    for (name, view) in views(pickled)? {
        let Node::Storage(storage) = &pickled.nodes[view.storage] else {
            return Err(format!("`{name}` is no view of a storage"));
        };
        let bytes = data(&storage.key)
            .ok_or_else(|| format!("`{name}`: its storage `{}` is missing", storage.key))?;
        copied += copy_of(view, storage);
        if copied > length.saturating_mul(LARGEST_COPY) {
            return Err("its tensors describe more numbers than it has".into());
        }
        let tensor =
            element::tensor(view, storage, bytes).map_err(|problem| format!("`{name}`: {problem}"))?;
        if found.insert(name.into(), tensor).is_some() {
            return Err(format!("`{name}` occurs twice"));
        }
    }
    Ok(found)
}

/// Bytes that converting a view may take at most.
fn copy_of(view: &View, storage: &Storage) -> usize {
    let numbers = view.dims.iter().fold(1usize, |n, &d| n.saturating_mul(d));
    // A view of more is refused, whatever it says.
    numbers.min(storage.count) * storage.element.bytes().max(4)
}

/// Names and tensors of the dictionary that is the weights: the file's own, or one that it holds.
fn views<'n>(pickled: &'n Pickled<'_>) -> Result<Vec<(&'n str, &'n View)>, String> {
    let nodes = &pickled.nodes;
    let Node::Dict(mut entries) = nodes[pickled.root].clone() else {
        return Err(format!("it holds {}, not a dictionary of tensors", nodes[pickled.root].what()));
    };
    let inner = INSIDE.iter().find_map(|wanted| {
        entries.iter().find_map(|&(key, value)| match (&nodes[key], &nodes[value]) {
            (Node::Text(key), Node::Dict(inner)) if key == wanted => Some(inner.clone()),
            _ => None,
        })
    });
    entries = inner.unwrap_or(entries);
    let named = entries.into_iter().map(|(key, value)| match (&nodes[key], &nodes[value]) {
        (Node::Text(name), Node::View(view)) => Ok((&**name, view)),
        (Node::Text(name), other) => Err(format!("`{name}` is {}, not a tensor", other.what())),
        (other, _) => Err(format!("a key of its dictionary is {}, not text", other.what())),
    });
    named.collect()
}
