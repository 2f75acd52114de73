//! What can be told of a file or device before GStreamer tries it, in clearer words than it would find.

use crate::frame::{SourceError, SourceErrorKind};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Checks a location that is a path: there, readable, no folder, and no MP4 that was cut off.
pub(super) fn check(source: &gst::Element, location: &str) -> Result<(), SourceError> {
    let is_path = source.factory().is_some_and(|f| ["filesrc", "v4l2src"].contains(&f.name().as_str()));
    if !is_path {
        return Ok(());
    }
    let error = |kind, message: &str, remedy: &str| SourceError {
        kind,
        message: format!("{location}: {message}"),
        remedy: remedy.into(),
    };
    let path = Path::new(location);
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => {
            error(SourceErrorKind::Unreachable, "permission denied", "let the daemon's user read it")
        }
        _ => error(SourceErrorKind::NotFound, "no such file or device", "check the camera's `location`"),
    })?;
    if meta.is_dir() {
        return Err(error(SourceErrorKind::NotFound, "is a folder, not a video", "name one file"));
    }
    let mut file = File::open(path).map_err(|e| {
        error(
            SourceErrorKind::Unreachable,
            &format!("cannot be opened: {e}"),
            "let the daemon's user read it (for a device: the group `video`)",
        )
    })?;
    if !meta.is_file() {
        return Ok(());
    }
    if meta.len() == 0 {
        return Err(error(SourceErrorKind::NoVideo, "the file is empty", "record or copy it again"));
    }
    // A file that cannot be read through is left to GStreamer to complain about.
    match mp4_damage(&mut file, meta.len()) {
        Ok(Some(damage)) => Err(error(SourceErrorKind::Broken, &damage, "copy or record it again")),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Walks the top-level boxes of an ISO base media file (ISO/IEC 14496-12, 4.2): `Some` where the file ends
/// inside a box or has no index (`moov`), `None` where it is whole or no such file.
fn mp4_damage(file: &mut (impl Read + Seek), length: u64) -> std::io::Result<Option<String>> {
    let (mut at, mut has_index) = (0, false);
    while at < length {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        let available = (length - at).min(16) as usize;
        file.read_exact(&mut head[..available])?;
        if at == 0 && &head[4..8] != b"ftyp" {
            return Ok(None);
        }
        let kind = String::from_utf8_lossy(&head[4..8]).into_owned();
        let size = match u32::from_be_bytes(head[..4].try_into().expect("four bytes")) {
            0 => length - at, // to the end of the file
            1 => u64::from_be_bytes(head[8..].try_into().expect("eight bytes")),
            n => n.into(),
        };
        if size < 8 || available < 8 {
            return Ok(Some(format!("damaged MP4: no valid box at byte {at} of {length}")));
        }
        has_index |= kind == "moov";
        if size > length - at {
            return Ok(Some(format!(
                "MP4 cut off: {} of {size} bytes of its `{kind}` box are there{}",
                length - at,
                if has_index { "" } else { ", and its index (`moov`) is missing" }
            )));
        }
        at += size;
    }
    Ok((!has_index).then(|| "MP4 without an index (`moov`): the recording was not finished".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn mp4(boxes: &[(&[u8; 4], usize)]) -> Vec<u8> {
        boxes
            .iter()
            .flat_map(|(kind, body)| {
                [&(8 + *body as u32).to_be_bytes()[..], &kind[..], &vec![0; *body]].concat()
            })
            .collect()
    }

    fn damage(bytes: &[u8]) -> Option<String> {
        mp4_damage(&mut Cursor::new(bytes), bytes.len() as u64).expect("memory can be read")
    }

    #[test]
    fn a_whole_mp4_and_other_files_pass() {
        assert_eq!(damage(&mp4(&[(b"ftyp", 16), (b"moov", 90), (b"mdat", 500)])), None);
        assert_eq!(damage(&mp4(&[(b"ftyp", 16), (b"mdat", 500), (b"moov", 90)])), None);
        assert_eq!(damage(b"just a text that is long enough"), None);
        assert_eq!(damage(b"short"), None);
    }

    #[test]
    fn a_cut_anywhere_inside_a_box_is_noticed() {
        // Ends at 24 and 122 fall between boxes: without an index the first, a legal file the second.
        let whole = mp4(&[(b"ftyp", 16), (b"moov", 90), (b"mdat", 500)]);
        assert!(damage(&whole[..24]).is_some());
        for end in (9..whole.len()).filter(|end| ![24, 122].contains(end)) {
            assert!(damage(&whole[..end]).is_some(), "cut at {end} of {}", whole.len());
        }
        let end_index = mp4(&[(b"ftyp", 16), (b"mdat", 500), (b"moov", 90)]);
        assert!(damage(&end_index[..200]).expect("damaged").contains("`moov`"));
    }
}
