//! Sigmawatch: real-time video anomaly detection that learns each camera's normal life in place.
//!
//! The rooms stand in the order of the data's path, and no room imports a later one
//! (`tests/it/tidy.rs` keeps it so):
//!
//! ```text
//! camera -> frame -> segment -> features -> score -> threshold -> alert -> store -> api, sink
//! ```

// What every room may use.
pub mod base; // clock, times, names
pub mod config; // config.toml: as written, then checked
pub mod telemetry; // every metric, the log
pub mod access; // users, tokens, sessions; the table of who may do what

// The path.
pub mod frame; // camera -> Frame (the only room that knows GStreamer)
pub mod segment; // Frame -> Segment: 16 frames of one unbroken run
pub mod infer; // ONNX: graphs, manifests, sessions (the only room that knows `ort`)
pub mod weights; // foreign weight files as tensors, read without running their code
pub mod features; // Segment -> Features: one vector a region
pub mod score; // Features -> Score: how unlikely, and where
pub mod threshold; // Score -> Verdict: mu + k sigma, N of M
pub mod train; // Features -> a scorer, learned in place and written as ONNX
pub mod alert; // Verdict -> Event: open, update, close; the picture with the map
pub mod store; // events, score timeline and pictures on disk
pub mod api; // HTTP, server-sent events, the page
pub mod sink; // what is in the outbox, delivered: webhook, MQTT, JSON lines, e-mail

// What puts the rooms together.
pub mod daemon; // lanes, workers, supervision, start and stop
pub mod cli; // run | check | learn | score | eval | backtest | models | user
