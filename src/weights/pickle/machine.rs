//! The stack machine that reads a pickle: values and the memo.

use super::calls::{global, refused};
use super::value::{Id, Node, What};
use std::borrow::Cow;
use std::collections::HashMap;

/// A weight file needs some thousands of instructions; so many are no weight file.
const MOST_STEPS: usize = 1_000_000;

/// What a pickle holds.
pub struct Pickled<'a> {
    pub nodes: Vec<Node<'a>>,
    /// Place of the result.
    pub root: Id,
    /// Bytes that the pickle takes; another may follow.
    pub length: usize,
}

/// The machine at some instruction.
pub struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    at: usize,
    pub(super) nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
    /// Bytes that were copied instead of borrowed.
    pub(super) copied: usize,
}

pub type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let (nodes, stack, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self { bytes, at: 0, nodes, stack, marks, memo: HashMap::new(), copied: 0 }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Step<Pickled<'a>> {
        for _ in 0..MOST_STEPS {
            let at = self.at;
            let code = self.byte()?;
            if code == b'.' {
                let root = self.pop()?;
                return Ok(Pickled { nodes: self.nodes, root, length: self.at });
            }
            self.step(code).map_err(|problem| format!("{problem} (at byte {at})"))?;
        }
        Err(format!("it has more than {MOST_STEPS} instructions"))
    }

    fn step(&mut self, code: u8) -> Step {
        match code {
            // Protocol and frames.
            0x80 => match self.byte()? {
                0..=4 => Ok(()),
                version => Err(format!("it has pickle protocol {version}, and 0 to 4 are read")),
            },
            0x95 => self.number(8).map(drop),
            // Small values.
            b'N' => self.push(Node::None),
            0x88 | 0x89 => self.push(Node::Bool(code == 0x88)),
            b'K' => self.count_of(1, |n| Node::Int(n as i64)),
            b'M' => self.count_of(2, |n| Node::Int(n as i64)),
            b'J' => self.count_of(4, |n| Node::Int(i64::from(n as u32 as i32))),
            0x8a => self.long(),
            b'I' | b'L' => self.decimal(),
            b'G' => self.take(8).map(drop).and_then(|()| self.push(Node::Float)),
            b'F' => self.line().map(drop).and_then(|()| self.push(Node::Float)),
            // Bytes and text.
            b'C' => self.bytes_of(1),
            b'B' => self.bytes_of(4),
            0x8e => self.bytes_of(8),
            0x8c => self.text_of(1),
            b'X' => self.text_of(4),
            0x8d => self.text_of(8),
            b'V' => self.escaped(),
            // Containers.
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b't' => self.marked().and_then(|items| self.push(Node::Tuple(items))),
            b'l' => self.marked().and_then(|items| self.push(Node::List(items))),
            b'd' => self.marked().and_then(pairs).and_then(|entries| self.push(Node::Dict(entries))),
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..code {
                    items.insert(0, self.pop()?);
                }
                self.push(Node::Tuple(items))
            }
            b'a' => self.pop().and_then(|item| self.append(vec![item])),
            b'e' => self.marked().and_then(|items| self.append(items)),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![(key, value)])
            }
            b'u' => self.marked().and_then(pairs).and_then(|entries| self.set(entries)),
            // The memo.
            b'h' => self.number(1).and_then(|key| self.get(key)),
            b'j' => self.number(4).and_then(|key| self.get(key)),
            b'g' => self.line_number().and_then(|key| self.get(key)),
            b'q' => self.number(1).and_then(|key| self.put(key)),
            b'r' => self.number(4).and_then(|key| self.put(key)),
            b'p' => self.line_number().and_then(|key| self.put(key)),
            0x94 => self.put(self.memo.len()),
            // Names, and what is made of them.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(global(&module, &name)?))
            }
            b'i' => Err(refused(&self.line()?, &self.line()?)),
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.nodes[module], &self.nodes[name]) {
                    (Node::Text(module), Node::Text(name)) => {
                        let global = global(module, name)?;
                        self.push(Node::Global(global))
                    }
                    _ => Err("it names something by what is no text".into()),
                }
            }
            b'R' => self.reduce(),
            b'b' => self.build(),
            b'Q' => self.outside(),
            other => Err(format!("it has the pickle instruction {other:#04x}, which arrays do not need")),
        }
    }

    // ---- Reading -------------------------------------------------------------------------------

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| {
            format!("it is truncated: {count} bytes should follow byte {}, and {} do", self.at, rest.len())
        })?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Step<u8> {
        self.take(1).map(|b| b[0])
    }

    /// A little-endian number without sign.
    fn number(&mut self, bytes: usize) -> Step<usize> {
        let number = self.take(bytes)?.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        usize::try_from(number).map_err(|_| format!("it is truncated: {number} bytes should follow"))
    }

    fn line(&mut self) -> Step<Cow<'a, str>> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&b| b == b'\n').ok_or("it is truncated in a line of text")?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]))
    }

    fn line_number(&mut self) -> Step<usize> {
        let line = self.line()?;
        line.parse().map_err(|_| format!("{line:?} is no place in its memo"))
    }

    // ---- Values --------------------------------------------------------------------------------

    pub(super) fn push(&mut self, node: Node<'a>) -> Step {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    /// The topmost value above the last mark.
    pub(super) fn pop(&mut self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("an instruction lacks its value".into());
        }
        Ok(self.stack.pop().expect("higher than the floor"))
    }

    /// Everything above the last mark.
    fn marked(&mut self) -> Step<Vec<Id>> {
        let height = self.marks.pop().ok_or("an instruction lacks its mark")?;
        Ok(self.stack.split_off(height))
    }

    pub(super) fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or_else(|| "an instruction lacks its value".into())
    }

    fn count_of(&mut self, bytes: usize, make: impl Fn(usize) -> Node<'a>) -> Step {
        let number = self.number(bytes)?;
        self.push(make(number))
    }

    fn long(&mut self) -> Step {
        let count = usize::from(self.byte()?);
        let bytes = self.take(count)?;
        if count > 8 {
            return Err(format!("it has a number of {count} bytes"));
        }
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [sign; 8];
        whole[..count].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(whole)))
    }

    fn decimal(&mut self) -> Step {
        let line = self.line()?;
        let node = match &*line {
            "00" | "01" => Node::Bool(line == "01"),
            digits => {
                let number = digits.trim_end_matches('L').parse();
                Node::Int(number.map_err(|_| format!("{digits:?} is no number"))?)
            }
        };
        self.push(node)
    }

    fn bytes_of(&mut self, width: usize) -> Step {
        let length = self.number(width)?;
        let bytes = self.take(length)?;
        self.push(Node::Bytes(Cow::Borrowed(bytes)))
    }

    fn text_of(&mut self, width: usize) -> Step {
        let length = self.number(width)?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "its text is not UTF-8")?;
        self.push(Node::Text(Cow::Borrowed(text)))
    }

    /// Text of protocol 0: Latin-1, with `\uXXXX` for the rest.
    fn escaped(&mut self) -> Step {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&b| b == b'\n').ok_or("it is truncated in a line of text")?;
        self.at += end + 1;
        let (mut text, mut line) = (String::new(), &rest[..end]);
        while let Some((&byte, after)) = line.split_first() {
            line = after;
            if byte != b'\\' || after.first() != Some(&b'u') {
                text.push(char::from(byte));
                continue;
            }
            let code =
                after.get(1..5).and_then(|h| u32::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
            text.push(code.and_then(char::from_u32).ok_or("its text has a broken escape")?);
            line = &after[5..];
        }
        self.push(Node::Text(Cow::Owned(text)))
    }

    fn append(&mut self, items: Vec<Id>) -> Step {
        let list = self.top()?;
        match &mut self.nodes[list] {
            Node::List(into) => into.extend(items),
            other => return Err(format!("it appends to {}", other.what())),
        }
        Ok(())
    }

    fn set(&mut self, entries: Vec<(Id, Id)>) -> Step {
        let dict = self.top()?;
        match &mut self.nodes[dict] {
            Node::Dict(into) => into.extend(entries),
            other => return Err(format!("it sets a key of {}", other.what())),
        }
        Ok(())
    }

    fn get(&mut self, key: usize) -> Step {
        let id = self.memo.get(&key).ok_or_else(|| format!("its memo has no place {key}"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn put(&mut self, key: usize) -> Step {
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }
}

/// Keys and values by turns.
fn pairs(items: Vec<Id>) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("a key of a dictionary lacks its value".into()),
    }
}
