//! Server-sent events: what happens, as it happens, to any number of browsers and programs.

use super::bus::{Message, Missed, Topic};
use super::dto::EventDto;
use super::problem::Problem;
use super::serve::Shared;
use crate::access::{Caller, Credential};
use crate::alert::Change;
use crate::base::Timestamp;
use crate::store::StoreError;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Messages that wait for one client's socket; beyond them the client falls behind the bus.
const WAITING: usize = 64;
/// What nginx looks at.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Events looked up for a client that was long away.
const FROM_STORE: usize = 1000;

type Item = Result<Bytes, Infallible>;

/// A sign of life.
const ALIVE: Bytes = Bytes::from_static(b": alive\n\n");

/// `GET /api/stream`.
pub async fn stream(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    credential: Option<Extension<Credential>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = shared.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "as many streams are open as may be: try again later")
            .after(shared.parts.patience)
    })?;
    let last_seen = match headers.get("last-event-id").map(|v| v.to_str().ok().and_then(|v| v.parse().ok())) {
        Some(Some(id)) => Some(id),
        // Browsers send an empty one before they have seen any.
        Some(None) if headers.get("last-event-id").is_some_and(|v| v.is_empty()) => None,
        Some(None) => return Err(Problem::bad_request("Last-Event-ID is not an id that this stream gave")),
        None => None,
    };
    let (missed, live) = shared.parts.bus.subscribe(last_seen);
    let missed = match missed {
        Missed::Kept(messages) => messages,
        Missed::InStore { since, up_to } => {
            let shared = shared.clone();
            tokio::task::spawn_blocking(move || from_store(&shared, since, up_to))
                .await
                .map_err(|e| Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))??
        }
    };
    let (out, waiting) = mpsc::channel(WAITING);
    let listener = Listener { caller, credential: credential.map(|Extension(shown)| shown) };
    tokio::spawn(async move {
        feed(shared, listener, missed, live, out).await;
        drop(place);
    });
    // A proxy that collects answers would keep the news back.
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (UNBUFFERED, "no")];
    Ok((headers, Body::from_stream(ReceiverStream::new(waiting))).into_response())
}

/// Events that changed since then. Only the last one carries a new id: a client that is cut off before it
/// asks again from where it was.
fn from_store(shared: &Shared, since: Timestamp, up_to: i64) -> Result<Vec<Arc<Message>>, StoreError> {
    let events = shared.parts.store.events_changed_since(since, FROM_STORE)?;
    let count = events.len();
    Ok(events
        .iter()
        .enumerate()
        .map(|(i, event)| {
            let dto = EventDto::listed(event);
            let topic = if dto.kind == Change::End { Topic::AlertEnd } else { Topic::AlertNew };
            let id = if i + 1 == count { up_to } else { since.as_microsecond() };
            Arc::new(Message::new(id, topic, event.camera.clone(), &dto))
        })
        .collect())
}

/// Who listens. What it is recognised by may end before the stream does.
struct Listener {
    caller: Caller,
    credential: Option<Credential>,
}

async fn feed(
    shared: Arc<Shared>,
    listener: Listener,
    missed: Vec<Arc<Message>>,
    mut live: broadcast::Receiver<Arc<Message>>,
    out: mpsc::Sender<Item>,
) {
    shared.parts.metrics.stream_opened();
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        () = converse(&shared, &listener.caller, missed, &mut live, &out) => {}
        () = unknown(&shared, &listener) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    shared.parts.metrics.stream_closed();
}

/// Waits until the listener has logged out, or its token has expired.
async fn unknown(shared: &Shared, listener: &Listener) {
    let known = |shown: &Credential| shared.parts.access.recognise(shown).is_some();
    while listener.credential.as_ref().is_none_or(known) {
        tokio::time::sleep(shared.parts.heartbeat).await;
    }
}

/// Hands over messages until the client is gone or too slow.
async fn converse(
    shared: &Shared,
    caller: &Caller,
    missed: Vec<Arc<Message>>,
    live: &mut broadcast::Receiver<Arc<Message>>,
    out: &mpsc::Sender<Item>,
) {
    let mut missed = missed.into_iter();
    let mut beat = tokio::time::interval(shared.parts.heartbeat);
    beat.reset();
    loop {
        let message = match missed.next() {
            Some(message) => Ok(message),
            None => tokio::select! {
                message = live.recv() => message,
                _ = beat.tick() => {
                    // Where the queue is full, the client has other things to read.
                    let _ = out.try_send(Ok(ALIVE));
                    continue;
                }
                () = out.closed() => return,
            },
        };
        // A slow client is cut off rather than left with a hole: it comes back with Last-Event-ID for the
        // alerts.
        let lost = match message {
            Ok(message) if !caller.sees(&message.camera) => continue,
            Ok(message) => {
                match tokio::time::timeout(shared.parts.patience, out.send(Ok(message.wire.clone()))).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => return,
                    Err(_) => 1 + live.len() as u64,
                }
            }
            Err(RecvError::Lagged(messages)) => messages,
            Err(RecvError::Closed) => return,
        };
        shared.parts.metrics.stream_lagged(lost);
        return;
    }
}
