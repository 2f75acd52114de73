//! Files that are either whole or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a whole file or none: a temporary file beside it, synced, then renamed over `path`.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("no file name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = dir.join(hidden);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        // The rename itself is on disk only once the folder is.
        .and_then(|()| File::open(dir)?.sync_all());
    if written.is_err() {
        // Best effort: what matters is the error that is reported.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_neither_file_nor_rest() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("m.onnx");
        write_atomically(&path, b"one").expect("written");
        write_atomically(&path, b"two").expect("replaced");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        fs::create_dir(dir.path().join("taken")).expect("a folder");
        fs::write(dir.path().join("taken/x"), b"").expect("not empty");
        assert!(write_atomically(&dir.path().join("taken"), b"three").is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 2);
    }
}
