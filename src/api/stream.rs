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
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Messages that wait for one client's socket; beyond them the client falls behind the bus.
const WAITING: usize = 64;
/// Events looked up for a client that was long away.
const FROM_STORE: usize = 1000;

type Item = Result<SseEvent, Infallible>;

/// `GET /api/stream`.
pub async fn stream(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    credential: Option<Extension<Credential>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
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
    let heartbeat = shared.parts.heartbeat;
    let listener = Listener { caller, credential: credential.map(|Extension(shown)| shown) };
    tokio::spawn(feed(shared, listener, missed, live, out));
    Ok(Sse::new(ReceiverStream::new(waiting)).keep_alive(KeepAlive::new().interval(heartbeat).text("alive")))
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
            Arc::new(Message {
                id: if i + 1 == count { up_to } else { since.as_microsecond() },
                topic,
                camera: event.camera.clone(),
                data: serde_json::to_string(&dto).expect("wire shapes are plain data"),
            })
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
    loop {
        let message = match missed.next() {
            Some(message) => Ok(message),
            None => tokio::select! {
                message = live.recv() => message,
                () = out.closed() => return,
            },
        };
        // A slow client is cut off rather than left with a hole: it comes back with Last-Event-ID for the
        // alerts.
        let lost = match message {
            Ok(message) if !caller.sees(&message.camera) => continue,
            Ok(message) => {
                match tokio::time::timeout(shared.parts.patience, out.send(Ok(sse(&message)))).await {
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

fn sse(message: &Message) -> SseEvent {
    SseEvent::default().id(message.id.to_string()).event(message.topic.name()).data(&message.data)
}
