//! The JSON schema of the configuration, made from the table of keys, for editors and programs.

use super::keys::{self, Default, Key, Kind};
use serde_json::{Map, Value, json};

/// JSON Schema (2020-12) of `config.toml` read as JSON. What only several keys together show is `check`'s alone.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for (name, keys) in keys::TABLES {
        let table = table(keys);
        let whole = match *name {
            "camera" => json!({ "type": "array", "minItems": 1, "items": camera(table) }),
            "user" | "sink" => json!({ "type": "array", "items": table }),
            _ => table,
        };
        properties.insert((*name).to_owned(), whole);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Sigmawatch",
        "type": "object",
        "properties": properties,
        "required": ["camera"],
        "additionalProperties": false,
    })
}

/// A camera's table, in which its one detector, or several, may stand.
fn camera(mut table: Value) -> Value {
    let detector = self::table(keys::DETECTOR);
    table["properties"]["detector"] =
        json!({ "oneOf": [detector, { "type": "array", "minItems": 1, "items": detector }] });
    table
}

fn table(keys: &[Key]) -> Value {
    let required: Vec<&str> =
        keys.iter().filter(|key| matches!(key.default, Default::Required(_))).map(|key| key.name).collect();
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn property(key: &Key) -> Value {
    let mut property = kind(key.kind);
    if let Default::Is(text) = key.default {
        property["default"] = from_toml(text);
    }
    if !matches!(key.kind, Kind::Choice(_) | Kind::Flag) {
        property["description"] = json!(super::raw::allowed(key.kind));
    }
    property
}

fn kind(kind: Kind) -> Value {
    const DURATION: &str = "^[0-9.]+ *(ms|s|m|h|d)$";
    match kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Choice(choices) => json!({ "type": "string", "enum": choices }),
        Kind::Name => name(),
        Kind::Names => json!({ "type": "array", "items": name() }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        Kind::Choices(choices) => json!({ "type": "array", "items": { "type": "string", "enum": choices } }),
        Kind::Duration(..) => json!({ "type": "string", "pattern": DURATION }),
        Kind::DurationOrNever(..) => {
            json!({ "type": "string", "pattern": format!("^never$|{DURATION}") })
        }
        Kind::Polygons => json!({ "type": "array", "items": polygon() }),
        Kind::Zones => json!({ "type": "object", "additionalProperties": polygon() }),
        Kind::Schedule => json!({ "oneOf": [
            { "const": "always" },
            { "type": "array", "items": { "type": "string", "minLength": 1 } },
        ] }),
        Kind::Secret => json!({ "type": "string", "minLength": 1, "writeOnly": true }),
        Kind::Text
        | Kind::Location
        | Kind::Path
        | Kind::Template
        | Kind::RateOrNone
        | Kind::Size(..)
        | Kind::TimeZone
        | Kind::Address => json!({ "type": "string", "minLength": 1 }),
    }
}

fn polygon() -> Value {
    let share = json!({ "type": "number", "minimum": 0, "maximum": 1 });
    let corner = json!({ "type": "array", "items": share, "minItems": 2, "maxItems": 2 });
    json!({ "type": "array", "items": corner, "minItems": 3 })
}

fn name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" })
}

/// A value as TOML writes it.
fn from_toml(text: &str) -> Value {
    let table: toml::Table = format!("value = {text}").parse().expect("the defaults in keys.rs are TOML");
    serde_json::to_value(&table["value"]).expect("no dates are among them")
}
