//! Which events are no normal life, and so count in no threshold.

use super::{Event, Label, Severity};
use crate::base::Timestamp;
use std::ops::Range;

/// The time of an event that is no normal life, seconds since 1970.
///
/// An alarm that the limit lets through by chance is rarely far above it; leaving such ones out would lower the limit,
/// and let more of them through, without end. So an event of low severity counts as normal life, and one that is
/// a hundred times rarer than what the limit lets through is taken for an incident, until somebody says what it was.
pub fn incident(event: &Event) -> Option<Range<f64>> {
    incident_if(event, event.review.as_ref().and_then(|review| review.label))
}

/// The same if this were what was said of it.
pub fn incident_if(event: &Event, label: Option<Label>) -> Option<Range<f64>> {
    let seconds = |t: Timestamp| t.as_microsecond() as f64 / 1e6;
    is_incident(label, event.severity).then(|| seconds(event.start_time)..seconds(event.last_time))
}

fn is_incident(label: Option<Label>, severity: Severity) -> bool {
    match label {
        Some(Label::TrueAlarm) => true,
        Some(Label::FalseAlarm) => false,
        Some(Label::Unsure) | None => severity > Severity::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_said_goes_before_what_it_looked_like() {
        for (label, severity, incident) in [
            (None, Severity::Low, false),
            (None, Severity::Medium, true),
            (Some(Label::Unsure), Severity::High, true),
            (Some(Label::FalseAlarm), Severity::High, false),
            (Some(Label::TrueAlarm), Severity::Low, true),
        ] {
            assert_eq!(is_incident(label, severity), incident, "{label:?}, {severity:?}");
        }
    }
}
