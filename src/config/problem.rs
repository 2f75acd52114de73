//! What is wrong with a configuration: the place, the cause and the remedy of every mistake.

use serde::Serialize;
use std::fmt;

/// One mistake (or one warning). Holds no secret: values of secret keys are left out or masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: String,
    /// From 1; 0 where it concerns the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0 where it concerns the file as a whole.
    pub column: usize,
    /// Full name of the key, for example `camera.plaza.stall_after`; empty for the file as a whole.
    pub key: String,
    /// As written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    pub remedy: String,
}

impl Problem {
    /// A problem whose place is filled in by [`Report`].
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            line: 0,
            column: 0,
            key: key.into(),
            value: None,
            message: message.into(),
            allowed: None,
            remedy: remedy.into(),
        }
    }

    pub(super) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(shorten(&value.into()));
        self
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        match (self.key.as_str(), &self.value) {
            ("", _) => write!(f, ": {}", self.message)?,
            (key, None) => write!(f, ": {key}: {}", self.message)?,
            (key, Some(value)) => write!(f, ": {key} = {value}: {}", self.message)?,
        }
        if let Some(allowed) = &self.allowed {
            write!(f, "\n    allowed: {allowed}")?;
        }
        write!(f, "\n    remedy:  {}", self.remedy)
    }
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone)]
pub struct Invalid {
    /// In order of their places; never empty.
    pub problems: Vec<Problem>,
    /// Things that would have been said of a valid file too.
    pub warnings: Vec<Problem>,
}

/// Beyond this many, a list of mistakes helps nobody.
const SHOWN: usize = 100;

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "the configuration has {count} {}", if count == 1 { "mistake" } else { "mistakes" })?;
        for problem in self.problems.iter().take(SHOWN) {
            write!(f, "\n{problem}")?;
        }
        if count > SHOWN {
            write!(f, "\n... and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Collects problems and gives them their places.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, lines, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Records a mistake at byte offset `at` (`None`: the file as a whole).
    pub fn problem(&mut self, at: Option<usize>, problem: Problem) {
        let problem = self.placed(at, problem);
        self.problems.push(problem);
    }

    /// Records something that works but is probably not meant.
    pub fn warning(&mut self, at: Option<usize>, problem: Problem) {
        let problem = self.placed(at, problem);
        self.warnings.push(problem);
    }

    pub fn file(&self) -> &'a str {
        self.file
    }

    /// Line (from 1) of byte offset `at`.
    pub fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// Line and column (from 1, in characters) of byte offset `at`.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let before = self.text.get(self.lines[line - 1]..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    fn placed(&self, at: Option<usize>, mut problem: Problem) -> Problem {
        problem.file = self.file.to_string();
        if let Some(at) = at {
            (problem.line, problem.column) = self.place(at);
        }
        problem
    }
}

/// Cuts what a message quotes to a length that a terminal line bears, and makes it printable.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut short: String = text.chars().take(LONGEST).flat_map(printable).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}

/// Control characters in a quoted value could rewrite the terminal: they are escaped.
fn printable(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a = 1\nü = 2\n\nb";
        let mut report = Report::new("f.toml", text);
        for at in [0, 9, text.len() - 1] {
            report.problem(Some(at), Problem::new("k", "m", "r"));
        }
        let places: Vec<_> = report.problems.iter().map(|p| (p.line, p.column)).collect();
        assert_eq!(places, [(1, 1), (2, 3), (4, 1)]);
    }

    #[test]
    fn a_problem_reads_as_place_cause_allowed_remedy() {
        let mut report = Report::new("f.toml", "k = 0\n");
        report.problem(
            Some(0),
            Problem::new("detector.k", "too small", "raise it").value("0").allowed("1 to 9"),
        );
        assert_eq!(
            report.problems[0].to_string(),
            "f.toml:1:1: detector.k = 0: too small\n    allowed: 1 to 9\n    remedy:  raise it"
        );
    }

    #[test]
    fn quoted_values_are_short_and_printable() {
        assert_eq!(shorten("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(shorten(&"x".repeat(100)).len(), 83);
    }
}
