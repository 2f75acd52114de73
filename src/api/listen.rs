//! Connections: taken in a bounded number, by TLS where there is a certificate, with limits of time for each.

use super::serve::ServeError;
use crate::config::{Http, Tls};
use crate::telemetry::Metrics;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Connections at once; a further one is told 503 and closed. Fewer where the process may not open as many files.
pub const CONNECTIONS: usize = 2048;
/// Bytes of a request's head.
const LARGEST_HEAD: usize = 32 << 10;
/// After an accept that failed, for want of files say.
const PAUSE: Duration = Duration::from_millis(100);
/// What a connection beyond the limit is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";

/// Lets the process open as many files as it may at all, and gives how many.
fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A sandbox may forbid it, and then the old limit holds.
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
    .map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Reads certificate and key, and sees whether they belong together.
///
/// # Errors
/// Names the file that is bad, and the remedy.
pub fn tls(http: &Http) -> Result<Option<Arc<ServerConfig>>, ServeError> {
    let Some(Tls { cert, key }) = &http.tls else { return Ok(None) };
    let bad = |file: &Path, problem: String, remedy: &'static str| {
        let key = if file == key.as_path() { "tls_key" } else { "tls_cert" };
        ServeError { place: format!("http.{key}"), problem: format!("{}: {problem}", file.display()), remedy }
    };
    let pem = "name a PEM file that the daemon may read, with the server's certificate first";
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| bad(cert, format!("no certificate: {e}"), pem))?;
    if chain.is_empty() {
        return Err(bad(cert, "no certificate is in it".into(), pem));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| {
        bad(key, format!("no private key: {e}"), "name the PEM file of the private key, without a password")
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|e| {
            let remedy = "name certificate and key that were made for each other";
            bad(cert, format!("it does not fit {}: {e}", key.display()), remedy)
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// Takes connections.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
    /// A client that does not get on for this long is cut off: with a request's head (also the next one of a connection
    /// that is kept), with a TLS handshake, or with taking what was sent to it.
    pub(super) patience: Duration,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Door {
    /// Takes connections until the stop, and then waits for those that are there.
    pub(super) async fn keep(self) {
        let most = CONNECTIONS.min(raise_file_limit() / 2).max(1);
        let places = Arc::new(Semaphore::new(most));
        let tls = self.tls.clone().map(TlsAcceptor::from);
        let mut stopping = self.stopping.clone();
        loop {
            let (socket, peer) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!("a connection could not be taken: {error}");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
                () = stopped(&mut stopping) => break,
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                self.metrics.connection_refused();
                refuse(socket, tls.is_some()).await;
                continue;
            };
            self.metrics.connection_opened();
            let guest = Guest {
                peer,
                router: self.router.clone(),
                stopping: self.stopping.clone(),
                metrics: self.metrics.clone(),
                patience: self.patience,
                _place: place,
            };
            tokio::spawn(guest.serve(socket, tls.clone()));
        }
        drop(self.listener);
        // Nobody closes the semaphore.
        let _ = places.acquire_many(most as u32).await;
    }
}

/// Waits for the stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the handle is gone, which is a stop, too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Says no without waiting for anything.
async fn refuse(mut socket: TcpStream, by_tls: bool) {
    if !by_tls {
        // What does not fit into an empty buffer at once is not worth a wait.
        let _ = tokio::time::timeout(PAUSE, socket.write_all(FULL)).await;
    }
}

/// One connection.
struct Guest {
    peer: SocketAddr,
    router: Router,
    stopping: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    patience: Duration,
    /// Given back when the connection ends.
    _place: OwnedSemaphorePermit,
}

impl Guest {
    async fn serve(self, socket: TcpStream, tls: Option<TlsAcceptor>) {
        // Small messages are to arrive now. Both fail only where the client has gone already.
        let _ = socket.set_nodelay(true);
        let _ = set_tcp_user_timeout(&socket, self.patience.as_millis() as u32);
        match tls {
            None => self.speak(socket).await,
            Some(tls) => match tokio::time::timeout(self.patience, tls.accept(socket)).await {
                Ok(Ok(socket)) => self.speak(socket).await,
                Ok(Err(error)) => tracing::debug!(peer = %self.peer, "no TLS: {error}"),
                Err(_) => tracing::debug!(peer = %self.peer, "the TLS handshake took too long"),
            },
        }
    }

    async fn speak(&self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let router = TowerToHyperService::new(self.router.clone());
        let peer = self.peer;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(socket), service);
        let mut connection = std::pin::pin!(connection);
        let mut stopping = self.stopping.clone();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, "a connection ended early: {error}");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.metrics.connection_closed();
    }
}
