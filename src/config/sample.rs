//! What a sink's templates are tried with when the configuration is checked.

use serde_json::{Value, json};

/// An alert as sinks are told; the API's tests hold it against a real one.
pub fn sample_alert() -> Value {
    json!({
        "delivery": "0197a6f0-0000-7000-8000-000000000001.1",
        "topic": "alert.new",
        "time": "2026-01-01T00:00:00Z",
        "text": "gate: something unusual (high), score 7.10, limit 3.20",
        "id": "0197a6f0-0000-7000-8000-000000000001",
        "type": "new",
        "camera": "gate",
        "detector": "main",
        "start_time": "2026-01-01T00:00:00Z",
        "end_time": null,
        "last_time": "2026-01-01T00:00:01Z",
        "score": 7.1,
        "top_score": 7.1,
        "probability": 0.0001,
        "threshold": 3.2,
        "mu": 1.2,
        "sigma": 0.5,
        "k": 4.0,
        "budget": null,
        "scorer": "v1+diffusion",
        "model": { "name": "main", "sha256": "00" },
        "segments": { "first": 1, "last": 2 },
        "severity": "high",
        "quiet": null,
        "review": null,
        "zones": [],
        "top_regions": [{ "row": 1, "column": 2 }],
        "factors": [],
        "why": {
            "frames": [0.1, 1.0],
            "peak_frame": 1,
            "peak_time": "2026-01-01T00:00:00.1Z",
            "features": [{
                "name": "motion to the left at 2 pixels a frame",
                "direction": "left",
                "speed": 2.0,
                "z": 6.1,
                "text": "motion to the left at 2 pixels a frame: 6.1 deviations above normal",
            }],
            "similar": [{ "time": "2025-12-31T23:00:00Z", "distance": 1.2, "picture": null }],
        },
        "clip": null,
        "clip_details": null,
        "stored": true,
        "clock_suspect": false,
        "snapshot": null,
        "thumbnail": null,
    })
}

/// A camera's change of state as sinks are told.
pub fn sample_camera_state() -> Value {
    json!({
        "delivery": "gate.1767225600000000.2",
        "topic": "camera.state",
        "time": "2026-01-01T00:00:10Z",
        "text": "gate: offline",
        "camera": "gate",
        "state": "offline",
        "previous": "armed",
        "since": "2026-01-01T00:00:00Z",
        "problem": null,
    })
}
