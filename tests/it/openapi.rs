//! The API's own description: complete, frozen, and true of what the running daemon answers.

use crate::desk::Desk;
use crate::docs::frozen;
use crate::fixture::{event, row};
use serde_json::{Value, json};
use sigmawatch::access;
use sigmawatch::api::openapi;
use sigmawatch::base::Timestamp;
use sigmawatch::config;
use std::collections::BTreeSet;

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("plain data") + "\n"
}

#[test]
fn the_documents_are_made_from_the_code() {
    frozen("docs/ref/openapi.json", &pretty(openapi()));
    frozen("docs/ref/config.schema.json", &pretty(&config::schema()));
}

#[test]
fn every_line_of_the_table_is_in_the_document_and_no_other() {
    let mut described = BTreeSet::new();
    for (path, methods) in openapi()["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase();
            let rule = access::rule(&method, path).expect("a line");
            let open = rule.need == access::Need::Nobody;
            assert_eq!(operation["security"].as_array().expect("a list").is_empty(), open, "{method} {path}");
            let tells = operation["responses"].get("401").is_some();
            assert_eq!(tells, !open || path == "/api/login", "{method} {path}");
            described.insert((method, path.clone()));
        }
    }
    let lines = access::TABLE.iter().filter(|rule| rule.method != "MQTT");
    let lines: BTreeSet<_> = lines.map(|rule| (rule.method.to_owned(), rule.path.to_owned())).collect();
    assert_eq!(described, lines, "left: the document, right: access::TABLE");
}

/// Every way in which `answer` differs from what the document says of this status of a route.
fn differences(method: &str, path: &str, status: u16, kind: &str, answer: &Value) -> Vec<String> {
    let operation = &openapi()["paths"][path][method.to_lowercase()];
    let content = &operation["responses"][status.to_string()]["content"][kind];
    let Some(schema) = content.get("schema") else {
        return vec![format!("{method} {path}: {status} with {kind} is not in the document")];
    };
    let mut schema = match schema {
        Value::Object(_) => schema.clone(),
        _ => json!({}),
    };
    schema["components"] = openapi()["components"].clone();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors = validator.iter_errors(answer);
    errors.map(|e| format!("{method} {path} {status}: {}: {e}", e.instance_path())).collect()
}

#[test]
fn what_the_daemon_answers_is_what_the_document_says() {
    let desk = Desk::start();
    for n in 0..3 {
        let mut event = event(n);
        event.has_snapshot = n == 0;
        event.end_time = event.end_time.filter(|_| n == 1);
        desk.store.put_event(&event).expect("written");
    }
    desk.store.put_scores(&[row(Timestamp::from_second(1990).expect("in range"))]).expect("written");
    // A connection of its own for each: one whose body nobody wanted is closed by the server.
    let agent = || ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let (mut good, mut bad, mut found) = (0, 0, Vec::new());
    for (path, methods) in openapi()["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            for (name, id, query) in
                [("gate", event(0).id, ""), ("yard", event(1).id, ""), ("attic", "none".into(), "?odd=1")]
            {
                let at = path.replace("{name}", name).replace("{id}", &id).replace("{file}", "none") + query;
                if path == "/api/stream" && query.is_empty() {
                    continue; // It never ends.
                }
                let answer = match method.as_str() {
                    "get" => agent().get(desk.url(&at)).call(),
                    _ => agent().post(desk.url(&at)).send_json(json!({ "label": "unsure" })),
                };
                let mut answer = answer.expect("answered");
                let status = answer.status().as_u16();
                let kind =
                    answer.headers().get("content-type").map_or("", |kind| kind.to_str().expect("text"));
                let kind = kind.split(';').next().expect("a kind").to_owned();
                if !kind.ends_with("json") {
                    continue;
                }
                let body: Value = answer.body_mut().read_json().expect("JSON");
                if status >= 400 && kind != "application/json" {
                    assert_eq!(body["instance"], at.split('?').next().expect("a path"));
                    bad += 1;
                } else {
                    good += 1;
                }
                found.extend(differences(method, path, status, &kind, &body));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(good > 15 && bad > 10, "{good} answers and {bad} problems were compared");
}

#[test]
fn an_answer_that_differs_is_noticed() {
    let me = json!({ "name": null, "role": "admin", "cameras": null, "login": false });
    let differs = |answer: &Value| !differences("GET", "/api/me", 200, "application/json", answer).is_empty();
    assert!(!differs(&me));
    let mut wrong = me.clone();
    wrong["role"] = json!("king");
    assert!(differs(&wrong));
    wrong = me;
    wrong.as_object_mut().expect("an object").remove("login");
    assert!(differs(&wrong));
}

#[test]
fn every_configuration_here_fits_its_schema_and_a_wrong_one_does_not() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let validator = jsonschema::validator_for(&config::schema()).expect("a schema");
    let errors = |text: &str| -> Vec<String> {
        let value = serde_json::to_value(text.parse::<toml::Table>().expect("TOML")).expect("no dates");
        validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect()
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(root).expect("the checkout").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") && !["Cargo.toml", "rustfmt.toml", "clippy.toml"].contains(&&*name) {
            let text = std::fs::read_to_string(entry.path()).expect("read");
            assert_eq!(errors(&text), Vec::<String>::new(), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 0);
    let camera = "[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n";
    assert!(
        errors(&format!("{camera}[[camera.detector]]\nname = \"b\"\n[[camera.detector]]\nname = \"c\"\n"))
            .is_empty()
    );
    for wrong in [
        "".to_owned(),
        camera.replace("name", "nmae"),
        camera.replace("\"a\"", "\"A\""),
        format!("{camera}stall_after = \"5 years\"\n"),
        format!("{camera}[detector]\nopen_n = 0\n"),
        format!("{camera}[[user]]\nname = \"anna\"\n"),
    ] {
        assert!(!errors(&wrong).is_empty(), "{wrong}");
    }
}
