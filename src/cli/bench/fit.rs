//! From a few measured numbers of cameras to how many a machine carries.

use super::step::Step;
use serde::Serialize;

/// `base + each * cameras`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Line {
    pub base: f64,
    pub each: f64,
}

/// How many cameras the machine carries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    pub cameras: usize,
    /// So many were measured, and are not too many; otherwise the number is reckoned.
    pub measured: bool,
    /// With so many.
    pub latency_p99_ms: Option<f64>,
    pub alert_latency_p99_ms: Option<f64>,
}

/// The line of least squares, and no base below nought. One point: a line from the origin.
pub fn line(points: &[(f64, f64)]) -> Line {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count.max(1.0);
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let together: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    if spread > 0.0 && together > 0.0 {
        let each = together / spread;
        let base = y - each * x;
        if base >= 0.0 {
            return Line { base, each };
        }
    }
    let squares: f64 = points.iter().map(|p| p.0 * p.0).sum();
    let products: f64 = points.iter().map(|p| p.0 * p.1).sum();
    Line { base: 0.0, each: if squares > 0.0 { products / squares } else { 0.0 } }
}

/// As many as use no more than `cores`, and fewer than were too many in a step.
pub fn outcome(line: Line, cores: f64, steps: &[Step]) -> Outcome {
    let room = if line.each > 0.0 { ((cores - line.base) / line.each).floor().max(0.0) } else { 0.0 };
    let too_many = steps.iter().filter(|step| step.trouble.is_some()).map(|step| step.cameras).min();
    let cameras = (room as usize).min(too_many.map_or(usize::MAX, |many| many - 1));
    Outcome { cameras, measured: false, latency_p99_ms: None, alert_latency_p99_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_line_is_found_again() {
        let found = line(&[(1.0, 0.25), (2.0, 0.3), (4.0, 0.4), (8.0, 0.6)]);
        assert!(near(found.base, 0.2) && near(found.each, 0.05), "{found:?}");
        let one = line(&[(4.0, 0.4)]);
        assert!(near(one.base, 0.0) && near(one.each, 0.1), "{one:?}");
        let below = line(&[(1.0, 0.0), (2.0, 0.5), (3.0, 1.0)]);
        assert!(below.base == 0.0 && near(below.each, 4.0 / 14.0), "{below:?}");
        assert_eq!(line(&[]), Line::default());
    }

    #[test]
    fn no_more_are_promised_than_were_carried() {
        let step = |cameras, trouble: bool| Step {
            cameras,
            trouble: trouble.then(|| "too slow".into()),
            ..Step::default()
        };
        let line = Line { base: 0.1, each: 0.05 };
        assert_eq!(outcome(line, 1.6, &[step(16, false), step(64, true)]).cameras, 30);
        assert_eq!(outcome(line, 1.6, &[step(8, false), step(16, true)]).cameras, 15);
        assert_eq!(outcome(line, 1.6, &[step(1, true)]).cameras, 0);
        assert_eq!(outcome(Line::default(), 1.6, &[]).cameras, 0);
    }
}
