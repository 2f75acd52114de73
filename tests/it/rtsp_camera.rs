//! An RTSP camera for tests: serves an H.264 MP4 in real time, each client from its first frame.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_rtsp_server::{self as rtsp, gst_rtsp, prelude::*};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

/// A running camera; dropping it cuts every connection and closes the port.
pub struct RtspCamera {
    pub port: u16,
    main: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    silent: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

/// What a camera demands of its clients.
#[derive(Clone, Copy)]
pub struct Login {
    pub user: &'static str,
    pub password: &'static str,
    pub digest: bool,
}

impl RtspCamera {
    /// Serves `clip` (MP4, H.264) on a free loopback port, to anybody.
    pub fn serve(clip: &Path) -> Self {
        Self::start(clip, 0, None)
    }

    /// Serves on a given port (0: a free one), perhaps only to those who log in.
    pub fn start(clip: &Path, port: u16, login: Option<Login>) -> Self {
        Self::begin(&of_mp4(clip), port, login, None)
    }

    /// Serves by TLS to anybody; `pem`: certificate and key.
    pub fn encrypted(clip: &Path, pem: &str) -> Self {
        Self::begin(&of_mp4(clip), 0, None, Some(pem.to_owned()))
    }

    /// Serves what a description of one's own makes, whose payloaders are named `pay0` and so on.
    pub fn launch(description: &str, port: u16) -> Self {
        Self::begin(description, port, None, None)
    }

    fn begin(launch: &str, port: u16, login: Option<Login>, pem: Option<String>) -> Self {
        gst::init().expect("GStreamer starts");
        let context = glib::MainContext::new();
        let main = glib::MainLoop::new(Some(&context), false);
        let silent = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (main, launch) = (main.clone(), launch.to_owned());
            let (silent, connections) = (Arc::clone(&silent), Arc::clone(&connections));
            move || {
                let with = context.with_thread_default(|| {
                    let server = server(&launch, port, login, silent, connections);
                    if let Some(pem) = &pem {
                        let auth = rtsp::RTSPAuth::new();
                        let certificate =
                            gio::TlsCertificate::from_pem(pem).expect("a certificate and its key");
                        auth.set_tls_certificate(Some(&certificate));
                        let mut anybody = rtsp::RTSPToken::builder()
                            .field(rtsp::RTSP_TOKEN_MEDIA_FACTORY_ROLE.as_str(), "anybody")
                            .build();
                        auth.set_default_token(Some(&mut anybody));
                        server.set_auth(Some(&auth));
                    }
                    let source = server.attach(Some(&context)).expect("the port is free");
                    tell.send(server.bound_port() as u16).expect("the test waits for it");
                    main.run();
                    server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
                    if let Some(source) = context.find_source_by_id(&source) {
                        source.destroy();
                    }
                });
                with.expect("a context of its own");
            }
        });
        let port = told.recv().expect("the server starts");
        Self { port, main, thread: Some(thread), silent, connections }
    }

    /// The stream's address.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/stream", self.port)
    }

    /// Clients that were served so far, a new one each time that somebody connects.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// From now on connections stay up but bring no more pictures.
    pub fn fall_silent(&self) {
        self.silent.store(true, Relaxed);
    }
}

impl Drop for RtspCamera {
    fn drop(&mut self) {
        self.silent.store(false, Relaxed);
        self.main.quit();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server's thread ends well");
        }
    }
}

fn of_mp4(clip: &Path) -> String {
    format!(
        "filesrc location={} ! qtdemux ! h264parse ! identity name=gate ! rtph264pay name=pay0 pt=96 config-interval=1",
        clip.display()
    )
}

fn server(
    launch: &str,
    port: u16,
    login: Option<Login>,
    silent: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
) -> rtsp::RTSPServer {
    let server = rtsp::RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&port.to_string());
    let factory = rtsp::RTSPMediaFactory::new();
    let anybody = gst::Structure::builder("anybody")
        .field(rtsp::RTSP_PERM_MEDIA_FACTORY_ACCESS.as_str(), true)
        .field(rtsp::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT.as_str(), true)
        .build();
    factory.add_role_from_structure(&anybody);
    factory.set_launch(&format!("( {launch} )"));
    factory.connect_media_configure(move |_, media| {
        connections.fetch_add(1, Relaxed);
        let bin = media.element().downcast::<gst::Bin>().expect("a launched media is a bin");
        let Some(gate) = bin.by_name("gate") else { return };
        let gate = gate.static_pad("src").expect("identity has one");
        let silent = Arc::clone(&silent);
        gate.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            // Dropping instead would let the file race to its end, which says goodbye.
            while silent.load(Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            gst::PadProbeReturn::Ok
        });
    });
    if let Some(login) = login {
        let auth = rtsp::RTSPAuth::new();
        let token =
            rtsp::RTSPToken::builder().field(rtsp::RTSP_TOKEN_MEDIA_FACTORY_ROLE.as_str(), "viewer").build();
        if login.digest {
            auth.set_supported_methods(gst_rtsp::RTSPAuthMethod::Digest);
            auth.add_digest(login.user, login.password, &token);
        } else {
            let basic = rtsp::RTSPAuth::make_basic(login.user, login.password);
            auth.add_basic(basic.as_str(), &token);
        }
        server.set_auth(Some(&auth));
        let role = gst::Structure::builder("viewer")
            .field(rtsp::RTSP_PERM_MEDIA_FACTORY_ACCESS.as_str(), true)
            .field(rtsp::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT.as_str(), true)
            .build();
        factory.add_role_from_structure(&role);
    }
    server.mount_points().expect("a server has them").add_factory("/stream", factory);
    server
}
