//! What `/metrics` says at a moment, and what happened between two of them.

use std::collections::BTreeMap;

/// Every series, by its name and labels as they are written.
#[derive(Debug, Clone, Default)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Of Prometheus' text format; what is no number is left out.
    pub fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(series.collect())
    }

    /// The series of a metric, with its labels.
    fn of_metric<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let after = self.0.range(name.to_owned()..).take_while(move |(series, _)| series.starts_with(name));
        after.filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// The sum of a metric's series whose labels contain `label`.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        self.of_metric(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    /// By how much each series of a counter grew since `before`.
    pub fn grown(&self, name: &str, before: &Self) -> Vec<f64> {
        let was = |labels: &str| before.0.get(&format!("{name}{labels}")).copied().unwrap_or(0.0);
        self.of_metric(name).map(|(labels, value)| value - was(labels)).collect()
    }

    /// Of what a histogram counted since `before`: the value that the share `q` is not above, between the limits of
    /// buckets as if they were evenly filled; `None` where nothing was counted.
    pub fn quantile(&self, name: &str, before: &Self, q: f64) -> Option<f64> {
        let name = format!("{name}_bucket");
        let limit = |labels: &str| {
            let (_, rest) = labels.split_once("le=\"")?;
            rest.split_once('"')?.0.replace("+Inf", "inf").parse::<f64>().ok()
        };
        let was = |labels: &str| before.0.get(&format!("{name}{labels}")).copied().unwrap_or(0.0);
        let found = self.of_metric(&name);
        let mut buckets: Vec<(f64, f64)> =
            found.filter_map(|(labels, value)| Some((limit(labels)?, value - was(labels)))).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = q * buckets.last().map(|last| last.1).filter(|all| *all > 0.0)?;
        let at = buckets.iter().position(|(_, count)| *count >= wanted)?;
        let below = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
        let (limit, count) = buckets[at];
        // Above the last limit nothing is known but that.
        Some(match limit.is_finite() {
            true => below.0 + (limit - below.0) * (wanted - below.1) / (count - below.1).max(1.0),
            false => below.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP x y\nframes_total{camera=\"a\"} 10\nframes_total_more 99\n\
        wait_bucket{le=\"0.1\"} 5\nwait_bucket{le=\"0.2\"} 5\nwait_bucket{le=\"+Inf\"} 5\nwait_count 5\n";
    const AFTER: &str = "frames_total{camera=\"a\"} 30\nframes_total{camera=\"b\"} 5\nframes_total_more 100\n\
        wait_bucket{le=\"0.1\"} 55\nwait_bucket{le=\"0.2\"} 104\nwait_bucket{le=\"+Inf\"} 105\nwait_count 105\n";

    #[test]
    fn counters_are_summed_and_compared() {
        let (before, after) = (Scrape::of(BEFORE), Scrape::of(AFTER));
        assert_eq!((after.sum("frames_total", ""), after.sum("frames_total", "camera=\"b\"")), (35.0, 5.0));
        assert_eq!(after.grown("frames_total", &before), [20.0, 5.0]);
        assert_eq!(after.sum("nothing", ""), 0.0);
    }

    #[test]
    fn quantiles_are_of_what_came_since() {
        let (before, after) = (Scrape::of(BEFORE), Scrape::of(AFTER));
        let near = |q: f64, value: f64| {
            let found = after.quantile("wait", &before, q).expect("a hundred were counted");
            assert!((found - value).abs() < 1e-9, "{q}: {found}");
        };
        near(0.25, 0.05);
        near(0.5, 0.1);
        near(0.99, 0.2);
        near(1.0, 0.2);
        assert_eq!(after.quantile("wait", &after, 0.5), None);
    }
}
