//! Puts the page, which `make web` builds into `web/dist`, into the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/dist");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    match table(&root.join("web/dist")) {
        Ok(table) => {
            std::fs::write(out.join("page_files.rs"), table).expect("cargo's own folder is writable")
        }
        Err(error) => println!(
            "cargo::error=the page is not built ({error}): run `make web` (it needs Node.js 18 or later), then this again"
        ),
    }
}

/// `web/dist` as a Rust expression: name below `assets/` (or `index.html`), and the bytes.
fn table(dist: &Path) -> Result<String, String> {
    let index = dist.join("index.html");
    if !index.is_file() {
        return Err("web/dist/index.html is missing".into());
    }
    let assets = std::fs::read_dir(dist.join("assets")).map_err(|e| format!("web/dist/assets: {e}"))?;
    let mut paths: Vec<PathBuf> = assets.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.insert(0, index);
    let mut text = String::from("&[\n");
    for path in paths {
        let name = path.file_name().and_then(|n| n.to_str()).ok_or("a file's name is not text")?;
        writeln!(text, "    ({name:?}, include_bytes!({path:?})),").expect("strings take everything");
    }
    Ok(text + "]\n")
}
