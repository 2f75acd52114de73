//! TLS, and connections that waste the server's time.

use crate::desk::{Desk, http};
use crate::fixture::viewer;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sigmawatch::api::{serve, tls};
use sigmawatch::base::Timestamp;
use sigmawatch::config::{Http, Tls};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes a certificate for localhost and its key; gives the certificate.
fn certificate(dir: &Path, name: &str) -> (CertificateDer<'static>, Tls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    (made.cert.der().clone(), Tls { cert, key })
}

fn with_tls(tls: Tls) -> Http {
    Http { tls: Some(tls), ..http("127.0.0.1:0") }
}

/// Sends a request by TLS, and gives all of the answer.
fn ask(address: std::net::SocketAddr, trusted: &CertificateDer<'static>, request: &str) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    // Some close without a goodbye; what came before counts.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_certificate_makes_it_tls_and_the_session_secure() {
    let dir = tempfile::tempdir().expect("a folder");
    let (trusted, files) = certificate(dir.path(), "a");
    let user = viewer();
    let desk = Desk::start_with(Timestamp::UNIX_EPOCH, &[user]);
    let server = serve(&with_tls(files), desk.parts.clone()).expect("served");
    let head = "Host: localhost\r\nConnection: close\r\n";
    let answer = ask(server.addr, &trusted, &format!("GET /healthz HTTP/1.1\r\n{head}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    let body = r#"{"name":"anna","password":"open sesame"}"#;
    let login = format!(
        "POST /api/login HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(server.addr, &trusted, &login);
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.starts_with("__Host-sigmawatch=") && cookie.ends_with("; Secure"), "{cookie}");
    let session = cookie.split(';').next().expect("name and value");
    let me = ask(server.addr, &trusted, &format!("GET /api/me HTTP/1.1\r\n{head}Cookie: {session}\r\n\r\n"));
    assert!(me.contains("\"anna\""), "{me}");

    let mut plain = TcpStream::connect(server.addr).expect("connected");
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "nothing is told without TLS");
}

#[test]
fn bad_files_are_named_with_the_remedy() {
    let dir = tempfile::tempdir().expect("a folder");
    let ((_, a), (_, b)) = (certificate(dir.path(), "a"), certificate(dir.path(), "b"));
    let none = dir.path().join("none.pem");
    let text = dir.path().join("text.pem");
    std::fs::write(&text, "hello\n").expect("written");
    for (cert, key, place, file) in [
        (&none, &a.key, "http.tls_cert", "none.pem"),
        (&text, &a.key, "http.tls_cert", "text.pem"),
        (&a.cert, &none, "http.tls_key", "none.pem"),
        (&a.cert, &a.cert, "http.tls_key", "a.crt"),
        (&a.cert, &b.key, "http.tls_cert", "b.key"),
    ] {
        let said = tls(&with_tls(Tls { cert: cert.clone(), key: key.clone() })).expect_err(file).to_string();
        assert!(said.starts_with(place) && said.contains(file) && said.contains("(name"), "{said}");
    }
    assert!(tls(&with_tls(a)).expect("good").is_some());
}

#[test]
fn who_dawdles_over_a_request_is_cut_off() {
    let desk = Desk::start();
    for sent in ["", "GET /healthz HTTP/1.1\r\nHost: loc"] {
        let mut socket = TcpStream::connect(desk.addr()).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        socket.write_all(sent.as_bytes()).expect("sent");
        let began = Instant::now();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        // The desk's patience is 0.3 s; a busy machine adds to it.
        assert!(began.elapsed() < Duration::from_secs(15), "{sent:?}: after {:?}", began.elapsed());
        assert!(!answer.contains("200"), "{answer}");
    }
    let long = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    let mut socket = TcpStream::connect(desk.addr()).expect("connected");
    // It may be cut off before all is sent.
    let _ = socket.write_all(long.as_bytes());
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}
