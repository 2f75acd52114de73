//! Whether an RTSP server answers at all: a question that costs it next to nothing.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// For the connection, and for the answer.
const LONGEST: Duration = Duration::from_millis(500);
/// For the connection before an attempt. The first packet of a connection, if it is lost, is sent again only after 1, 3
/// and 7 s, and a camera that returns meanwhile would wait for that: a new connection is sooner there.
const REACH: Duration = Duration::from_secs(1);

/// Whether whoever is at an `rtsp://` or `rtsps://` address answers now. `None`: it cannot be asked, since the host is
/// not a number: looking up a name may take as long as the wait that this is to shorten.
pub(super) fn answers(location: &str) -> Option<bool> {
    let (address, encrypted) = place(location)?;
    Some(asked(address, encrypted).is_ok_and(|bytes| encrypted || bytes > 0))
}

/// Whether a connection to that address comes about within a second; `Ok` where it cannot be asked.
pub(super) fn reach(location: &str) -> std::io::Result<()> {
    place(location).map_or(Ok(()), |(address, _)| TcpStream::connect_timeout(&address, REACH).map(drop))
}

/// Where to knock, and whether TLS is spoken there.
fn place(location: &str) -> Option<(SocketAddr, bool)> {
    let (scheme, rest) = location.split_once("://")?;
    let (encrypted, port) = match scheme {
        "rtsp" | "rtspt" | "rtspu" => (false, 554),
        "rtsps" => (true, 322),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let address = match host.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => SocketAddr::new(host.trim_matches(['[', ']']).parse::<IpAddr>().ok()?, port),
    };
    Some((address, encrypted))
}

/// Bytes of the answer to `OPTIONS` (RFC 2326, 10.1); none where it is not asked for.
fn asked(address: SocketAddr, encrypted: bool) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect_timeout(&address, LONGEST)?;
    if encrypted {
        return Ok(0);
    }
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_write_timeout(Some(LONGEST))?;
    stream.write_all(format!("OPTIONS rtsp://{address}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n").as_bytes())?;
    stream.read(&mut [0; 64])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn who_speaks_answers_and_who_is_silent_or_not_there_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let at = |scheme: &str| answers(&format!("{scheme}://guard:a@b@{address}/stream?x=1"));
        // Nobody takes the connection, though the system does.
        assert_eq!((at("rtsp"), at("rtsps")), (Some(false), Some(true)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The two from before come first.
                for _ in 0..3 {
                    let (mut stream, _) = listener.accept().expect("a client");
                    // Whoever has gone hears nothing.
                    let _ = stream.write_all(b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n");
                }
            });
            assert_eq!(at("rtsp"), Some(true));
        });
        let reached = || reach(&format!("rtsp://{address}/")).is_ok();
        assert!(reached());
        drop(listener);
        assert_eq!((at("rtsp"), at("rtsps"), reached()), (Some(false), Some(false), false));
        assert!(
            reach("rtsp://gate.example/a").is_ok() && reach("/dev/video0").is_ok(),
            "left to the attempt"
        );
        assert_eq!(
            [answers("rtsp://gate.example/a"), answers("/dev/video0"), answers("http://10.0.0.1/")],
            [None; 3]
        );
    }
}
