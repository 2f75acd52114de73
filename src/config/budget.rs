//! A false-alarm budget as people write it: `1/hour`, `2/day`, `1/week`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The spans that a budget may be for, with their seconds.
const SPANS: [(&str, f64); 3] = [("hour", 3600.0), ("day", 86_400.0), ("week", 604_800.0)];
/// Alarms an hour beyond which it is no budget: neighbouring alarms are then hardly told apart.
const MOST_AN_HOUR: f64 = 12.0;

/// At most so many false alarms in a span of time, on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
pub struct Budget {
    alarms: u32,
    /// Of [`SPANS`].
    span: usize,
}

impl Budget {
    pub const HOURLY: Self = Self { alarms: 1, span: 0 };
    pub const DAILY: Self = Self { alarms: 1, span: 1 };
    pub const WEEKLY: Self = Self { alarms: 1, span: 2 };

    /// Reads `N/hour`, `N/day` or `N/week`. `None` where it is anything else, or more than 12 an hour.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, span) = text.split_once('/')?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let alarms: u32 = number.parse().ok()?;
        let budget = Self { alarms, span: SPANS.iter().position(|(name, _)| *name == span)? };
        (alarms > 0 && budget.per_hour() <= MOST_AN_HOUR).then_some(budget)
    }

    /// The same, with what is wrong.
    ///
    /// # Errors
    /// Where [`Budget::parse`] gives none.
    pub fn try_from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| {
            format!(
                "`{text}` is no budget such as 1/hour, 2/day or 1/week, of at most {MOST_AN_HOUR} an hour"
            )
        })
    }

    /// Alarms an hour.
    pub fn per_hour(self) -> f64 {
        f64::from(self.alarms) * 3600.0 / SPANS[self.span].1
    }

    /// For people: `one per day`, `3 per hour`.
    pub fn words(self) -> String {
        let span = SPANS[self.span].0;
        if self.alarms == 1 { format!("one per {span}") } else { format!("{} per {span}", self.alarms) }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.alarms, SPANS[self.span].0)
    }
}

impl From<Budget> for String {
    fn from(budget: Budget) -> Self {
        budget.to_string()
    }
}

impl TryFrom<String> for Budget {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::try_from_text(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_and_written_back() {
        for (text, per_hour) in
            [("1/hour", 1.0), ("12/hour", 12.0), ("2/day", 1.0 / 12.0), ("1/week", 1.0 / 168.0)]
        {
            let budget = Budget::parse(text).expect(text);
            assert!((budget.per_hour() - per_hour).abs() < 1e-12, "{text}");
            assert_eq!(budget.to_string(), text);
            let json = serde_json::to_string(&budget).expect("JSON");
            assert_eq!(
                (json.as_str(), serde_json::from_str(&json).ok()),
                (format!("\"{text}\"").as_str(), Some(budget))
            );
        }
        assert_eq!(Budget::WEEKLY.words(), "one per week");
        assert_eq!(Budget::parse("3/day").expect("one").words(), "3 per day");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "1", "day", "0/day", "/day", "1/month", "1.5/day", "-1/day", "+1/day", "13/hour", "1 / day"]
        {
            assert_eq!(Budget::parse(text), None, "{text:?}");
        }
        assert!(serde_json::from_str::<Budget>("\"often\"").is_err());
    }
}
