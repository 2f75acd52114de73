//! Events and the like for the tests of several subjects.

use sigmawatch::access::hash_password;
use sigmawatch::alert::{Event, ModelRef, Severity};
use sigmawatch::base::Timestamp;
use sigmawatch::config::{Role, User};
use sigmawatch::infer::{Correlation, Covers, Grid};
use sigmawatch::score::Reason;
use sigmawatch::store::ScoreRow;

/// The nth event: later ones have larger ids, times and scores; even ones are the gate's, odd ones the
/// yard's. It lasts from second 1000 + 10 n for six seconds, and is over.
pub fn event(n: u64) -> Event {
    let at = |second: u64| Timestamp::from_second(1000 + second as i64).expect("in range");
    Event {
        id: format!("0197a6f0-0000-7000-8000-{n:012x}"),
        camera: if n.is_multiple_of(2) { "gate".into() } else { "yard".into() },
        detector: "main".into(),
        start_time: at(10 * n),
        end_time: Some(at(10 * n + 6)),
        last_time: at(10 * n + 6),
        score: 1.5,
        top_score: n as f32,
        probability: Some(0.001),
        threshold: 2.0,
        mu: 1.0,
        sigma: 0.5,
        k: 2.0,
        budget: None,
        scorer: "v1+diffusion".into(),
        model: ModelRef { name: "gate".into(), sha256: "ab".repeat(32) },
        first_segment: n,
        last_segment: n + 5,
        severity: Severity::Medium,
        grid: Grid { rows: 2, cols: 3 },
        covers: Covers { width: 0.98, height: 1.0 },
        regions: vec![0.5, 1.25, 0.1, 0.0, 3.75, 1.0],
        top_regions: vec![(1, 1), (0, 1)],
        factors: vec![Reason {
            factor: 7,
            percentile: 99.98,
            goes_with: Some(Correlation { signal: "leftward motion energy".into(), r: 0.714 }),
        }],
        why: None,
        zones: vec![],
        quiet: None,
        has_snapshot: false,
        clock_suspect: false,
        review: None,
        clip: None,
    }
}

/// Anna, who may look at everything, and logs in with "open sesame".
pub fn viewer() -> User {
    User {
        name: "anna".into(),
        role: Role::Viewer,
        cameras: None,
        password_hash: Some(hash_password("open sesame")),
        token_hash: None,
        expires: None,
    }
}

/// An ordinary score of the gate's detector.
pub fn row(time: Timestamp) -> ScoreRow {
    ScoreRow { camera: "gate".into(), detector: "main".into(), time, score: 1.5, threshold: 2.5 }
}
