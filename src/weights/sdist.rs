//! One member of a source distribution (`.tar.gz`), taken out without unpacking or running anything.

use crate::infer::InferError;
use flate2::read::GzDecoder;
use std::io::{self, Read};

/// No more than this is unpacked: a small archive can describe an endless one.
pub const LARGEST_ARCHIVE: u64 = 256 << 20;

/// Headers and contents fill whole blocks.
const BLOCK: usize = 512;

/// The bytes of the file `member` in the archive `bytes`, which `archive` names in messages.
///
/// # Errors
/// Where the archive is damaged or too large, or has no such file.
pub fn member(archive: &str, bytes: &[u8], member: &str) -> Result<Vec<u8>, InferError> {
    let refuse = |problem: String| InferError::new(archive, problem, "bring the archive again");
    match find(GzDecoder::new(bytes).take(LARGEST_ARCHIVE), member) {
        Ok(Some(content)) => Ok(content),
        Ok(None) => Err(refuse(format!("has no file `{member}`"))),
        Err(e) => Err(refuse(format!("is a damaged .tar.gz: {e}"))),
    }
}

/// Reads headers (POSIX `ustar`) up to the one of `member`, then its content.
fn find(mut tar: impl Read, member: &str) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; BLOCK];
    loop {
        tar.read_exact(&mut header)?;
        // A block of zeros ends it.
        if header.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(i, &b)| if (148..156).contains(&i) { 32 } else { b.into() })
            .sum();
        let (size, stated) = (octal(&header[124..136]), octal(&header[148..156]));
        let (Some(size), true) = (size, stated == Some(sum)) else {
            return Err(io::Error::other("a header is not as `tar` writes it"));
        };
        let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
        let path = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        // Its contents and what fills up the last block.
        let mut rest = tar.by_ref().take(size.next_multiple_of(BLOCK as u64));
        if path == member.as_bytes() && matches!(header[156], b'0' | 0) {
            let mut content = Vec::new();
            rest.take(size).read_to_end(&mut content)?;
            return match content.len() as u64 == size {
                true => Ok(Some(content)),
                false => Err(io::Error::other(format!("`{member}` is cut off"))),
            };
        }
        io::copy(&mut rest, &mut io::sink())?;
    }
}

/// Up to the first zero.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// A number of a header; larger files than its digits can say are larger than any that is read.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text(field)).ok()?;
    u64::from_str_radix(digits.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn entry(prefix: &str, name: &str, content: &[u8]) -> Vec<u8> {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(124, &format!("{:011o}", content.len()));
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        put(345, prefix);
        let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let filled = content.len().next_multiple_of(BLOCK);
        [header.as_slice(), content, &vec![0; filled - content.len()]].concat()
    }

    fn archive() -> Vec<u8> {
        let weights: Vec<u8> = (0..=255).collect();
        let tar =
            [entry("", "p/README", &[7; 3000]), entry("p", "weights", &weights), vec![0; 2 * BLOCK]].concat();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).expect("in memory");
        gzip.finish().expect("in memory")
    }

    #[test]
    fn one_member_is_taken_out_and_damage_is_said() {
        let whole = archive();
        assert_eq!(member("p.tar.gz", &whole, "p/weights").expect("there"), (0..=255).collect::<Vec<u8>>());
        let refusal =
            |bytes: &[u8], name: &str| member("p.tar.gz", bytes, name).expect_err("refused").to_string();
        assert!(refusal(&whole, "p/other").contains("p.tar.gz: has no file `p/other` ("));
        assert!(refusal(b"no gzip", "p/weights").contains("is a damaged .tar.gz: "));
        for length in [whole.len() / 2, whole.len() / 8] {
            assert!(refusal(&whole[..length], "p/weights").contains("damaged"));
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&[b'x'; 2 * BLOCK]).expect("in memory");
        let text = gzip.finish().expect("in memory");
        assert!(refusal(&text, "p/weights").contains("a header is not as `tar` writes it"));
    }
}
