//! The stack machine that reads a pickle: values, the memo, and refusals.

use std::borrow::Cow;
use std::collections::HashMap;

/// A weight file needs some thousands of instructions; so many are no weight file.
const MOST_STEPS: usize = 1_000_000;
/// Letters of a type of numbers, and parts of its state.
const LONGEST_KIND: usize = 8;
/// Dimensions of an array.
const MOST_DIMS: usize = 32;

/// Place of a value in [`Machine::nodes`].
pub type Id = usize;

/// A value. Containers hold places, since the file changes them after it has named them.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A numpy type: byte order and kind, such as `<f4`.
    Kind(String),
    /// `None` until its state comes.
    Array(Option<Array>),
}

/// A numpy array: where its bytes are.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub dims: Vec<usize>,
    pub kind: String,
    pub data: Id,
}

/// The names that mean something; none of them is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    Reconstruct,
    NdArray,
    Dtype,
    /// `_codecs.encode(text, "latin1")`: how older protocols write bytes.
    Encode,
}

/// What a value is, for messages.
pub trait What {
    fn what(&self) -> &'static str;
}

impl What for Node<'_> {
    fn what(&self) -> &'static str {
        match self {
            Node::None => "nothing",
            Node::Bool(_) => "a truth value",
            Node::Int(_) | Node::Float => "a number",
            Node::Text(_) => "text",
            Node::Bytes(_) => "bytes",
            Node::Tuple(_) => "a tuple",
            Node::List(_) => "a list",
            Node::Dict(_) => "a dictionary",
            Node::Global(_) | Node::Kind(_) => "a type",
            Node::Array(_) => "an array",
        }
    }
}

/// The machine at some instruction.
pub struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
    /// Bytes that were copied instead of borrowed.
    copied: usize,
}

type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let (nodes, stack, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self { bytes, at: 0, nodes, stack, marks, memo: HashMap::new(), copied: 0 }
    }

    /// Runs to the end: every value, and the place of the result.
    pub fn run(mut self) -> Step<(Vec<Node<'a>>, Id)> {
        for _ in 0..MOST_STEPS {
            let at = self.at;
            let code = self.byte()?;
            if code == b'.' {
                let root = self.pop()?;
                return Ok((self.nodes, root));
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

    fn push(&mut self, node: Node<'a>) -> Step {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    /// The topmost value above the last mark.
    fn pop(&mut self) -> Step<Id> {
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

    fn top(&self) -> Step<Id> {
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

    // ---- numpy ---------------------------------------------------------------------------------

    /// What would be a call.
    fn reduce(&mut self) -> Step {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Node::Tuple(arguments) = &self.nodes[arguments] else {
            return Err("it calls something without arguments".into());
        };
        let first = arguments.first().map(|&id| &self.nodes[id]);
        let second = arguments.get(1).map(|&id| &self.nodes[id]);
        let made = match (&self.nodes[callee], first, second) {
            (Node::Global(Global::Reconstruct), Some(Node::Global(Global::NdArray)), _) => Node::Array(None),
            // Its byte order comes with its state.
            (Node::Global(Global::Dtype), Some(Node::Text(kind)), _) if kind.len() <= LONGEST_KIND => {
                Node::Kind(format!("|{kind}"))
            }
            (Node::Global(Global::Encode), Some(Node::Text(text)), Some(Node::Text(codec))) => {
                if codec != "latin1" {
                    return Err("it has bytes written as something else than latin1".into());
                }
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                let bytes = bytes.ok_or("it has bytes written as text that is not latin1")?;
                self.copied += bytes.len();
                if self.copied > self.bytes.len() {
                    return Err("it describes more bytes than it has".into());
                }
                Node::Bytes(Cow::Owned(bytes))
            }
            (other, ..) => return Err(format!("it calls {} as no array does", other.what())),
        };
        self.push(made)
    }

    /// Gives an array or a type its state.
    fn build(&mut self) -> Step {
        let (state, target) = (self.pop()?, self.top()?);
        let Node::Tuple(places) = &self.nodes[state] else {
            return Err(format!("it gives something {} as its state", self.nodes[state].what()));
        };
        let parts: Vec<&Node> = places.iter().take(LONGEST_KIND).map(|&id| &self.nodes[id]).collect();
        let built = match (&self.nodes[target], parts.as_slice()) {
            (Node::Kind(kind), [_, Node::Text(order), Node::None, Node::None, Node::None, ..])
                if ["<", ">", "|", "="].contains(&&**order) =>
            {
                Node::Kind(format!("{order}{}", &kind[1..]))
            }
            (Node::Kind(_), _) => {
                return Err("it has arrays of records, and of numbers alone are read".into());
            }
            (Node::Array(None), [_, Node::Tuple(dims), Node::Kind(kind), Node::Bool(by_column), _])
                if dims.len() <= MOST_DIMS =>
            {
                let dims: Vec<usize> = (dims.iter())
                    .map(|&id| match self.nodes[id] {
                        Node::Int(size) => {
                            usize::try_from(size).map_err(|_| format!("it has a dimension of {size}"))
                        }
                        ref other => Err(format!("it has a dimension that is {}", other.what())),
                    })
                    .collect::<Step<_>>()?;
                if *by_column && dims.len() > 1 {
                    return Err("it has an array stored column by column, and row by row are read".into());
                }
                Node::Array(Some(Array { dims, kind: kind.clone(), data: places[4] }))
            }
            (other, _) => return Err(format!("it gives {} a state that no array has", other.what())),
        };
        self.nodes[target] = built;
        Ok(())
    }
}

fn global(module: &str, name: &str) -> Step<Global> {
    match (module, name) {
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Ok(Global::Reconstruct),
        ("numpy", "ndarray") => Ok(Global::NdArray),
        ("numpy", "dtype") => Ok(Global::Dtype),
        ("_codecs", "encode") => Ok(Global::Encode),
        _ => Err(refused(module, name)),
    }
}

fn refused(module: &str, name: &str) -> String {
    let name: String = format!("{module}.{name}").chars().take(80).collect();
    format!("it wants to run `{name}`, and a weight file may run nothing")
}

/// Keys and values by turns.
fn pairs(items: Vec<Id>) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("a key of a dictionary lacks its value".into()),
    }
}
