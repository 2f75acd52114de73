//! One member of a source distribution (`.tar.gz`), taken out without unpacking or running anything.

use crate::infer::InferError;
use flate2::read::GzDecoder;
use std::io::{self, Read};

/// No more than this is unpacked: a small archive can describe an endless one.
pub const LARGEST_ARCHIVE: u64 = 256 << 20;

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

fn find(tar: impl Read, member: &str) -> io::Result<Option<Vec<u8>>> {
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        if entry.path_bytes() == member.as_bytes() && entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(Some(content));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn archive() -> Vec<u8> {
        let weights: Vec<u8> = (0..=255).collect();
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content) in [("p/README", [7; 3000].as_slice()), ("p/weights", &weights)] {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content).expect("in memory");
        }
        tar.into_inner().and_then(GzEncoder::finish).expect("in memory")
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
        gzip.write_all(&[b'x'; 1024]).expect("in memory");
        let text = gzip.finish().expect("in memory");
        assert!(refusal(&text, "p/weights").contains("is a damaged .tar.gz: "));
    }
}
