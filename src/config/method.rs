//! The methods by which a camera's normal life can be learned.

use crate::base::choices;

choices! {
    /// What scores features, learned in place.
    #[derive(Default)]
    pub enum Method {
        /// A denoiser: how badly a noised vector finds back.
        #[default]
        Diffusion = "diffusion",
        /// The same as its authors published it: a chain of denoisings from one fixed noise.
        DiffusionPublished = "diffusion-published",
        /// Distance to the nearest remembered vectors.
        Knn = "knn",
        /// Mahalanobis distance with a shrunk covariance.
        Mahalanobis = "mahalanobis",
        /// A variational autoencoder: how badly a vector is rebuilt, and how far off its latents lie.
        BetaVae = "beta-vae",
        /// RTFM: what sets clips that are labelled unusual apart from normal ones. Not learned in place.
        Rtfm = "rtfm",
    }
}

choices! {
    /// How the differential equation of a diffusion is solved.
    #[derive(Default)]
    pub enum Sampler {
        /// First order, one call a level.
        Euler = "euler",
        /// Second order, two calls a level but for the last (Karras et al. 2022, algorithm 1 without churn).
        Heun = "heun",
        #[default]
        /// Linear multistep of fourth order, one call a level: the authors' choice.
        Lms4 = "lms4",
    }
}

impl Method {
    /// Whether it learns from labelled clips, and not from a camera's unlabelled life.
    pub fn needs_labels(self) -> bool {
        self == Method::Rtfm
    }

    /// The methods that learn in place, without labels.
    pub fn in_place() -> impl Iterator<Item = Method> {
        Self::ALL.into_iter().filter(|method| !method.needs_labels())
    }
}
