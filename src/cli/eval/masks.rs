//! Masks of the anomalous pixels: NumPy's `.npz` with `masks`, bits packed along the width, and `width`.
//!
//! Only what `np.savez_compressed` writes is read: a ZIP archive of `.npy` members, stored or deflated, with
//! arrays in C order.

use anyhow::{Context, Result, bail, ensure};
use std::io::Read;
use std::path::Path;

/// One bit a pixel and frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Masks {
    frames: usize,
    height: usize,
    width: usize,
    /// Bytes a row of pixels.
    stride: usize,
    /// First pixel in the highest bit, as `np.packbits` has it.
    bits: Vec<u8>,
}

impl Masks {
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{}: is no archive of masks", path.display()))
    }

    fn parse(archive: &[u8]) -> Result<Self> {
        let masks = Array::parse(&member(archive, "masks.npy")?)?;
        let width = Array::parse(&member(archive, "width.npy")?)?;
        let [frames, height, stride] = masks.shape[..] else { bail!("`masks` has not three dimensions") };
        ensure!(masks.descr == "|u1", "`masks` holds {}, not bytes", masks.descr);
        ensure!(width.descr == "<i8" && width.data.len() == 8, "`width` is no integer");
        let width = u64::from_le_bytes(width.data[..8].try_into().expect("eight bytes")) as usize;
        ensure!(width.div_ceil(8) == stride, "a width of {width} does not fit {stride} bytes a row");
        ensure!(masks.data.len() == frames * height * stride, "`masks` is cut short");
        Ok(Self { frames, height, width, stride, bits: masks.data })
    }

    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Whether any pixel of the frame is set within the part of the picture from (left, top) to
    /// (right, bottom), each a share from 0 to 1.
    pub fn touches(&self, frame: usize, (left, top): (f64, f64), (right, bottom): (f64, f64)) -> bool {
        let span = |from: f64, to: f64, size: usize| {
            let from = (from * size as f64).floor() as usize;
            from.min(size)..((to * size as f64).ceil() as usize).min(size)
        };
        let columns = span(left, right, self.width);
        span(top, bottom, self.height).any(|y| columns.clone().any(|x| self.get(frame, y, x)))
    }

    /// Whether any pixel of the frame is set.
    pub fn any(&self, frame: usize) -> bool {
        let size = self.height * self.stride;
        self.bits[frame * size..(frame + 1) * size].iter().any(|b| *b != 0)
    }

    fn get(&self, frame: usize, y: usize, x: usize) -> bool {
        let byte = self.bits[(frame * self.height + y) * self.stride + x / 8];
        byte >> (7 - x % 8) & 1 == 1
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<usize> {
    let two = bytes.get(at..at + 2).context("cut short")?;
    Ok(usize::from(u16::from_le_bytes(two.try_into().expect("two bytes"))))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize> {
    let four = bytes.get(at..at + 4).context("cut short")?;
    Ok(u32::from_le_bytes(four.try_into().expect("four bytes")) as usize)
}

/// The bytes of one member of a ZIP archive (APPNOTE 4.3: end record, central directory, local header).
fn member(archive: &[u8], name: &str) -> Result<Vec<u8>> {
    let end = archive.windows(4).rposition(|w| w == b"PK\x05\x06").context("it is no ZIP archive")?;
    let mut at = u32_at(archive, end + 16)?;
    for _ in 0..u16_at(archive, end + 10)? {
        ensure!(archive.get(at..at + 4) == Some(b"PK\x01\x02"), "its directory is damaged");
        let (method, packed, size) =
            (u16_at(archive, at + 10)?, u32_at(archive, at + 20)?, u32_at(archive, at + 24)?);
        let (name_length, extra, comment) =
            (u16_at(archive, at + 28)?, u16_at(archive, at + 30)?, u16_at(archive, at + 32)?);
        let local = u32_at(archive, at + 42)?;
        if archive.get(at + 46..at + 46 + name_length) == Some(name.as_bytes()) {
            let data = local + 30 + u16_at(archive, local + 26)? + u16_at(archive, local + 28)?;
            let packed = archive.get(data..data + packed).context("a member is cut short")?;
            let mut bytes = Vec::new();
            match method {
                0 => bytes.extend_from_slice(packed),
                // The size is taken as a bound, so that a small file cannot fill the memory.
                8 => drop(
                    flate2::read::DeflateDecoder::new(packed).take(size as u64).read_to_end(&mut bytes)?,
                ),
                other => bail!("{name} is packed by method {other}, and only deflate is read"),
            }
            ensure!(bytes.len() == size, "{name} is cut short");
            return Ok(bytes);
        }
        at += 46 + name_length + extra + comment;
    }
    bail!("it has no `{name}`")
}

/// A `.npy` file (NumPy's format 1.0 to 3.0).
struct Array {
    descr: String,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Array {
    fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.get(..6) == Some(b"\x93NUMPY"), "a member is no NumPy array");
        let (length, at) = match bytes.get(6) {
            Some(1) => (u16_at(bytes, 8)?, 10),
            _ => (u32_at(bytes, 8)?, 12),
        };
        let header = std::str::from_utf8(bytes.get(at..at + length).context("cut short")?)?;
        let after = |key: &str| -> Result<&str> {
            let rest = header.split_once(key).with_context(|| format!("an array without {key}"))?.1;
            Ok(rest.trim_start_matches([':', ' ']))
        };
        ensure!(after("'fortran_order'")?.starts_with("False"), "an array in Fortran order");
        let descr = after("'descr'")?.trim_start_matches('\'').split('\'').next().unwrap_or_default();
        let shape = after("'shape'")?.trim_start_matches('(').split(')').next().unwrap_or_default();
        let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
        let shape = sizes.map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        Ok(Self { descr: descr.into(), shape, data: bytes[at + length..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `.npy` file of version 1.0.
    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    /// An archive of stored members; checksums are not looked at.
    fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        for (name, data) in members {
            let local = file.len() as u32;
            let size = (data.len() as u32).to_le_bytes();
            let lengths = [(name.len() as u16).to_le_bytes(), [0, 0]].concat();
            file.extend(
                [b"PK\x03\x04".as_slice(), &[0; 14], &size, &size, &lengths, name.as_bytes(), data].concat(),
            );
            let tail = [&[0; 10][..], &local.to_le_bytes(), name.as_bytes()].concat();
            directory.extend([b"PK\x01\x02".as_slice(), &[0; 16], &size, &size, &lengths, &tail].concat());
        }
        let (count, start) = ((members.len() as u16).to_le_bytes(), (file.len() as u32).to_le_bytes());
        let size = (directory.len() as u32).to_le_bytes();
        file.extend(directory);
        file.extend([b"PK\x05\x06".as_slice(), &[0; 4], &count, &count, &size, &start, &[0; 2]].concat());
        file
    }

    /// Two frames of 2 x 10 pixels; in the second, row 1 has its pixels 0 and 9 set.
    fn archive() -> Vec<u8> {
        let bits = [0, 0, 0, 0, 0, 0, 0b1000_0000, 0b0100_0000];
        let width = npy("<i8", "()", &10u64.to_le_bytes());
        zip(&[("masks.npy", npy("|u1", "(2, 2, 2)", &bits)), ("width.npy", width)])
    }

    #[test]
    fn bits_are_where_numpy_puts_them() {
        let masks = Masks::parse(&archive()).expect("masks");
        assert_eq!((masks.frames, masks.height, masks.width), (2, 2, 10));
        let set: Vec<(usize, usize)> =
            (0..2).flat_map(|y| (0..10).map(move |x| (y, x))).filter(|(y, x)| masks.get(1, *y, *x)).collect();
        assert_eq!(set, [(1, 0), (1, 9)]);
        assert!(!masks.any(0) && masks.any(1));
        assert!(masks.touches(1, (0.0, 0.5), (0.1, 1.0)));
        assert!(!masks.touches(1, (0.1, 0.0), (0.9, 1.0)));
        assert!(!masks.touches(1, (0.0, 0.0), (1.0, 0.5)));
    }

    #[test]
    fn what_is_no_masks_is_said() {
        let problem = |bytes: &[u8]| format!("{:#}", Masks::parse(bytes).expect_err("refused"));
        assert!(problem(b"text").contains("it is no ZIP archive"));
        let width = || npy("<i8", "()", &10u64.to_le_bytes());
        assert!(problem(&zip(&[("width.npy", width())])).contains("it has no `masks.npy`"));
        let short = npy("|u1", "(2, 2, 2)", &[0; 7]);
        assert!(problem(&zip(&[("masks.npy", short), ("width.npy", width())])).contains("cut short"));
        let floats = npy("<f4", "(2, 2, 2)", &[0; 32]);
        assert!(problem(&zip(&[("masks.npy", floats), ("width.npy", width())])).contains("holds <f4"));
    }
}
