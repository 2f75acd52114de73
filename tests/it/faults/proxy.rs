//! A proxy before an RTSP camera (over TCP) that does to it what a test wants: silence, damage, a refusal.

use rand::RngExt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A camera that has room for one session frees it this long after its connection has gone without a goodbye.
const FORGETS: Duration = Duration::from_secs(30);

/// What is done to the packets that the camera sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// They are kept back.
    Silent,
    /// One byte in so many of their payload is another one.
    Damage,
    /// They end somewhere in their payload.
    Cut,
}

/// What both directions, and the test, know.
struct State {
    mode: AtomicU8,
    teardowns: AtomicUsize,
    refused: AtomicUsize,
    /// The camera has room for one session alone, and that is taken until then; `None`: free.
    single: bool,
    taken: Mutex<Option<Instant>>,
    over: AtomicBool,
}

/// The proxy; dropping it ends it for what connects later.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// `single`: while one session lasts, others are told 453.
    pub fn before(camera: u16, single: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            mode: AtomicU8::new(0),
            teardowns: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            single,
            taken: Mutex::new(None),
            over: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.over.load(Relaxed) {
                    return;
                }
                let Ok(camera) = TcpStream::connect(("127.0.0.1", camera)) else { continue };
                let state = shared.clone();
                std::thread::spawn(move || serve(client, camera, &state));
            }
        });
        Self { port, state }
    }

    pub fn set(&self, mode: Mode) {
        self.state.mode.store(mode as u8, Relaxed);
    }

    pub fn teardowns(&self) -> usize {
        self.state.teardowns.load(Relaxed)
    }

    pub fn refused(&self) -> usize {
        self.state.refused.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(client: TcpStream, camera: TcpStream, state: &Arc<State>) {
    let (down_client, down_camera) =
        (client.try_clone().expect("cloned"), camera.try_clone().expect("cloned"));
    let downward = state.clone();
    std::thread::spawn(move || {
        let _ = down(BufReader::new(down_camera), &down_client, &downward);
        let _ = down_client.shutdown(Shutdown::Both);
    });
    let mut holds = false;
    let _ = up(BufReader::new(client), &camera, state, &mut holds);
    let _ = camera.shutdown(Shutdown::Both);
    if holds {
        *state.taken.lock().expect("held by no panic") = Some(Instant::now() + FORGETS);
    }
}

/// From the client: requests, and its reports between them.
fn up(
    mut from: BufReader<TcpStream>,
    mut to: &TcpStream,
    state: &State,
    holds: &mut bool,
) -> std::io::Result<()> {
    while let Some(&first) = from.fill_buf()?.first() {
        if first == b'$' {
            to.write_all(&packet(&mut from)?)?;
            continue;
        }
        let text = message(&mut from)?;
        let head = String::from_utf8_lossy(&text).into_owned();
        if head.starts_with("SETUP") && state.single && !*holds {
            let mut taken = state.taken.lock().expect("held by no panic");
            if taken.is_some_and(|until| Instant::now() < until) {
                state.refused.fetch_add(1, Relaxed);
                let number =
                    head.lines().find(|line| line.to_lowercase().starts_with("cseq")).unwrap_or("CSeq: 0");
                let mut client = from.get_ref();
                client
                    .write_all(format!("RTSP/1.0 453 Not Enough Bandwidth\r\n{number}\r\n\r\n").as_bytes())?;
                continue;
            }
            // Taken for as long as it lasts.
            (*taken, *holds) = (Some(Instant::now() + Duration::from_secs(86_400)), true);
        }
        if head.starts_with("TEARDOWN") {
            state.teardowns.fetch_add(1, Relaxed);
            if std::mem::take(holds) {
                *state.taken.lock().expect("held by no panic") = None;
            }
        }
        to.write_all(&text)?;
    }
    Ok(())
}

/// From the camera: answers as they are, packets as the test wants them.
fn down(mut from: BufReader<TcpStream>, mut to: &TcpStream, state: &State) -> std::io::Result<()> {
    const HEADER: usize = 4 + 12;
    let mut random = rand::rng();
    while let Some(&first) = from.fill_buf()?.first() {
        let mut bytes = if first == b'$' { packet(&mut from)? } else { message(&mut from)? };
        if first == b'$' {
            while state.mode.load(Relaxed) == Mode::Silent as u8 {
                std::thread::sleep(Duration::from_millis(20));
            }
            let mode = state.mode.load(Relaxed);
            if mode == Mode::Damage as u8 {
                for byte in bytes.iter_mut().skip(HEADER) {
                    if random.random_range(0..50) == 0 {
                        *byte = random.random();
                    }
                }
            } else if mode == Mode::Cut as u8 && bytes.len() > HEADER + 2 && random.random_range(0..4) == 0 {
                bytes.truncate(random.random_range(HEADER + 1..bytes.len()));
                let length = (bytes.len() - 4) as u16;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
            }
        }
        to.write_all(&bytes)?;
    }
    Ok(())
}

/// A packet between the messages: `$`, channel, length, payload.
pub fn packet(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes)?;
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    bytes.resize(4 + length, 0);
    from.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

/// A request or an answer, with its body.
pub fn message(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let (mut text, mut length) = (vec![], 0);
    loop {
        let begun = text.len();
        if from.read_until(b'\n', &mut text)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&text[begun..]).to_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let begun = text.len();
    text.resize(begun + length, 0);
    from.read_exact(&mut text[begun..])?;
    Ok(text)
}
