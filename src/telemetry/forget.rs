//! Series of cameras that have gone are removed, and stay so.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// A metric whose series are of cameras.
pub(super) trait Forgets: Send + Sync {
    fn forget(&self, camera: &str);
}

impl<T: MetricVecBuilder> Forgets for MetricVec<T>
where
    MetricVec<T>: Collector,
{
    fn forget(&self, camera: &str) {
        for family in self.collect() {
            for series in family.get_metric() {
                let labels: HashMap<&str, &str> =
                    series.get_label().iter().map(|label| (label.name(), label.value())).collect();
                if labels.get("camera") == Some(&camera) {
                    // Fails only where another has removed it.
                    let _ = self.remove(&labels);
                }
            }
        }
    }
}

/// Whether a camera is there: whoever counts something of it later makes no series anew.
#[derive(Clone)]
pub(super) struct Living(Arc<RwLock<bool>>);

impl Default for Living {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(true)))
    }
}

impl Living {
    /// Counts, while the camera is there.
    pub(super) fn when(&self, count: impl FnOnce()) {
        if *self.0.read().expect("nothing panics while it is held") {
            count();
        }
    }

    /// It has gone; nobody counts while `remove` works, and nobody after it.
    pub(super) fn end(&self, remove: impl FnOnce()) {
        let mut living = self.0.write().expect("nothing panics while it is held");
        *living = false;
        remove();
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::{ClipResult, Learning, Level, Link, Metrics, ReconnectReason, SkipReason};

    #[test]
    fn nothing_is_left_of_a_camera_that_has_gone_and_nothing_comes_back() {
        let metrics = Metrics::new();
        let both = [metrics.camera("gate"), metrics.camera("yard")];
        let main = metrics.detector("gate", "main");
        let count = || {
            for camera in &both {
                camera.frame(1.0);
                camera.link(Link::Live);
                camera.clip(ClipResult::Written);
                camera.reconnect(ReconnectReason::Stalled);
            }
            main.learning(Learning::Armed);
            main.scored(3.0, 0.01, 1.0, 0.5, 4.0);
            main.skipped(SkipReason::Learning);
            main.alert(Level::High, None);
        };
        let series = |name: &str| metrics.render().matches(&format!("camera=\"{name}\"")).count();
        count();
        let before = series("yard");
        assert!(series("gate") > before);
        metrics.forget_camera("gate");
        count();
        assert_eq!((series("gate"), series("yard")), (0, before), "{}", metrics.render());
        metrics.camera("gate").frame(2.0);
        assert!(metrics.render().contains("sigmawatch_frames_total{camera=\"gate\"} 1\n"), "counts anew");
    }
}
