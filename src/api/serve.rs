//! The server: bound from plain threads, running on its own, stopped by dropping its handle.

use super::guard::Guard;
use super::listen::{self, Door};
use super::{Bus, Cameras, Configuration, Sinks, routes};
use crate::access::Access;
use crate::base::Clock;
use crate::config::Http;
use crate::store::Store;
use crate::telemetry::Metrics;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Requests under way have this long to end when the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Clients of the stream at once; the other connections are left for everything else.
const STREAMS: usize = 1536;
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
    pub configuration: Arc<dyn Configuration>,
    /// The configuration's folder: what paths of a configuration start from.
    pub config_dir: PathBuf,
    /// Time between the stream's signs of life; [`HEARTBEAT`] unless in a test.
    pub heartbeat: Duration,
    /// A client that takes nothing for this long is cut off, and so is one that does not finish a request's head or a
    /// TLS handshake; [`PATIENCE`] unless in a test.
    pub patience: Duration,
}

/// What every request can reach.
pub(super) struct Shared {
    pub(super) parts: Parts,
    /// Becomes true when the server stops: streams would never end by themselves.
    pub(super) stopping: watch::Receiver<bool>,
    /// Served by TLS.
    pub(super) secure: bool,
    /// Places for clients of the stream.
    pub(super) streams: Arc<Semaphore>,
    /// Held by the one backtest that is at work.
    pub(super) trials: Arc<Semaphore>,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem} ({remedy})")]
pub struct ServeError {
    /// The key of the configuration, with its value where that helps.
    pub place: String,
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
        Self { place: format!("http.listen = \"{listen}\""), problem: error.to_string(), remedy }
    }
}

/// A running server. Dropping it stops it: streams end at once, other requests get two seconds.
pub struct ServerHandle {
    /// Where it listens; the port is the one taken where 0 was asked for.
    pub addr: SocketAddr,
    stop: watch::Sender<bool>,
    /// Taken when dropped.
    running: Option<(Runtime, JoinHandle<()>)>,
}

/// Binds the address and serves until the handle is dropped. Not to be called from within an async runtime.
pub fn serve(http: &Http, parts: Parts) -> Result<ServerHandle, ServeError> {
    let listen = http.listen;
    let tls = listen::tls(http)?;
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
    let (metrics, patience) = (parts.metrics.clone(), parts.patience);
    let streams = Arc::new(Semaphore::new(STREAMS));
    let (secure, trials) = (tls.is_some(), Arc::new(Semaphore::new(1)));
    let shared = Arc::new(Shared { parts, stopping: stopping.clone(), secure, streams, trials });
    let router = routes::router(shared, Guard::new(addr, &http.hosts));
    let task = runtime.spawn(Door { listener, tls, router, metrics, patience, stopping }.keep());
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
