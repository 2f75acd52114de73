//! The OpenAPI document, made from the routes, the table of rights and the wire's own types.

use super::dto::{CameraDto, EventDto, ScoreDto};
use crate::access::{self, Need, Scope};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

type Make = fn(&mut SchemaGenerator) -> Schema;

/// What a route takes and gives, beside what the table of rights says of it.
#[derive(Clone, Copy)]
pub struct Doc {
    summary: &'static str,
    query: Option<Make>,
    body: Option<Make>,
    status: u16,
    answer: Answer,
    errors: &'static [u16],
    /// A refusal that is told in a form of its own.
    refused: Option<(u16, Make)>,
}

#[derive(Clone, Copy)]
enum Answer {
    Nothing,
    Json(Make),
    Media(&'static str),
}

impl Doc {
    /// A route that takes and gives nothing, so far.
    pub fn of(summary: &'static str) -> Self {
        Self {
            summary,
            query: None,
            body: None,
            status: 200,
            answer: Answer::Nothing,
            errors: &[],
            refused: None,
        }
    }

    pub fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(make::<T>), ..self }
    }

    pub fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(make::<T>), ..self }
    }

    /// Answers in JSON.
    pub fn json<T: JsonSchema>(self) -> Self {
        Self { answer: Answer::Json(make::<T>), ..self }
    }

    /// Answers with something else.
    pub fn media(self, kind: &'static str) -> Self {
        Self { answer: Answer::Media(kind), ..self }
    }

    /// Another status than 200 where all is well.
    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Refusals besides those that follow from what the route takes and who may use it.
    pub fn errors(self, errors: &'static [u16]) -> Self {
        Self { errors, ..self }
    }

    /// Another refusal, which answers in JSON of its own form.
    pub fn refused<T: JsonSchema>(self, status: u16) -> Self {
        Self { refused: Some((status, make::<T>)), ..self }
    }
}

fn make<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A route with its description.
pub type Described = (&'static str, &'static str, Doc);

/// The whole document (OpenAPI 3.1).
pub fn document(routes: &[Described]) -> Value {
    let given = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut given = given.into_generator();
    // Written in place: a type may be taken in another form than it is given.
    let taken = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut taken = taken.into_generator();
    let problem = given.subschema_for::<super::problem::Problem>().to_value();
    let mut paths = Map::new();
    for (method, path, doc) in routes {
        let of_path = paths.entry(*path).or_insert_with(|| json!({}));
        of_path[method.to_lowercase()] = operation(method, path, doc, &mut given, &mut taken, &problem);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sigmawatch",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Video anomaly detection. docs/ref/api.md tells the same in words. Without users in the \
                configuration, the daemon listens on loopback and nobody needs to log in.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": given.take_definitions(true),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": "sigmawatch",
                    "description": "From POST /api/login; by TLS it is called __Host-sigmawatch." },
            },
        },
    })
}

fn operation(
    method: &str,
    path: &str,
    doc: &Doc,
    given: &mut SchemaGenerator,
    taken: &mut SchemaGenerator,
    problem: &Value,
) -> Value {
    let rule = access::rule(method, path).expect("the router takes no route without a line in the table");
    let mut parameters: Vec<Value> = (path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
    }))
    .collect();
    let mut errors: Vec<u16> = doc.errors.to_vec();
    if !parameters.is_empty() {
        errors.push(404);
    }
    if let Some(query) = doc.query {
        errors.push(400);
        parameters.extend(query_parameters(&query(taken).to_value()));
    }
    if doc.body.is_some() {
        errors.extend([400, 413, 415, 422]);
    }
    if path == "/api/stream" {
        let about = "Id of the last message seen: what was missed is told first.";
        parameters.push(json!({ "name": "Last-Event-ID", "in": "header", "description": about,
            "schema": { "type": "string" } }));
    }
    let messages = (path == "/api/stream").then(|| {
        let [alert, camera, score] =
            [make::<EventDto>, make::<CameraDto>, make::<ScoreDto>].map(|make| make(given).to_value());
        json!({ "alert.new": alert, "alert.update": alert, "alert.end": alert, "camera.state": camera,
            "score": score })
    });
    let mut security = json!([]);
    let mut operation = json!({ "summary": doc.summary, "operationId": operation_id(method, path) });
    if let Need::Role(role) = rule.need {
        errors.extend([401, 403]);
        security = json!([{ "token": [] }, { "session": [] }]);
        operation["x-role"] = json!(role);
        operation["x-cameras"] = json!(match rule.scope {
            Scope::Daemon => "none",
            Scope::Camera | Scope::Event => "one",
            Scope::Listed => "own",
            Scope::AllCameras => "all",
        });
    }
    if let Some(messages) = messages {
        operation["x-messages"] = messages;
    }
    operation["security"] = security;
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(body) = doc.body {
        let schema = body(taken).to_value();
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    let good = match doc.answer {
        Answer::Nothing => json!({ "description": "Done." }),
        Answer::Json(make) => {
            let schema = make(given).to_value();
            json!({ "description": doc.summary, "content": { "application/json": { "schema": schema } } })
        }
        Answer::Media(kind) => json!({ "description": doc.summary, "content": { kind: {} } }),
    };
    let mut responses = Map::from_iter([(doc.status.to_string(), good)]);
    errors.sort_unstable();
    for error in errors {
        responses.insert(
            error.to_string(),
            json!({
                "description": reason(error),
                "content": { "application/problem+json": { "schema": problem } },
            }),
        );
    }
    if let Some((status, make)) = doc.refused {
        let schema = make(given).to_value();
        responses.insert(
            status.to_string(),
            json!({ "description": reason(status), "content": { "application/json": { "schema": schema } } }),
        );
    }
    operation["responses"] = Value::Object(responses);
    operation
}

/// One parameter for each property of a query's type.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let required = schema["required"].as_array();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let needed = required.is_some_and(|names| names.iter().any(|needed| needed == name));
            let mut parameter = json!({ "name": name, "in": "query", "required": needed, "schema": schema });
            if let Some(about) = about {
                parameter["description"] = about;
            }
            parameter
        })
        .collect()
}

fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(method.to_lowercase()).chain(words.map(str::to_owned)).collect::<Vec<_>>().join("_")
}

fn reason(status: u16) -> &'static str {
    let status = axum::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Error")
}

/// The document for people: a plain page, since a browser is told to take nothing from elsewhere.
pub fn page(document: &Value) -> String {
    let mut rows = String::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let text = |value: &Value| escaped(value.as_str().unwrap_or("anybody"));
            let names = operation["parameters"].as_array().into_iter().flatten();
            let names: Vec<_> = names.map(|parameter| text(&parameter["name"])).collect();
            let statuses = operation["responses"].as_object().into_iter().flatten();
            let statuses: Vec<_> = statuses.map(|(status, _)| status.as_str()).collect();
            rows += &format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                method.to_uppercase(),
                escaped(path),
                text(&operation["summary"]),
                names.join(", "),
                text(&operation["x-role"]),
                statuses.join(", "),
            );
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light \
         dark\"><title>Sigmawatch: the API</title></head><body>\n<h1>The API</h1>\n<p><a \
         href=\"/api/openapi.json\">OpenAPI document</a>, <a href=\"/api/config/schema.json\">JSON schema of the \
         configuration</a></p>\n<table>\n<tr><th>Method</th><th>Path</th><th>Answer</th><th>Parameters</th><th>Role\
         </th><th>Statuses</th></tr>\n{rows}</table>\n</body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
