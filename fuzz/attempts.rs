//! One attempt at each thing that reads what others wrote: whatever the bytes, it must come back without a panic.
//!
//! Used by the fuzzing targets and, with few mutations of the seeds, by `tests/it/fuzz.rs`.

use sigmawatch::access;
use sigmawatch::base::{Clock, SystemClock, Template};
use sigmawatch::config::{self, Gst, Surroundings, Transport};
use sigmawatch::frame::{FrameSpec, Next, PacketKeep, PixelFormat, open_source};
use sigmawatch::infer::{self, Manifest, Session};
use sigmawatch::weights;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

/// Between the parts of an input that has several.
pub const BETWEEN: &[u8] = b"\n--\n";
/// An attempt at a stream is given up after this.
const PATIENCE: Duration = Duration::from_secs(5);

fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(BETWEEN.len()).position(|part| part == BETWEEN) {
        Some(at) => (&data[..at], &data[at + BETWEEN.len()..]),
        None => (data, &[]),
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    if here.join("pipelines").exists() { here.into() } else { here.join("..") }
}

/// A configuration file; URLs of cameras are in it.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let env = |name: &str| (name.len() < 5).then(|| "a value".to_owned());
    let around = Surroundings { dir: Path::new("/nowhere"), env: &env, world_readable: true };
    match config::load_text("fuzz.toml", text, &around) {
        Ok(loaded) => assert!(!loaded.config.redacted().to_string().contains("canary-password")),
        Err(invalid) => assert!(!invalid.problems.is_empty()),
    }
}

/// A webhook's template, and the alert that it is filled with.
pub fn template(data: &[u8]) {
    let (text, values) = halves(data);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let values = serde_json::from_slice(values).unwrap_or_else(|_| serde_json::json!({"camera": "gate"}));
    if let Ok(template) = Template::new(text) {
        let _ = template.render(&values);
    }
}

/// A weight file: PyTorch's two layouts, or safetensors.
pub fn weights(data: &[u8]) {
    let _ = weights::read_checkpoint("fuzz.pth", data);
    let _ = weights::member("fuzz.tar.gz", data, "weights.npz");
}

/// A model file, and the manifest in it. What ONNX Runtime does to the process is the business of the one that tries models.
pub fn model(data: &[u8]) {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let fetched = root().join("runtime/libonnxruntime.so");
        let library = std::env::var_os("SIGMAWATCH_ORT_LIB").map_or(fetched, PathBuf::from);
        infer::init(&library).expect("ONNX Runtime");
    });
    let (model, manifest) = halves(data);
    let _ = Session::from_bytes("fuzz.onnx", model);
    let _ = std::str::from_utf8(manifest).map(|json| Manifest::parse("fuzz.onnx", json));
}

/// A video file of any kind, decoded and kept for clips.
pub fn video(data: &[u8]) {
    let file = tempfile::Builder::new().suffix(".video").tempfile().expect("a temporary file");
    std::fs::write(file.path(), data).expect("written");
    watch(Gst { pipeline: "file".into(), location: file.path().display().to_string(), live: false, ..gst() });
}

/// What an RTSP camera says: its SDP, then RTP packets, each after two bytes with its length.
pub fn rtsp(camera: &Camera, data: &[u8]) {
    let (sdp, packets) = halves(data);
    *camera.says.lock().expect("held by no panic") = (sdp.to_vec(), packets.to_vec());
    watch(Gst { pipeline: "rtsp".into(), location: camera.url.clone(), live: true, ..gst() });
}

/// A request to the API: the number of its route, the rest of the request line's path, and the body.
pub fn api(address: SocketAddr, data: &[u8]) {
    let (path, body) = halves(data);
    let Some((route, rest)) = path.split_first() else { return };
    let rule = &access::TABLE[*route as usize % access::TABLE.len()];
    let rest: String = rest.iter().map(|byte| format!("%{byte:02X}")).collect();
    let path = rule.path.replace("{name}", "gate").replace("{id}", &rest).replace("{number}", "1");
    // What a stream answers has no end.
    if path.contains("stream") || path.contains("live") {
        return;
    }
    let mut to = TcpStream::connect(address).expect("the server lives");
    to.set_read_timeout(Some(PATIENCE)).expect("set");
    let head = format!(
        "{} {path}?after={rest}&q={rest} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        rule.method,
        body.len()
    );
    let _ = to.write_all(head.as_bytes()).and_then(|()| to.write_all(body));
    let mut answer = vec![0; 12];
    if to.read_exact(&mut answer).is_ok() {
        assert!(!answer.ends_with(b" 500"), "{} {path} {:?}", rule.method, String::from_utf8_lossy(body));
    }
}

fn gst() -> Gst {
    Gst {
        pipeline: String::new(),
        location: String::new(),
        user: None,
        password: None,
        transport: Transport::Tcp,
        ca: None,
        live: false,
        real_time: false,
        isolate: false,
    }
}

/// Takes what comes until there is no more.
fn watch(source: Gst) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let source = config::Source::Gst(source);
    let mut source = open_source(&source, &root().join("pipelines"), clock).expect("a good description");
    source.keep_packets(PacketKeep { bytes: 1 << 20, span: Duration::from_secs(10) });
    let view = FrameSpec { width: 96, height: 64, format: PixelFormat::Gray8, fps: 10.0 };
    let Ok(mut stream) = source.open(&[view]) else { return };
    let began = Instant::now();
    let mut frames = 0;
    while frames < 200 && began.elapsed() < PATIENCE {
        match stream.next(Duration::from_millis(100)) {
            Ok(Next::Frame(_)) => frames += 1,
            Ok(Next::End) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let _ = stream.info();
    let _ = stream.pictures().latest(64);
}

/// A camera that says over RTSP what it is told to say.
pub struct Camera {
    url: String,
    says: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
}

impl Camera {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("rtsp://{}/stream", listener.local_addr().expect("bound"));
        let says = Arc::new(Mutex::new((vec![], vec![])));
        let told = says.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Clients break off as they like.
                let _ = serve(&client, &told);
            }
        });
        Self { url, says }
    }
}

fn serve(mut client: &TcpStream, says: &Mutex<(Vec<u8>, Vec<u8>)>) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(client).lines();
    loop {
        let mut head = vec![];
        for line in lines.by_ref() {
            match line? {
                line if line.is_empty() => break,
                line => head.push(line),
            }
        }
        let Some(method) = head.first().and_then(|line| line.split(' ').next()) else { return Ok(()) };
        let number = head.iter().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("0");
        let ok = format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n");
        let (sdp, packets) = says.lock().expect("held by no panic").clone();
        match method {
            "OPTIONS" => write!(client, "{ok}Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n")?,
            "DESCRIBE" => {
                write!(client, "{ok}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", sdp.len())?;
                client.write_all(&sdp)?;
            }
            "SETUP" => write!(client, "{ok}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n")?,
            "PLAY" => {
                write!(client, "{ok}RTP-Info: url=stream;seq=0;rtptime=0\r\n\r\n")?;
                let mut rest = &packets[..];
                while let Some((length, more)) = rest.split_first_chunk::<2>() {
                    let (packet, more) = more.split_at(more.len().min(u16::from_be_bytes(*length).into()));
                    client.write_all(
                        &[&[b'$', 0], &(packet.len() as u16).to_be_bytes()[..], packet].concat(),
                    )?;
                    rest = more;
                }
                return Ok(());
            }
            _ => write!(client, "{ok}\r\n")?,
        }
    }
}
