//! The methods by which a camera's normal life can be learned.

use serde::{Serialize, Serializer};
use std::fmt;

/// What scores features, learned in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// A denoiser: how badly a noised vector finds back.
    #[default]
    Diffusion,
    /// The same as its authors published it: a chain of denoisings from one fixed noise.
    DiffusionPublished,
    /// Distance to the nearest remembered vectors.
    Knn,
    /// Mahalanobis distance with a shrunk covariance.
    Mahalanobis,
    /// A variational autoencoder: how badly a vector is rebuilt, and how far off its latents lie.
    BetaVae,
    /// RTFM: what sets clips that are labelled unusual apart from normal ones. Not learned in place.
    Rtfm,
}

impl Method {
    pub const ALL: [Method; 6] = [
        Method::Diffusion,
        Method::DiffusionPublished,
        Method::Knn,
        Method::Mahalanobis,
        Method::BetaVae,
        Method::Rtfm,
    ];
    /// The names of [`Method::ALL`].
    pub const NAMES: [&str; 6] =
        ["diffusion", "diffusion-published", "knn", "mahalanobis", "beta-vae", "rtfm"];

    /// As it is written in configurations and model files.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether it learns from labelled clips, and not from a camera's unlabelled life.
    pub fn needs_labels(self) -> bool {
        self == Method::Rtfm
    }

    /// The methods that learn in place, without labels.
    pub fn in_place() -> impl Iterator<Item = Method> {
        Self::ALL.into_iter().filter(|method| !method.needs_labels())
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_name() {
        for method in Method::ALL {
            assert_eq!(Method::named(method.name()), Some(method));
        }
        assert_eq!(Method::named("learned"), None);
    }
}
