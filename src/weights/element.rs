//! Numbers of a weight file as 32-bit floats in row-major order.

use super::Tensor;
use super::pickle::{Element, Storage, View};
use half::{bf16, f16};
use std::borrow::Cow;

/// The part of a storage that a view shows, as a tensor; floats become 32-bit floats.
///
/// # Errors
/// Where the view leaves the storage, or shows a number of it several times: neither is a weight.
pub fn tensor<'a>(view: &View, storage: &Storage, data: &'a [u8]) -> Result<Tensor<'a>, String> {
    let View { offset, dims, strides, .. } = view;
    let Storage { element, count, key } = storage;
    let size = element.bytes();
    if count.checked_mul(size) != Some(data.len()) {
        return Err(format!("its storage `{key}` of {count} numbers has {} bytes", data.len()));
    }
    let numbers = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let last = (dims.iter().zip(strides))
        .try_fold(*offset, |at, (&dim, &stride)| at.checked_add(dim.saturating_sub(1).checked_mul(stride)?));
    let (Some(numbers), Some(last)) = (numbers, last) else {
        return Err(format!("it has {dims:?} numbers"));
    };
    if numbers == 0 {
        return Ok(floats(*element, dims.clone(), Cow::Borrowed(&[])));
    }
    if last >= *count || numbers > *count {
        return Err(format!("it shows {numbers} numbers, up to number {last}, of a storage of {count}"));
    }
    let bytes = if row_major(dims, strides) {
        Cow::Borrowed(&data[offset * size..(offset + numbers) * size])
    } else {
        Cow::Owned(gathered(view, numbers, size, data))
    };
    Ok(floats(*element, dims.clone(), bytes))
}

/// Floats of any width as 32-bit floats; other numbers as they are.
pub fn floats(element: Element, dims: Vec<usize>, bytes: Cow<'_, [u8]>) -> Tensor<'_> {
    let (kind, bytes) = match element {
        Element::F32 => ("<f4", bytes),
        Element::F16 => ("<f4", each(&bytes, |b| f16::from_le_bytes(b).to_f32())),
        Element::Bf16 => ("<f4", each(&bytes, |b| bf16::from_le_bytes(b).to_f32())),
        Element::F64 => ("<f4", each(&bytes, |b| f64::from_le_bytes(b) as f32)),
        Element::Other(kind, _) => (kind, bytes),
    };
    Tensor { dims, kind: kind.into(), bytes }
}

fn each<const N: usize>(bytes: &[u8], float: impl Fn([u8; N]) -> f32) -> Cow<'static, [u8]> {
    let mut out = Vec::with_capacity(bytes.len() / N * 4);
    for &number in bytes.as_chunks::<N>().0 {
        out.extend_from_slice(&float(number).to_le_bytes());
    }
    out.into()
}

fn row_major(dims: &[usize], strides: &[usize]) -> bool {
    let mut step = 1;
    for (&dim, &stride) in dims.iter().zip(strides).rev() {
        if dim > 1 && stride != step {
            return false;
        }
        step *= dim;
    }
    true
}

/// The numbers of a view inside of its storage, last dimension fastest.
fn gathered(view: &View, numbers: usize, size: usize, data: &[u8]) -> Vec<u8> {
    let View { dims, strides, .. } = view;
    let mut out = Vec::with_capacity(numbers * size);
    let (mut at, mut index) = (view.offset, vec![0; dims.len()]);
    for _ in 0..numbers {
        out.extend_from_slice(&data[at * size..(at + 1) * size]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            at -= strides[axis] * dims[axis];
            index[axis] = 0;
        }
    }
    out
}
