//! What files of equal records have in common: a header that says what they are of, numbers in half precision, and
//! checksums that tell a torn record from a whole one.

use super::{StoreError, write_atomically};
use half::f16;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a file to be read and written. One that does not fit (made for other features, or damaged) is replaced by one
/// with this header alone, and the log says so.
pub(super) fn open(path: &Path, header: &[u8], fits: impl Fn(&File) -> bool) -> Result<File, StoreError> {
    let failed = |e: io::Error| StoreError::io(path, &e);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| StoreError::io(dir, &e))?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(failed)?;
    if fits(&file) {
        return Ok(file);
    }
    if file.metadata().map_err(failed)?.len() > 0 {
        tracing::info!(
            file = %path.display(),
            "what was kept does not fit the extractor any more, and is replaced by what comes"
        );
    }
    // A new file, not the old one cut short: whoever reads the old one goes on reading it.
    write_atomically(path, header)?;
    options.open(path).map_err(failed)
}

/// Numbers in half precision, clamped to what that can hold.
pub(super) fn halves(values: &[f32]) -> impl Iterator<Item = u8> {
    let limit = f16::MAX.to_f32();
    values.iter().flat_map(move |value| f16::from_f32(value.clamp(-limit, limit)).to_le_bytes())
}

/// The numbers that [`halves`] wrote.
pub(super) fn from_halves(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32())
}

/// Puts the checksum of what stands before them into the last four bytes.
pub(super) fn seal(bytes: &mut [u8]) {
    let end = bytes.len() - 4;
    let sum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
}

/// Whether that checksum holds.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    let end = bytes.len() - 4;
    u32_at(bytes, end) == crc32fast::hash(&bytes[..end])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_the_largest_are_clamped() {
        let bytes: Vec<u8> = halves(&[0.5, -3.25, 1e9]).collect();
        let found: Vec<f32> = from_halves(&bytes).collect();
        assert_eq!(found, [0.5, -3.25, f16::MAX.to_f32()]);
    }

    #[test]
    fn a_seal_holds_until_a_byte_changes() {
        let mut bytes = [7; 12];
        seal(&mut bytes);
        assert!(is_sealed(&bytes));
        bytes[3] ^= 1;
        assert!(!is_sealed(&bytes));
    }
}
