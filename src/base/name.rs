//! A camera's name: cheap to hand around, and the same text in log, metrics, API and files.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A camera's name as the configuration gives it: unique, `[a-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct CameraName(Arc<str>);

impl std::ops::Deref for CameraName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for CameraName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CameraName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for CameraName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for CameraName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<CameraName> for String {
    fn from(name: CameraName) -> Self {
        name.0.as_ref().to_owned()
    }
}
