//! How often something may happen, as people say it: `1/day`, `20/hour`.

use std::time::Duration;

/// So many times in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    pub times: u32,
    pub per: Per,
}

super::choices! {
    /// Stretches of time that people count by.
    pub enum Per {
        Minute = "minute",
        Hour = "hour",
        Day = "day",
        Week = "week",
    }
}

impl Per {
    pub fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Per::Minute => 60,
            Per::Hour => 3600,
            Per::Day => 86_400,
            Per::Week => 7 * 86_400,
        })
    }
}

impl Rate {
    /// Reads `N/minute`, `N/hour`, `N/day` or `N/week`, N from 1 to 10 000. `None` where it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (times, per) = text.split_once('/')?;
        let times = times.trim().parse().ok().filter(|times| (1..=10_000).contains(times))?;
        Some(Self { times, per: Per::named(per.trim())? })
    }

    pub fn per_hour(self) -> f64 {
        f64::from(self.times) * 3600.0 / self.per.duration().as_secs_f64()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.times, self.per)
    }
}

impl serde::Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_back() {
        for (text, per_hour) in
            [("1/hour", 1.0), ("48/day", 2.0), ("7/week", 7.0 / 168.0), ("2/minute", 120.0)]
        {
            let rate = Rate::parse(text).expect(text);
            assert!((rate.per_hour() - per_hour).abs() < 1e-12, "{text}");
            assert_eq!(rate.to_string(), text);
        }
        for text in ["", "1", "/day", "0/day", "-1/day", "1.5/day", "1/fortnight", "1/day/hour", "99999/day"]
        {
            assert_eq!(Rate::parse(text), None, "{text:?}");
        }
    }
}
