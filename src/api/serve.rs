//! The server: bound from plain threads, running on its own, stopped by dropping its handle.

use super::guard::Guard;
use super::{Bus, Cameras, Sinks, routes};
use crate::access::Access;
use crate::base::Clock;
use crate::config::Http;
use crate::store::Store;
use crate::telemetry::Metrics;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Requests under way have this long to end when the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Threads that read the disk and encode pictures for requests; further requests wait.
const BLOCKING_THREADS: usize = 8;

pub const HEARTBEAT: Duration = Duration::from_secs(15);
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the API speaks for.
#[derive(Clone)]
pub struct Parts {
    pub cameras: Arc<dyn Cameras>,
    pub sinks: Arc<dyn Sinks>,
    pub store: Arc<Store>,
    pub bus: Arc<Bus>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// The configuration without its secrets.
    pub config: serde_json::Value,
    /// Time between the stream's signs of life; [`HEARTBEAT`] unless in a test.
    pub heartbeat: Duration,
    /// A client of the stream that takes nothing for this long is cut off; [`PATIENCE`] unless in a test.
    pub patience: Duration,
}

/// What every request can reach.
pub(super) struct Shared {
    pub(super) parts: Parts,
    /// Becomes true when the server stops: streams would never end by themselves.
    pub(super) stopping: watch::Receiver<bool>,
    /// Served by TLS.
    pub(super) secure: bool,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[error("http.listen = \"{listen}\": {problem} ({remedy})")]
pub struct ServeError {
    pub listen: SocketAddr,
    pub problem: String,
    pub remedy: &'static str,
}

impl ServeError {
    fn new(listen: SocketAddr, error: &std::io::Error) -> Self {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => "stop the program that has this port, or choose another",
            ErrorKind::AddrNotAvailable => "choose an address of this machine, or 0.0.0.0 for all of them",
            ErrorKind::PermissionDenied => "choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
            _ => "choose another address or port",
        };
        Self { listen, problem: error.to_string(), remedy }
    }
}

/// A running server. Dropping it stops it: streams end at once, other requests get two seconds.
pub struct ServerHandle {
    /// Where it listens; the port is the one taken where 0 was asked for.
    pub addr: SocketAddr,
    stop: watch::Sender<bool>,
    /// Taken when dropped.
    running: Option<(Runtime, JoinHandle<std::io::Result<()>>)>,
}

/// Binds the address and serves until the handle is dropped. Not to be called from within an async runtime.
pub fn serve(http: &Http, parts: Parts) -> Result<ServerHandle, ServeError> {
    let listen = http.listen;
    let failed = |e: &std::io::Error| ServeError::new(listen, e);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|e| failed(&e))?;
    let listener = runtime.block_on(TcpListener::bind(listen)).map_err(|e| failed(&e))?;
    let addr = listener.local_addr().map_err(|e| failed(&e))?;
    let (stop, stopping) = watch::channel(false);
    let mut stopped = stopping.clone();
    let shared = Arc::new(Shared { parts, stopping, secure: http.tls.is_some() });
    let router = routes::router(shared, Guard::new(addr, &http.hosts));
    let task = runtime.spawn(async move {
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            })
            .await
    });
    Ok(ServerHandle { addr, stop, running: Some((runtime, task)) })
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some((runtime, task)) = self.running.take() {
            if runtime.block_on(async { tokio::time::timeout(DRAIN, task).await }).is_err() {
                tracing::warn!("some requests were cut off at the stop");
            }
            runtime.shutdown_background();
        }
    }
}
