//! The page of `web/`, inside the program: `build.rs` makes the table of its files.

use super::problem::Problem;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// Every file of `web/dist` by its name, which is unique without its folder.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));
const INDEX: &str = "index.html";

struct File {
    name: &'static str,
    bytes: &'static [u8],
    kind: &'static str,
    etag: String,
}

static TABLE: LazyLock<Vec<File>> = LazyLock::new(|| {
    let etag = |bytes| Sha256::digest(bytes).iter().take(16).map(|b| format!("{b:02x}")).collect::<String>();
    FILES
        .iter()
        .map(|(name, bytes)| File { name, bytes, kind: kind(name), etag: format!("\"{}\"", etag(bytes)) })
        .collect()
});

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// `GET /`: asked for anew each time, since it names the others.
pub async fn index(headers: HeaderMap) -> Response {
    answer(INDEX, &headers, "no-cache")
}

/// `GET /assets/{file}`: named by its content, so what was fetched once is good for ever.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    if name == INDEX {
        return missing(&name);
    }
    answer(&name, &headers, "public, max-age=31536000, immutable")
}

fn answer(name: &str, headers: &HeaderMap, keep: &'static str) -> Response {
    let Some(file) = TABLE.iter().find(|file| file.name == name) else { return missing(name) };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let about = [(header::ETAG, file.etag.as_str()), (header::CACHE_CONTROL, keep)];
    if known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.etag) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(header::CONTENT_TYPE, file.kind)], file.bytes).into_response()
}

fn missing(name: &str) -> Response {
    Problem::not_found(format!("the page has no file `{name}`: load the page again")).into_response()
}
