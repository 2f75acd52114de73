//! The reference pages say what the code does.

use sigmawatch::telemetry::Metrics;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Compares a file with what the code makes of it; UPDATE_DOCS writes it.
pub fn frozen(path: &str, made: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root(path), made).expect("written");
    }
    let kept = std::fs::read_to_string(root(path)).unwrap_or_default();
    assert!(
        kept == made,
        "{path} differs from the code; run `UPDATE_DOCS=1 cargo test --test it -- docs:: openapi::`"
    );
}

#[test]
fn the_metrics_page_is_made_from_the_code() {
    frozen("docs/ref/metrics.md", &Metrics::new().reference());
}

/// `GET /api/cameras` and so on, from `docs/ref/api.md`.
pub fn documented_routes() -> BTreeSet<String> {
    let page = read("docs/ref/api.md");
    let routes =
        page.split("## Routes").nth(1).and_then(|s| s.split("\n## ").next()).expect("a section of routes");
    let quoted = routes.split('`').skip(1).step_by(2);
    quoted.filter(|q| q.starts_with("GET /") || q.starts_with("POST /")).map(str::to_owned).collect()
}

#[test]
fn the_api_page_lists_exactly_the_routes_there_are() {
    let routes = sigmawatch::access::TABLE.iter().filter(|rule| rule.method != "MQTT");
    let routed: BTreeSet<String> = routes.map(|rule| format!("{} {}", rule.method, rule.path)).collect();
    assert!(routed.len() > 10, "{routed:?}");
    assert_eq!(documented_routes(), routed, "left: docs/ref/api.md, right: access::TABLE");
}
