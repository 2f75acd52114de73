//! Clips over HTTP, whole or in ranges: players fetch what they show.

use super::problem::Problem;
use super::serve::Shared;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes that are read at once; a client that does not take them costs no more.
const CHUNK: u64 = 256 << 10;

/// `GET /api/events/{id}/clip.mp4`.
pub async fn clip(
    State(api): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let opened = super::routes::blocking(move || {
        let file = api.parts.store.open_clip(&id)?;
        let file = file
            .ok_or_else(|| Problem::not_found(format!("event `{id}` is not there or has no clip (yet)")))?;
        let length = file.metadata().map_err(|e| unreadable(&e))?.len();
        Ok((file, length))
    });
    let (file, length) = opened.await?;
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    // A clip never changes once it is there: any version that a client has is this one.
    let part = asked.map_or(Asked::Whole, |asked| range(asked, length));
    let common = [(header::CONTENT_TYPE, "video/mp4"), (header::ACCEPT_RANGES, "bytes")];
    let body = |first: u64, count: u64| Body::from_stream(ReceiverStream::new(read(file, first, count)));
    Ok(match part {
        Asked::Whole => {
            (common, [(header::CONTENT_LENGTH, length.to_string())], body(0, length)).into_response()
        }
        Asked::Part { first, last } => {
            let count = last - first + 1;
            let place = [
                (header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}")),
                (header::CONTENT_LENGTH, count.to_string()),
            ];
            (StatusCode::PARTIAL_CONTENT, common, place, body(first, count)).into_response()
        }
        Asked::Outside => {
            let place = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            let problem = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("the clip has {length} bytes, and none in that range"),
            );
            (place, problem).into_response()
        }
    })
}

fn unreadable(error: &std::io::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the clip cannot be read: {error}"))
}

/// What of a file a request is about (RFC 9110, 14.1.2).
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    /// Both inclusive.
    Part {
        first: u64,
        last: u64,
    },
    Outside,
}

/// Reads a `Range` header for a file of `length` bytes. Several ranges and what is not understood get the whole file.
fn range(header: &str, length: u64) -> Asked {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last),
        (Ok(first), Err(_)) if last.is_empty() => (first, u64::MAX),
        (Err(_), Ok(0)) if first.is_empty() => return Asked::Outside,
        (Err(_), Ok(count)) if first.is_empty() => (length.saturating_sub(count), u64::MAX),
        _ => return Asked::Whole,
    };
    if first >= length {
        return Asked::Outside;
    }
    Asked::Part { first, last: last.min(length - 1) }
}

/// Reads `count` bytes from `first` on, as they are taken: one chunk waits for the client, no thread does.
fn read(file: File, first: u64, count: u64) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (out, waiting) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut file, mut at, end) = (file, first, first + count);
        while at < end {
            // Room first: a client that has gone is noticed before anything is read.
            let Ok(room) = out.reserve().await else { return };
            let chunk = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; CHUNK.min(end - at) as usize];
                let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
                (file, read.map(|()| bytes))
            });
            let read = match chunk.await {
                Ok((back, read)) => {
                    file = back;
                    read
                }
                Err(error) => return room.send(Err(std::io::Error::other(error))),
            };
            at += CHUNK;
            let failed = read.is_err();
            room.send(read);
            if failed {
                return;
            }
        }
    });
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |first, last| Asked::Part { first, last };
        for (header, asked) in [
            ("bytes=0-", part(0, 999)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=10-19", part(10, 19)),
            ("bytes=990-5000", part(990, 999)),
            ("bytes=-1", part(999, 999)),
            ("bytes=-5000", part(0, 999)),
            ("bytes=1000-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=20-10", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
        ] {
            assert_eq!(range(header, 1000), asked, "{header}");
        }
        assert_eq!(range("bytes=0-", 0), Asked::Outside);
    }
}
