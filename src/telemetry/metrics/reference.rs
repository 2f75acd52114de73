//! The page about the metrics, made from their descriptions.

use super::Metrics;
use crate::telemetry::labels::{
    ClipResult, Delivery, DropReason, Label, Learning, Level, Link, Queue, ReconnectReason, Sight, Silence,
    SkipReason, Stage,
};
use std::fmt::Write as _;

impl Metrics {
    /// The text of `docs/ref/metrics.md`.
    pub fn reference(&self) -> String {
        let mut text = String::from(
            "# Metrics\n\n`GET /metrics` answers in Prometheus' text format. Times are seconds. No label holds a \
             URL.\nThe usual `process_*` metrics come with these.\n\nThis page is made from the code: \
             `UPDATE_DOCS=1 cargo test --test it docs` writes it again.\n\n\
             | metric | type | labels | meaning |\n|---|---|---|---|\n",
        );
        for d in &self.catalogue {
            let labels: Vec<_> = d.labels.iter().map(|l| format!("`{l}`")).collect();
            let _ = writeln!(text, "| `{}` | {} | {} | {} |", d.name, d.kind, labels.join(", "), d.help);
        }
        text.push_str("\nLabel values:\n\n");
        fn values<L: Label>(text: &mut String, label: &str) {
            let all: Vec<_> = L::ALL.iter().map(|v| format!("`{}`", v.text())).collect();
            let _ = writeln!(text, "- {label}: {}", all.join(", "));
        }
        values::<Link>(&mut text, "`state` of `camera_state`");
        values::<Sight>(&mut text, "`state` of `cameras_bad_picture`");
        values::<Learning>(&mut text, "`state` of `learning_state`");
        values::<Level>(&mut text, "`severity`");
        values::<Silence>(&mut text, "`reason` of `alerts_quiet_total`");
        values::<ClipResult>(&mut text, "`result` of `clips_total`");
        values::<DropReason>(&mut text, "`reason` of `frames_dropped_total`");
        values::<ReconnectReason>(&mut text, "`reason` of `reconnects_total`");
        values::<SkipReason>(&mut text, "`reason` of `segments_skipped_total`");
        values::<Stage>(&mut text, "`stage`");
        values::<Queue>(&mut text, "`queue`");
        values::<Delivery>(&mut text, "`result`");
        text
    }
}
