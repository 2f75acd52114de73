//! How the pictures of a network's training were scaled: features of another scaling are not its features.

use crate::base::choices;
use crate::infer::{Graph, Value};

choices! {
    /// A scaling of bytes 0 to 255: `(byte / 255 - mean) / deviation`, for red, green and blue.
    pub enum Normalisation {
        /// torchvision's video networks.
        TorchvisionVideo = "torchvision-video",
        /// Hara's networks of 2019 and later.
        Hara = "hara",
        /// Hara's networks of 2017: bytes minus their mean, not divided.
        Hara2017 = "hara-2017",
        /// Most networks that were trained on ImageNet.
        Imagenet = "imagenet",
        /// -1 to 1: the vision transformers of Google's authors.
        Half = "half",
    }
}

impl Normalisation {
    /// Mean and deviation of red, green and blue, of pictures from 0 to 1.
    fn moments(self) -> ([f64; 3], [f64; 3]) {
        match self {
            Self::TorchvisionVideo => ([0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]),
            Self::Hara => ([0.4345, 0.4051, 0.3775], [0.2768, 0.2713, 0.2737]),
            Self::Hara2017 => ([110.64, 103.16, 96.29].map(|mean| mean / 255.0), [1.0 / 255.0; 3]),
            Self::Imagenet => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Self::Half => ([0.5; 3], [0.5; 3]),
        }
    }

    /// The scaled floats of `bytes`, u8 with colours as the last dimension.
    pub fn apply(self, g: &mut Graph, bytes: &Value) -> Value {
        let (mean, deviation) = self.moments();
        let scale: [f32; 3] = std::array::from_fn(|i| (1.0 / (255.0 * deviation[i])) as f32);
        let shift: [f32; 3] = std::array::from_fn(|i| (-mean[i] / deviation[i]) as f32);
        let floats = g.op("Cast", &[bytes], &[("to", 1.into())]);
        let (scale, shift) = (g.constant(&[3], &scale), g.constant(&[3], &shift));
        let scaled = g.op("Mul", &[&floats, &scale], &[]);
        g.op("Add", &[&scaled, &shift], &[])
    }
}
