//! Where an extractor is computed: ONNX Runtime's execution providers that can be asked for.

use serde::{Serialize, Serializer};
use std::fmt;

/// What runs the operators of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Provider {
    /// ONNX Runtime's own operators; every library has them.
    #[default]
    Cpu,
    /// Intel's OpenVINO.
    OpenVino,
    /// An NVIDIA GPU.
    Cuda,
    /// An NVIDIA GPU, through engines that TensorRT builds for the model.
    TensorRt,
}

impl Provider {
    pub const ALL: [Provider; 4] = [Provider::Cpu, Provider::OpenVino, Provider::Cuda, Provider::TensorRt];
    /// The names of [`Provider::ALL`].
    pub const NAMES: [&str; 4] = ["cpu", "openvino", "cuda", "tensorrt"];

    /// As it is written in configurations.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Provider {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_found_by_its_name() {
        for provider in Provider::ALL {
            assert_eq!(Provider::named(provider.name()), Some(provider));
        }
        assert_eq!(Provider::named("gpu"), None);
    }
}
