//! Where and when a camera looks: masks, zones and hours of its configuration, for pages to show.

use crate::base::Polygon;
use crate::config;
use schemars::JsonSchema;
use serde::Serialize;

/// Where and when a camera looks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Places {
    /// Spans of the week in which it opens events, as configured and in `runtime.timezone`; null: always.
    pub schedule: Option<Vec<String>>,
    /// Where nothing is looked for: polygons of corners `[x, y]`, each 0 to 1 from the top left.
    pub masks: Vec<Polygon>,
    /// Places with names, in the configuration's order.
    pub zones: Vec<Zone>,
}

/// A place with a name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Zone {
    pub name: String,
    pub polygon: Polygon,
}

impl From<&config::Camera> for Places {
    fn from(camera: &config::Camera) -> Self {
        let zone =
            |(name, polygon): &(String, Polygon)| Zone { name: name.clone(), polygon: polygon.clone() };
        Self {
            schedule: camera.schedule.as_ref().map(|schedule| schedule.spans().map(str::to_owned).collect()),
            masks: camera.masks.clone(),
            zones: camera.zones.iter().map(zone).collect(),
        }
    }
}
