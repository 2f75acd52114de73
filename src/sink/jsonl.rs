//! A file with a line of JSON for each announcement: synced before it counts as told, moved on when it is large.

use super::{Deliver, Delivered, Then, message};
use crate::config::Jsonl;
use crate::store::Letter;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// The end of a file that is looked through for the end of its last whole line.
const LONGEST_LINE: u64 = 1 << 20;

pub(super) struct File {
    path: PathBuf,
    max_size: u64,
    keep_files: usize,
    /// The file, and how much of it is whole lines.
    open: Option<(fs::File, u64)>,
}

impl File {
    pub(super) fn new(to: &Jsonl) -> Self {
        Self { path: to.path.clone(), max_size: to.max_size, keep_files: to.keep_files, open: None }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let (mut file, whole) = match self.open.take() {
            Some(open) => open,
            None => self.open_whole()?,
        };
        let (mut file, whole) = if whole > 0 && whole + lines.len() as u64 > self.max_size {
            file.flush()?;
            drop(file);
            self.move_on()?;
            self.open_whole()?
        } else {
            (file, whole)
        };
        file.write_all(lines)?;
        file.sync_data()?;
        self.open = Some((file, whole + lines.len() as u64));
        Ok(())
    }

    /// Opens the file, and removes a last line that a crash or a full disk left unfinished: it is delivered again.
    fn open_whole(&self) -> io::Result<(fs::File, u64)> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(LONGEST_LINE)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        let torn = end.len() - end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = size - torn as u64;
        if torn > 0 {
            file.set_len(whole)?;
        }
        Ok((file, whole))
    }

    fn move_on(&self) -> io::Result<()> {
        let numbered = |n: usize| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        if self.keep_files == 0 {
            return fs::remove_file(&self.path);
        }
        for n in (1..self.keep_files).rev() {
            match fs::rename(numbered(n), numbered(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

impl Deliver for File {
    fn deliver(&mut self, letters: &[&Letter]) -> Delivered {
        let mut lines = Vec::new();
        for letter in letters {
            lines.extend_from_slice(message(letter).to_string().as_bytes());
            lines.push(b'\n');
        }
        match self.append(&lines) {
            Ok(()) => Delivered { taken: letters.len(), then: Then::Done },
            Err(error) => {
                let why = format!("{}: {error} (let the daemon write there)", self.path.display());
                Delivered { taken: 0, then: Then::Later(why) }
            }
        }
    }
}
