//! A user's weight file, whatever wrote it: PyTorch or safetensors, told apart by their first bytes.

use super::pickle::Element;
use super::{Tensor, Tensors, element, torch};
use crate::infer::InferError;
use safetensors::{Dtype, SafeTensors};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Before every name where the network was trained on several devices.
const PARALLEL: &str = "module.";

const SAVE: &str =
    "save the weights alone, with a current PyTorch: torch.save(model.state_dict(), \"weights.pth\")";

/// No file of a network that is known here is larger: a recording named by mistake is not read into memory.
const LARGEST: u64 = 4 << 30;

/// Reads a weight file whole.
///
/// # Errors
/// Where it cannot be read, or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, InferError> {
    let refuse = |problem: String| InferError::new(path.display().to_string(), problem, "check the path");
    let length = std::fs::metadata(path).map_err(|e| refuse(format!("cannot be read: {e}")))?.len();
    if length > LARGEST {
        return Err(refuse(format!("is no weight file: it has {length} bytes")));
    }
    std::fs::read(path).map_err(|e| refuse(format!("cannot be read: {e}")))
}

/// Reads the tensors of a PyTorch checkpoint (`.pth`, `.pt`: a dictionary of tensors, or one that a training
/// keeps under `state_dict`, `model_state_dict` or `model`) or of a safetensors file. Floats of any width become
/// 32-bit floats; a prefix `module.` that all names have is left out. `file` is for messages.
///
/// # Errors
/// Where the file is neither, is damaged, or wants to call something (which is named).
pub fn read_checkpoint<'a>(file: &str, bytes: &'a [u8]) -> Result<Tensors<'a>, InferError> {
    let refuse = |problem: String, remedy: &str| InferError::new(file, problem, remedy);
    let tensors = if bytes.starts_with(torch::ZIP) || bytes.starts_with(torch::LEGACY) {
        torch::read(bytes).map_err(|problem| refuse(problem, SAVE))?
    } else if bytes.get(8) == Some(&b'{') {
        safetensors(bytes).map_err(|problem| refuse(problem, "copy or make the file again"))?
    } else if bytes.get(257..262) == Some(b"ustar") {
        return Err(refuse("it was written by a PyTorch of before 2017".into(), SAVE));
    } else {
        return Err(refuse("it is neither a PyTorch checkpoint nor a safetensors file".into(), SAVE));
    };
    let bare = |name: String| name.strip_prefix(PARALLEL).map_or(name.clone(), str::to_string);
    let tensors = match tensors.keys().all(|name| name.starts_with(PARALLEL)) {
        true => tensors.into_iter().map(|(name, tensor)| (bare(name), tensor)).collect(),
        false => tensors,
    };
    Ok(Tensors::new(file, tensors))
}

fn safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor<'_>>, String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| format!("it is a truncated or damaged safetensors file: {e}"))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let data = Cow::Borrowed(view.data());
        tensors.insert(name, element::floats(element_of(view.dtype()), view.shape().to_vec(), data));
    }
    Ok(tensors)
}

fn element_of(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::I64 => Element::Other("<i8", 8),
        _ => Element::Other("other", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: &[u8] = include_bytes!("../../tests/golden/checkpoints/weights.pth");
    const LEGACY: &[u8] = include_bytes!("../../tests/golden/checkpoints/legacy.pth");
    const TRAINING: &[u8] = include_bytes!("../../tests/golden/checkpoints/training.pth");
    const LEGACY_TRAINING: &[u8] = include_bytes!("../../tests/golden/checkpoints/training-legacy.pth");
    const SAFETENSORS: &[u8] = include_bytes!("../../tests/golden/checkpoints/weights.safetensors");

    fn refusal(bytes: &[u8]) -> String {
        read_checkpoint("w.pth", bytes).expect_err("refused").to_string()
    }

    /// What `tests/golden/checkpoints.py` saved; `strided` only in PyTorch's own files.
    fn assert_weights(bytes: &[u8], strided: bool) {
        let mut tensors = read_checkpoint("w.pth", bytes).expect("read");
        let counter = tensors.iter().find(|(name, _)| *name == "norm.num_batches_tracked").expect("there").1;
        assert_eq!((counter.kind.as_str(), &*counter.bytes), ("<i8", [3, 0, 0, 0, 0, 0, 0, 0].as_slice()));
        tensors.leave_out(|name| name.ends_with("num_batches_tracked"));
        let mut wanted: Vec<(&str, &[usize], &[f32])> = vec![
            ("plain", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            ("half", &[2], &[0.5, -2.0]),
            ("bfloat", &[2], &[1.5, 3.0]),
            ("double", &[1, 1], &[0.25]),
            ("empty", &[0, 3], &[]),
            ("scalar", &[], &[7.0]),
        ];
        let last: [f32; 16] = std::array::from_fn(|i| i as f32);
        if strided {
            wanted.extend([
                ("turned", [3, 2].as_slice(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0].as_slice()),
                ("part", &[2, 2, 2], &[4.0, 6.0, 8.0, 10.0, 16.0, 18.0, 20.0, 22.0]),
                ("tail", &[4], &[20.0, 21.0, 22.0, 23.0]),
                ("last", &[1, 2, 2, 4], &last),
                ("learned", &[2], &[1.0, 2.0]),
            ]);
        }
        let shapes: Vec<_> = wanted.iter().map(|(name, dims, _)| (name.to_string(), dims.to_vec())).collect();
        tensors.check("toy", &shapes).expect("exactly these");
        for (name, _, numbers) in wanted {
            assert_eq!(tensors.floats(name), numbers, "{name}");
        }
    }

    #[test]
    fn files_of_torch_and_of_safetensors_are_read() {
        for bytes in [WEIGHTS, LEGACY, TRAINING, LEGACY_TRAINING] {
            assert_weights(bytes, true);
        }
        assert_weights(SAFETENSORS, false);
    }

    #[test]
    fn files_that_want_to_run_something_are_refused_by_name() {
        for bytes in [
            include_bytes!("../../tests/golden/checkpoints/evil.pth").as_slice(),
            include_bytes!("../../tests/golden/checkpoints/evil-legacy.pth"),
        ] {
            let message = refusal(bytes);
            assert!(
                message.contains("w.pth: it wants to run `posix.system`, and a weight file"),
                "{message}"
            );
        }
        let message = refusal(include_bytes!("../../tests/golden/checkpoints/network.pth"));
        for part in ["it wants to run `__main__.Network`", "torch.save(model.state_dict(), \"weights.pth\")"]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        for bytes in [WEIGHTS, LEGACY, SAFETENSORS] {
            for length in 0..bytes.len() {
                let message = refusal(&bytes[..length]);
                assert!(message.starts_with("w.pth: "), "{length}: {message}");
            }
        }
        let middle = |bytes: &[u8]| refusal(&bytes[..bytes.len() - 40]);
        assert!(middle(WEIGHTS).contains("it is truncated or damaged: "), "{}", middle(WEIGHTS));
        assert!(middle(LEGACY).contains("it is truncated in its storage `"), "{}", middle(LEGACY));
        assert!(middle(SAFETENSORS).contains("truncated or damaged safetensors"), "{}", middle(SAFETENSORS));
    }

    #[test]
    fn damaged_bytes_are_refused_or_change_numbers_and_never_panic() {
        for bytes in [WEIGHTS, LEGACY, TRAINING, SAFETENSORS] {
            for at in 0..bytes.len() {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 0xff;
                let _ = read_checkpoint("w.pth", &damaged);
            }
        }
    }

    #[test]
    fn what_is_no_weight_file_is_refused() {
        let expanded = refusal(include_bytes!("../../tests/golden/checkpoints/expanded.pth"));
        assert!(expanded.contains("`weight`: it shows 1000000 numbers, up to number 0, of"), "{expanded}");
        for (bytes, problem) in [
            (b"".as_slice(), "it is neither a PyTorch checkpoint nor a safetensors file"),
            (b"\x08\x08\x12\x0asigmawatch", "it is neither"),
            (include_bytes!("../../Cargo.toml"), "it is neither"),
            (b"PK\x03\x04", "it is truncated or damaged"),
        ] {
            assert!(refusal(bytes).contains(problem), "{problem}: {}", refusal(bytes));
        }
        let none = read_checkpoint("w.pth", b"\x02\0\0\0\0\0\0\0{}").expect("a file without tensors");
        assert_eq!(none.iter().count(), 0);
        // A view that leaves its storage: the offset of `tail`, 20, becomes 21.
        let at = LEGACY.windows(4).position(|w| w == b"QK\x14K").expect("an offset");
        let mut outside = LEGACY.to_vec();
        outside[at + 2] = 21;
        let message = refusal(&outside);
        assert!(
            message.contains("`tail`: it shows 4 numbers, up to number 24, of a storage of 24"),
            "{message}"
        );
    }
}
