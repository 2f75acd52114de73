//! The blocks of a detector's watched life on disk: what weeks have taught outlives the program.

use super::StoreError;
use crate::base::write_atomically;
use crate::threshold::{Block, Usual};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A text file: what the blocks are of, then a line a block, appended as it ends.
///
/// Blocks of the last moments before a loss of power may be missing; a line that was cut short is left out when it is
/// read again.
#[derive(Debug)]
pub struct LifeLog {
    path: PathBuf,
}

impl LifeLog {
    /// Opens the file and gives the newest `most` blocks that are of `what` (one line: the model, the rule); those of
    /// anything else are dropped. The file is written anew, without what was dropped.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, what: &str, most: usize) -> Result<(Self, Vec<Block>), StoreError> {
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(StoreError::io(path, &error)),
        };
        let mut blocks: Vec<Block> = match text.split_once('\n') {
            Some((of, rest)) if of == what => {
                rest.split_inclusive('\n').filter_map(|line| block(line.strip_suffix('\n')?)).collect()
            }
            _ => vec![],
        };
        blocks.drain(..blocks.len().saturating_sub(most));
        let mut kept = format!("{what}\n");
        blocks.iter().for_each(|block| kept.push_str(&line(block)));
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| StoreError::io(folder, &error))?;
        write_atomically(path, kept.as_bytes()).map_err(|error| StoreError::io(path, &error))?;
        Ok((Self { path: path.into() }, blocks))
    }

    /// Adds the next block.
    ///
    /// # Errors
    /// When it cannot be written; the ones before are as they were.
    pub fn append(&self, block: &Block) -> Result<(), StoreError> {
        let file = std::fs::OpenOptions::new().append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line(block).as_bytes()))
            .map_err(|error| StoreError::io(&self.path, &error))
    }
}

fn line(block: &Block) -> String {
    let mut line = String::new();
    // To the millisecond; the score as it is.
    write!(line, "{:.3} {:.3} {}", block.from, block.to, block.level).expect("a string takes everything");
    if let Some(Usual { mu, sigma }) = block.usual {
        write!(line, " {} {mu} {sigma}", block.peak).expect("a string takes everything");
    }
    line + "\n"
}

fn block(line: &str) -> Option<Block> {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse::<f64>().ok().filter(|n| n.is_finite());
    let (from, to, level) = (number()?, number()?, number()?);
    // Files from before times of the day counted have the first three.
    let peak = number().unwrap_or(level);
    let usual = number().zip(number()).map(|(mu, sigma)| Usual { mu, sigma });
    let (level, peak) = (level as f32, peak as f32);
    (words.next().is_none() && from <= to).then_some(Block { from, to, level, peak, usual })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(i: usize) -> Block {
        let from = 1e9 + 30.0 * i as f64;
        // Every other one as before times of the day counted.
        let usual = i.is_multiple_of(2).then_some(Usual { mu: 0.1 * i as f64, sigma: 0.3 });
        let level = 0.1 * i as f32;
        Block { from, to: from + 30.0, level, peak: level + usual.map_or(0.0, |_| 0.5), usual }
    }

    #[test]
    fn blocks_are_read_back_and_the_oldest_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("gate/main.life");
        let (log, before) = LifeLog::open(&path, "model a", 5).expect("opens");
        assert!(before.is_empty());
        (0..8).for_each(|i| log.append(&block(i)).expect("written"));
        let (log, found) = LifeLog::open(&path, "model a", 5).expect("opens");
        assert_eq!(found, (3..8).map(block).collect::<Vec<_>>());
        log.append(&block(8)).expect("written");
        assert_eq!(LifeLog::open(&path, "model a", 50).expect("opens").1.len(), 6);
        assert!(LifeLog::open(&path, "model b", 50).expect("opens").1.is_empty(), "another model's scores");
        assert!(LifeLog::open(&path, "model a", 50).expect("opens").1.is_empty(), "and they are gone");
    }

    #[test]
    fn a_line_that_was_cut_short_spoils_no_other() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("main.life");
        let text = format!(
            "model\n{}nonsense\n1 2 3 4 5 6 7\n1 2 nan\n9 8 1\n{}1000000060.0 10000000",
            line(&block(0)),
            line(&block(1))
        );
        std::fs::write(&path, text).expect("written");
        let (log, found) = LifeLog::open(&path, "model", 50).expect("opens");
        assert_eq!(found, [block(0), block(1)]);
        log.append(&block(2)).expect("written");
        assert_eq!(LifeLog::open(&path, "model", 50).expect("opens").1.len(), 3);
    }
}
