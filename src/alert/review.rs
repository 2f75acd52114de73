//! What a person made of an event.

use crate::base::{Timestamp, choices};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

choices! {
    /// Was it worth an alarm?
    pub enum Label { TrueAlarm = "true_alarm", FalseAlarm = "false_alarm", Unsure = "unsure" }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::unknown_variant(&name, &Self::NAMES))
    }
}

/// The newest word about an event. It outlives every change of the event itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// `None`: only a note.
    pub label: Option<Label>,
    pub note: String,
    pub time: Timestamp,
    /// Who; `None` where nobody had to give a name.
    pub by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_are_written_and_no_other() {
        for label in Label::ALL {
            let text = serde_json::to_string(&label).expect("plain data");
            assert_eq!(serde_json::from_str::<Label>(&text).expect("read back"), label);
        }
        let message = serde_json::from_str::<Label>("\"maybe\"").expect_err("no label").to_string();
        assert!(message.contains("true_alarm"), "{message}");
    }
}
