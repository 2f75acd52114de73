//! A proxy before an RTSP camera over UDP, and the weather on the way: packets come late, out of turn, damaged or never.

use super::proxy::{message, packet};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How much later one comes that is out of turn: behind what followed it.
const BEHIND: Duration = Duration::from_millis(15);
/// RTP's own header (RFC 3550) is not damaged.
const HEADER: usize = 12;

/// What happens to the camera's packets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Each comes up to so much later.
    pub late: Duration,
    /// Shares of them that come out of turn, never, and with a byte that is another one.
    pub out_of_turn: f64,
    pub lost: f64,
    pub damaged: f64,
    /// Share of the bytes of all of them that are others.
    pub bytes: f64,
}

/// The proxy; dropping it ends it for what connects later.
pub struct Way {
    pub port: u16,
    weather: Arc<Mutex<Weather>>,
    over: Arc<AtomicBool>,
}

/// Ports of RTP and RTCP at both ends of a connection; 0 while they are not known.
#[derive(Default)]
struct Ends {
    client: [AtomicU16; 2],
    camera: [AtomicU16; 2],
    /// Here, for both.
    here: [AtomicU16; 2],
    over: AtomicBool,
}

impl Way {
    /// To the RTSP server at this port.
    pub fn to(camera: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let way = Self { port, weather: Arc::default(), over: Arc::default() };
        let (weather, over) = (way.weather.clone(), way.over.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Relaxed) {
                    return;
                }
                let Ok(camera) = TcpStream::connect(("127.0.0.1", camera)) else { continue };
                let weather = weather.clone();
                std::thread::spawn(move || follow(&client, &camera, &weather));
            }
        });
        way
    }

    pub fn set(&self, weather: Weather) {
        *self.weather.lock().expect("held by no panic") = weather;
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One connection, until either side ends it.
fn follow(client: &TcpStream, camera: &TcpStream, weather: &Arc<Mutex<Weather>>) {
    let ends = Arc::new(Ends::default());
    let mut sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
    sockets.sort_by_key(|socket| socket.local_addr().expect("an address").port());
    for (which, socket) in sockets.into_iter().enumerate() {
        ends.here[which].store(socket.local_addr().expect("an address").port(), Relaxed);
        let (ends, weather) = (ends.clone(), weather.clone());
        std::thread::spawn(move || relay(&socket, &ends, which, &weather));
    }
    std::thread::scope(|scope| {
        // Requests name the client's ports, answers those of both.
        scope.spawn(|| {
            let _ = messages(client, camera, |text| swap(text, "client_port=", &ends.client, &ends.here));
            let _ = camera.shutdown(Shutdown::Both);
        });
        let _ = messages(camera, client, |text| {
            let text = swap(text, "server_port=", &ends.camera, &ends.here);
            swap(text, "client_port=", &Default::default(), &ends.client)
        });
        let _ = client.shutdown(Shutdown::Both);
    });
    ends.over.store(true, Relaxed);
}

fn messages(from: &TcpStream, mut to: &TcpStream, change: impl Fn(String) -> String) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    while let Some(&first) = from.fill_buf()?.first() {
        if first == b'$' {
            to.write_all(&packet(&mut from)?)?;
            continue;
        }
        let text = message(&mut from)?;
        match String::from_utf8(text) {
            Ok(text) => to.write_all(change(text).as_bytes())?,
            Err(error) => to.write_all(error.as_bytes())?,
        }
    }
    Ok(())
}

/// The text with others instead of the ports that `name` gives; those are kept in `known`.
fn swap(text: String, name: &str, known: &[AtomicU16; 2], others: &[AtomicU16; 2]) -> String {
    let Some((before, rest)) = text.split_once(name) else { return text };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
    let (ports, after) = rest.split_at(end);
    for (port, known) in ports.split('-').zip(known) {
        known.store(port.parse().unwrap_or(0), Relaxed);
    }
    let [rtp, rtcp] = others.each_ref().map(|port| port.load(Relaxed));
    format!("{before}{name}{rtp}-{rtcp}{after}")
}

/// Packets of both ends: those of the camera as the weather has them, once they are due.
fn relay(socket: &UdpSocket, ends: &Ends, which: usize, weather: &Mutex<Weather>) {
    let mut random = StdRng::seed_from_u64(7);
    let mut waiting = BinaryHeap::<Reverse<(Instant, u64, Vec<u8>)>>::new();
    let (mut number, mut buffer) = (0, vec![0; 1 << 16]);
    let send = |bytes: &[u8], to: &AtomicU16| {
        // Whoever has gone misses nothing.
        let _ = socket.send_to(bytes, (Ipv4Addr::LOCALHOST, to.load(Relaxed)));
    };
    while !ends.over.load(Relaxed) {
        let now = Instant::now();
        while waiting.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, bytes))) = waiting.pop() else { break };
            send(&bytes, &ends.client[which]);
        }
        let next = waiting.peek().map_or(Duration::from_millis(50), |Reverse((due, ..))| *due - now);
        socket.set_read_timeout(Some(next.max(Duration::from_millis(1)))).expect("not zero");
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let bytes = &mut buffer[..length];
        if from.port() != ends.camera[which].load(Relaxed) {
            send(bytes, &ends.camera[which]);
            continue;
        }
        let weather = *weather.lock().expect("held by no panic");
        let mut chance = |share: f64| share > 0.0 && random.random_bool(share);
        // Reports of RTCP come as they are.
        if which == 1 {
            send(bytes, &ends.client[which]);
            continue;
        }
        if chance(weather.lost) {
            continue;
        }
        let (one, behind) = (chance(weather.damaged), chance(weather.out_of_turn));
        let hit = one.then(|| random.random_range(HEADER..length.max(HEADER + 1)));
        for (at, byte) in bytes.iter_mut().enumerate().skip(HEADER) {
            if hit == Some(at) || weather.bytes > 0.0 && random.random_bool(weather.bytes) {
                *byte ^= random.random_range(1..=255);
            }
        }
        let late = weather.late.mul_f64(random.random()) + if behind { BEHIND } else { Duration::ZERO };
        number += 1;
        waiting.push(Reverse((Instant::now() + late, number, bytes.to_vec())));
    }
}
