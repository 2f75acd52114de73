//! What makes Home Assistant show a camera: a sensor of its state, one of its score, one that is on while something
//! unusual lasts, and a switch where commands are taken.

use crate::base::CameraName;
use serde_json::{Value, json};

/// Topics and payloads, to be retained.
pub(super) fn of(
    discovery: &str,
    prefix: &str,
    camera: &CameraName,
    commands: bool,
) -> Vec<(String, String)> {
    let entity = |component: &str, what: &str, own: Value| {
        let id = format!("sigmawatch_{prefix}_{camera}_{what}").replace('/', "_");
        let mut config = json!({
            "unique_id": id,
            "object_id": id,
            "availability_topic": format!("{prefix}/available"),
            "device": {
                "identifiers": [format!("sigmawatch_{prefix}_{camera}")],
                "name": format!("Sigmawatch {camera}"),
                "manufacturer": "Sigmawatch",
                "sw_version": env!("CARGO_PKG_VERSION"),
            },
        });
        for (key, value) in own.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        (format!("{discovery}/{component}/{id}/config"), config.to_string())
    };
    // Only changes of this camera's alerts move it; others leave it as it is.
    let unusual = format!(
        "{{% if value_json.camera == '{camera}' %}}{{{{ 'OFF' if value_json.type == 'end' else 'ON' }}}}{{% endif %}}"
    );
    let mut entities = vec![
        entity(
            "binary_sensor",
            "unusual",
            json!({
                "name": "Unusual",
                "state_topic": format!("{prefix}/events"),
                "value_template": unusual,
                "device_class": "problem",
            }),
        ),
        entity(
            "sensor",
            "state",
            json!({
                "name": "State",
                "state_topic": format!("{prefix}/{camera}/state"),
                "value_template": "{{ value_json.state }}",
            }),
        ),
        entity(
            "sensor",
            "score",
            json!({
                "name": "Score",
                "state_topic": format!("{prefix}/{camera}/score"),
                "value_template": "{{ value_json.score | round(2) }}",
                "state_class": "measurement",
            }),
        ),
    ];
    if commands {
        let topic = |what: &str| format!("{prefix}/{camera}/detect/{what}");
        let own = json!({"name": "Detection", "state_topic": topic("state"), "command_topic": topic("set")});
        entities.push(entity("switch", "detect", own));
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entity_has_a_topic_of_its_own_and_says_where_its_value_is() {
        let found = of("homeassistant", "site/a", &"gate".into(), true);
        let topics: std::collections::BTreeSet<_> = found.iter().map(|(topic, _)| topic).collect();
        assert_eq!(topics.len(), 4);
        for (topic, config) in &found {
            let config: Value = serde_json::from_str(config).expect("JSON");
            assert_eq!(topic.split('/').count(), 4, "{topic}: an id is one level");
            assert_eq!(config["availability_topic"], "site/a/available");
            assert!(config["state_topic"].as_str().expect("a topic").starts_with("site/a/"));
        }
    }
}
