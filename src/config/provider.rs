//! Where an extractor is computed: ONNX Runtime's execution providers that can be asked for.

use crate::base::choices;

choices! {
    /// What runs the operators of a model.
    #[derive(Default)]
    pub enum Provider {
        /// ONNX Runtime's own operators; every library has them.
        #[default]
        Cpu = "cpu",
        /// Intel's OpenVINO.
        OpenVino = "openvino",
        /// An NVIDIA GPU.
        Cuda = "cuda",
        /// An NVIDIA GPU, through engines that TensorRT builds for the model.
        TensorRt = "tensorrt",
    }
}
