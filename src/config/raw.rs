//! The configuration as written: the file's tables read against `keys`, every value with its place.

use super::keys::{self, Default, Key, Kind};
use super::location::redacted;
use super::problem::{Problem, Report, shorten};
use super::units::{format_duration, format_size, parse_duration, parse_size};
use super::{Schedule, places};
use crate::base::{Polygon, Rate};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value of the kind that its key has.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Flag(bool),
    Integer(u64),
    Number(f64),
    /// `None` is `"never"`.
    Duration(Option<Duration>),
    /// `None` is `"none"`.
    Rate(Option<Rate>),
    Size(Bytes),
    Address(SocketAddr),
    List(Vec<String>),
    Polygons(Vec<Polygon>),
    Zones(Vec<(String, Polygon)>),
    /// `None` is `"always"`.
    Schedule(Option<Schedule>),
    TimeZone(TimeZone),
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A table as written, with the defaults of the keys that it leaves out.
#[derive(Debug, Clone)]
pub struct Section {
    /// Name for messages, for example `camera.plaza`.
    pub name: String,
    /// Byte offset of the table, `None` where the file does not have it.
    pub at: Option<usize>,
    /// Value, and its byte offset where the file gives it.
    values: BTreeMap<&'static str, (Value, Option<usize>)>,
    /// Keys that were given a value which cannot be used.
    bad: Vec<&'static str>,
}

/// The whole file as written.
#[derive(Debug)]
pub struct Raw {
    pub http: Section,
    pub users: Vec<Section>,
    pub store: Section,
    pub runtime: Section,
    pub cameras: Vec<RawCamera>,
    pub sinks: Vec<Section>,
    /// Not even TOML: what there is of it has been read, but it proves nothing about the rest.
    pub broken: bool,
}

impl Raw {
    /// Full name and byte offset of every key that the file gives.
    pub fn places(&self) -> impl Iterator<Item = (String, usize)> {
        let cameras = self.cameras.iter().flat_map(|raw| std::iter::once(&raw.camera).chain(&raw.detectors));
        let sections = [&self.http, &self.store, &self.runtime]
            .into_iter()
            .chain(cameras)
            .chain(&self.sinks)
            .chain(&self.users);
        sections.flat_map(|section| {
            section.values.iter().filter_map(|(name, (_, at))| Some((section.key(name), (*at)?)))
        })
    }
}

/// A `[[camera]]`.
#[derive(Debug)]
pub struct RawCamera {
    pub camera: Section,
    /// One at least; each its own keys over those of `[detector]`.
    pub detectors: Vec<Section>,
}

/// Reads the text of a configuration; mistakes go to `report`.
pub fn read(text: &str, report: &mut Report) -> Raw {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut broken_lines = BTreeSet::new();
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        // One slip makes the parser stumble several times on a line: the first says it best. Its Display
        // would quote the line, and with it perhaps a password; its message does not.
        if broken_lines.insert(report.line(at)) {
            let problem = Problem::new("", format!("not TOML: {}", error.message()), "mend the syntax here");
            report.problem(Some(at), problem);
        }
    }
    let mut seen = Report::new(report.file(), text);
    let raw = tables(text, root.get_ref(), !errors.is_empty(), &mut seen);
    report.problems.extend(seen.problems.into_iter().filter(|p| !broken_lines.contains(&p.line)));
    raw
}

fn tables(text: &str, root: &DeTable, broken: bool, report: &mut Report) -> Raw {
    let known: Vec<&str> = keys::TABLES.iter().map(|(name, _)| *name).collect();
    for (name, value) in root.iter() {
        if !known.contains(&name.get_ref().as_ref()) {
            let home = keys::TABLES.iter().find(|(_, keys)| keys.iter().any(|k| k.name == *name.get_ref()));
            let remedy = match home {
                Some((table, _)) if !value.get_ref().is_table() => format!("it belongs under [{table}]"),
                _ => did_you_mean(name.get_ref(), &known),
            };
            let problem = Problem::new(shorten(name.get_ref()), "unknown key", remedy);
            report.problem(Some(name.span().start), problem.allowed(known.join(", ")));
        }
    }
    let mut section = |name: &str, keys| match root.get(name) {
        None => Section::read(text, name.into(), None, keys, report),
        Some(value) => match table(name, value, report) {
            Some(table) => Section::read(text, name.into(), Some((table, value.span().start)), keys, report),
            None => Section::read(text, name.into(), None, keys, report),
        },
    };
    let (http, store) = (section("http", keys::HTTP), section("store", keys::STORE));
    let (runtime, detector) = (section("runtime", keys::RUNTIME), section("detector", keys::DETECTOR));
    let cameras = root.get("camera").map_or(Vec::new(), |value| cameras(text, value, &detector, report));
    let sinks = root.get("sink").map_or(Vec::new(), |value| list(text, value, "sink", keys::SINK, report));
    let users = root.get("user").map_or(Vec::new(), |value| list(text, value, "user", keys::USER, report));
    Raw { http, users, store, runtime, cameras, sinks, broken }
}

/// A list of tables `[[what]]`, each called by its name where it has a good one.
fn list(
    text: &str,
    value: &Spanned<DeValue>,
    what: &str,
    keys: &'static [Key],
    report: &mut Report,
) -> Vec<Section> {
    let Some(array) = value.get_ref().as_array() else {
        let problem = Problem::new(what, "not a list", format!("begin each {what} with [[{what}]]"));
        report.problem(Some(value.span().start), problem);
        return Vec::new();
    };
    let mut found = Vec::new();
    for (index, value) in array.iter().enumerate() {
        let Some(table) = table(what, value, report) else { continue };
        let name = match table.get("name").and_then(|name| name.get_ref().as_str()) {
            Some(name) if is_name(name) => format!("{what}.{name}"),
            _ => format!("{what}[{}]", index + 1),
        };
        found.push(Section::read(text, name, Some((table, value.span().start)), keys, report));
    }
    found
}

fn cameras(text: &str, value: &Spanned<DeValue>, base: &Section, report: &mut Report) -> Vec<RawCamera> {
    let Some(array) = value.get_ref().as_array() else {
        let problem = Problem::new("camera", "not a list of cameras", "begin each camera with [[camera]]");
        report.problem(Some(value.span().start), problem);
        return Vec::new();
    };
    let mut cameras = Vec::new();
    for (index, value) in array.iter().enumerate() {
        let Some(table) = table("camera", value, report) else { continue };
        let named = table.get("name").and_then(|name| name.get_ref().as_str());
        let name = match named {
            Some(name) if is_name(name) => format!("camera.{name}"),
            _ => format!("camera[{}]", index + 1),
        };
        let detectors = detectors(text, &name, table.get("detector"), base, report);
        let camera = Section::read(text, name, Some((table, value.span().start)), keys::CAMERA, report);
        cameras.push(RawCamera { camera, detectors });
    }
    cameras
}

/// A camera's detectors: a table where it has one, a list of tables where it has several; one where it says nothing.
fn detectors(
    text: &str,
    camera: &str,
    given: Option<&Spanned<DeValue>>,
    base: &Section,
    report: &mut Report,
) -> Vec<Section> {
    let only = format!("{camera}.detector");
    let Some(value) = given else { return vec![Section::read_over(text, only, None, base, report)] };
    let Some(array) = value.get_ref().as_array() else {
        let own = table("detector", value, report).map(|own| (own, value.span().start));
        return vec![Section::read_over(text, only, own, base, report)];
    };
    let mut found = Vec::new();
    for (index, value) in array.iter().enumerate() {
        let Some(own) = table("camera.detector", value, report) else { continue };
        let name = match own.get("name").and_then(|name| name.get_ref().as_str()) {
            Some(name) if is_name(name) => format!("{camera}.detector.{name}"),
            _ => format!("{camera}.detector[{}]", index + 1),
        };
        found.push(Section::read_over(text, name, Some((own, value.span().start)), base, report));
    }
    found
}

fn table<'v, 'i>(
    name: &str,
    value: &'v Spanned<DeValue<'i>>,
    report: &mut Report,
) -> Option<&'v DeTable<'i>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        let message = format!("a table is wanted, not {}", a_type(value.get_ref()));
        let problem = Problem::new(name, message, format!("write [{name}] and its keys below it"));
        report.problem(Some(value.span().start), problem);
    }
    table
}

impl Section {
    fn read(
        text: &str,
        name: String,
        given: Option<(&DeTable, usize)>,
        keys: &'static [Key],
        report: &mut Report,
    ) -> Self {
        let mut section =
            Section { name, at: given.map(|(_, at)| at), values: BTreeMap::new(), bad: Vec::new() };
        for key in keys {
            if let Default::Is(text) = key.default {
                let value = DeValue::parse(text).expect("the defaults in keys.rs are TOML");
                let value = value_of(key.kind, value.get_ref()).expect("the defaults in keys.rs are allowed");
                section.values.insert(key.name, (value, None));
            }
        }
        for (name, value) in given.iter().flat_map(|(table, _)| table.iter()) {
            let Some(key) = keys.iter().find(|key| key.name == *name.get_ref()) else {
                if std::ptr::eq(keys, keys::CAMERA) && name.get_ref() == "detector" {
                    continue;
                }
                let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                let full = format!("{}.{}", section.name, shorten(name.get_ref()));
                let remedy = did_you_mean(name.get_ref(), &known);
                let problem = Problem::new(full, "unknown key", remedy).allowed(known.join(", "));
                report.problem(Some(name.span().start), problem);
                continue;
            };
            match value_of(key.kind, value.get_ref()) {
                Ok(good) => {
                    section.values.insert(key.name, (good, Some(value.span().start)));
                }
                Err(message) => {
                    section.bad.push(key.name);
                    let full = format!("{}.{}", section.name, key.name);
                    let remedy = format!("write it like this: {} = {}", key.name, key.default.example());
                    let mut problem = Problem::new(full, message, remedy).allowed(allowed(key.kind));
                    let written = text.get(value.span()).unwrap_or_default();
                    match key.kind {
                        Kind::Secret => {}
                        Kind::Location => problem = problem.value(redacted(written)),
                        _ => problem = problem.value(written),
                    }
                    report.problem(Some(value.span().start), problem);
                }
            }
        }
        section
    }

    /// Reads a detector, and takes from `base` what it does not give itself.
    fn read_over(
        text: &str,
        name: String,
        given: Option<(&DeTable, usize)>,
        base: &Section,
        report: &mut Report,
    ) -> Self {
        let mut section = Self::read(text, name, given, keys::DETECTOR, report);
        for (name, (value, at)) in &base.values {
            if section.place(name).is_none() && !section.bad.contains(name) {
                section.values.insert(name, (value.clone(), *at));
            }
        }
        section
    }

    /// Where the file gives this key; `None` where it does not.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.values.get(name)?.1
    }

    /// The keys that the file gives values that can be used.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().filter(|(_, (_, at))| at.is_some()).map(|(name, _)| *name)
    }

    /// The key was given, though perhaps not a value that can be used.
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some() || self.bad.contains(&name)
    }

    /// Full name of a key for messages.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// The value given or by default.
    pub fn find<T: FromValue>(&self, name: &str) -> Option<T> {
        T::from_value(&self.values.get(name)?.0)
    }

    /// The value of a key that has a default.
    pub fn get<T: FromValue>(&self, name: &str) -> T {
        self.find(name).expect("keys.rs gives this key this kind and a default")
    }
}

/// Takes a value out of a [`Value`] of the right kind.
pub trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty, $variant:ident;)*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(inner) => Some(inner.clone()),
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    String, Text; bool, Flag; u64, Integer; f64, Number; Option<Duration>, Duration; Option<Rate>, Rate;
    SocketAddr, Address; Vec<String>, List; Bytes, Size; Vec<Polygon>, Polygons; Vec<(String, Polygon)>, Zones;
    Option<Schedule>, Schedule; TimeZone, TimeZone;
}

impl FromValue for Duration {
    fn from_value(value: &Value) -> Option<Self> {
        Option::<Duration>::from_value(value)?
    }
}

/// `[a-z0-9_-]{1,64}`: safe in paths, URLs, metric labels and topics.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

fn value_of(kind: Kind, value: &DeValue) -> Result<Value, String> {
    let wanted = |what: &str| Err(format!("{what} is wanted, not {}", a_type(value)));
    let outside = || Err("out of range".to_string());
    match kind {
        Kind::Flag => value.as_bool().map_or_else(|| wanted("true or false"), |flag| Ok(Value::Flag(flag))),
        Kind::Integer(min, max) => {
            let Some(digits) = value.as_integer() else { return wanted("a whole number") };
            match u64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Integer(number)),
                _ => outside(),
            }
        }
        Kind::Number(min, max) => {
            let number = match value {
                DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str().parse(),
                DeValue::Float(digits) => digits.as_str().parse(),
                _ => return wanted("a number"),
            };
            match number {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
                _ => outside(),
            }
        }
        Kind::Names | Kind::Texts | Kind::Choices(_) => {
            let Some(items) = value.as_array() else { return wanted("a list, such as [\"a\", \"b\"],") };
            let item = match kind {
                Kind::Choices(choices) => Kind::Choice(choices),
                Kind::Texts => Kind::Text,
                _ => Kind::Name,
            };
            let mut list = Vec::new();
            for written in items {
                let Some(text) = written.get_ref().as_str() else { return wanted("a list of strings") };
                text_value(item, text)?;
                list.push(text.to_owned());
            }
            Ok(Value::List(list))
        }
        Kind::Polygons => places::polygons(value).map(Value::Polygons),
        Kind::Zones => places::zones(value).map(Value::Zones),
        Kind::Schedule => places::schedule(value).map(Value::Schedule),
        _ => value.as_str().map_or_else(|| wanted("a string (in quotes)"), |text| text_value(kind, text)),
    }
}

fn text_value(kind: Kind, text: &str) -> Result<Value, String> {
    let duration = |min, max| match parse_duration(text) {
        None => Err("not a duration".to_string()),
        Some(duration) if (min..=max).contains(&duration) => Ok(Value::Duration(Some(duration))),
        Some(_) => Err("out of range".into()),
    };
    match kind {
        Kind::Duration(min, max) => duration(min, max),
        Kind::DurationOrNever(..) if text == "never" => Ok(Value::Duration(None)),
        Kind::DurationOrNever(min, max) => duration(min, max),
        Kind::RateOrNone if text == "none" => Ok(Value::Rate(None)),
        Kind::RateOrNone => {
            let rate = Rate::parse(text).ok_or("not a number of times in some time")?;
            Ok(Value::Rate(Some(rate)))
        }
        Kind::Size(min, max) => match parse_size(text) {
            None => Err("not a size".into()),
            Some(bytes) if (min..=max).contains(&bytes) => Ok(Value::Size(Bytes(bytes))),
            Some(_) => Err("out of range".into()),
        },
        Kind::Address => {
            text.parse().map(Value::Address).map_err(|_| "not an IP address with a port".to_string())
        }
        Kind::TimeZone => TimeZone::get(text)
            .map(Value::TimeZone)
            .map_err(|_| "not a time zone that this system knows".into()),
        Kind::Choice(choices) if !choices.contains(&text) => Err("not one of the choices".into()),
        Kind::Name if !is_name(text) => Err("not a name".into()),
        _ if text.is_empty() => Err("empty".into()),
        Kind::Template => Ok(Value::Text(text.to_string())),
        _ if text.contains(char::is_control) => Err("holds a control character".into()),
        _ => Ok(Value::Text(text.to_string())),
    }
}

/// What a key of this kind may hold, for people.
pub fn allowed(kind: Kind) -> String {
    let range = |min, max| format!("from {} to {}", format_duration(min), format_duration(max));
    match kind {
        Kind::Text | Kind::Secret | Kind::Location | Kind::Template => "text in quotes".into(),
        Kind::Path => "a path in quotes".into(),
        Kind::Name => "1 to 64 of a-z, 0-9, \"-\" and \"_\"".into(),
        Kind::Choice(choices) => choices.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", "),
        Kind::Texts => "a list of texts in [ ]".into(),
        Kind::Names => format!("a list in [ ], each {}", allowed(Kind::Name)),
        Kind::Choices(choices) => format!("a list in [ ] of {}", allowed(Kind::Choice(choices))),
        Kind::Flag => "true, false".into(),
        Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
        Kind::Number(min, max) => format!("a number from {min} to {max}"),
        Kind::Duration(min, max) => format!("a number with ms, s, m, h or d, {}", range(min, max)),
        Kind::DurationOrNever(min, max) => {
            format!("\"never\", or a number with ms, s, m, h or d, {}", range(min, max))
        }
        Kind::RateOrNone => {
            "\"none\", or a number and /minute, /hour, /day or /week, such as \"1/day\"".into()
        }
        Kind::Size(min, max) => {
            format!("a number with kB, MB, GB or TB, from {} to {}", format_size(min), format_size(max))
        }
        Kind::Polygons => "a list of polygons, each a list of corners [x, y] from 0 to 1".into(),
        Kind::Zones => "a table of names and polygons, each a list of corners [x, y] from 0 to 1".into(),
        Kind::Schedule => {
            "\"always\", or a list such as [\"mon-fri 18:00-06:00\", \"sat,sun 00:00-24:00\"]".into()
        }
        Kind::TimeZone => "a name such as \"Europe/Berlin\" or \"UTC\"".into(),
        Kind::Address => "an IP address and a port, such as \"127.0.0.1:8710\" or \"[::1]:8710\"".into(),
    }
}

fn a_type(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Names the nearest known word, if one is near.
fn did_you_mean(word: &str, known: &[&str]) -> String {
    // Longer words are no typing slips, and comparing them costs.
    let nearest = known
        .iter()
        .filter(|_| word.len() <= 64)
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3));
    match nearest {
        Some((_, candidate)) => format!("did you mean \"{candidate}\"? Otherwise remove it"),
        None => "remove it; config.toml describes every key".into(),
    }
}
