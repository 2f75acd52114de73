//! Execution providers: whether the loaded library has one, and how a session is put onto it and nowhere else.

use super::InferError;
use crate::config::Provider;
use ort::ep::{CPU, CUDA, ExecutionProvider, OpenVINO, TensorRT};
use ort::session::builder::SessionBuilder;
use std::path::Path;

/// What becomes of the memory that a run's tensors took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The session keeps it for the next run: large tensors, in a session for each worker.
    Kept,
    /// It is given back: small tensors, in a session for each camera.
    GivenBack,
}

/// Whether the loaded library was built with `provider`.
fn is_built_in(provider: Provider) -> bool {
    let found = match provider {
        Provider::Cpu => return true,
        Provider::OpenVino => OpenVINO::is_available(),
        Provider::Cuda => CUDA::is_available(),
        Provider::TensorRt => TensorRT::is_available(),
    };
    // Where the library cannot say what it has, it has nothing.
    found.unwrap_or(false)
}

/// Refuses a provider that the library, loaded from `library`, was built without.
pub fn require(provider: Provider, library: &Path) -> Result<(), InferError> {
    if is_built_in(provider) {
        return Ok(());
    }
    let has: Vec<&str> =
        Provider::ALL.into_iter().filter(|provider| is_built_in(*provider)).map(Provider::name).collect();
    let problem = format!(
        "this ONNX Runtime library was built without the execution provider `{provider}` (it has: {})",
        has.join(", ")
    );
    let remedy = format!("{}, and name its libonnxruntime.so as `runtime.onnxruntime`", needs(provider));
    Err(InferError::new(library.display().to_string(), problem, remedy))
}

/// What has to be installed for a provider.
fn needs(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "run `make setup`",
        Provider::OpenVino => {
            "install a build with OpenVINO, such as that of the Python package onnxruntime-openvino"
        }
        Provider::Cuda => {
            "install a build with CUDA, such as that of the Python package onnxruntime-gpu, with CUDA 12, cuDNN 9 and \
             NVIDIA's driver"
        }
        Provider::TensorRt => {
            "install a build with TensorRT, such as that of the Python package onnxruntime-gpu, with TensorRT 10, \
             CUDA 12, cuDNN 9 and NVIDIA's driver"
        }
    }
}

/// The error of a session that was refused on `provider`, in ONNX Runtime's words.
pub fn refused(model: &str, provider: Provider, error: &str) -> InferError {
    let problem = format!("it cannot be run by the execution provider `{provider}`: {error}");
    let remedy = format!(
        "see that what it needs is there ({}), or take another provider: operators that it lacks are not left to the CPU",
        needs(provider)
    );
    InferError::new(model, problem, remedy)
}

/// Puts a session onto `provider` alone. ONNX Runtime would give operators that a provider lacks to the CPU, and say
/// nothing: that is switched off, so that such a model is refused. TensorRT may leave operators to CUDA. `room` is the
/// CPU's.
pub fn put_on(builder: SessionBuilder, provider: Provider, room: Room) -> ort::Result<SessionBuilder> {
    // Reduced precision would make other features than those that scorers were learned from.
    let cuda = || CUDA::default().with_tf32(false).build().error_on_failure();
    let providers = match provider {
        Provider::Cpu => {
            return match room {
                Room::Kept => Ok(builder),
                Room::GivenBack => {
                    let cpu = CPU::default().with_arena_allocator(false).build();
                    Ok(builder.with_memory_pattern(false)?.with_execution_providers([cpu])?)
                }
            };
        }
        Provider::OpenVino => {
            // One thread, as on the CPU: there is a worker for every core.
            let openvino =
                OpenVINO::default().with_device_type("CPU").with_precision("FP32").with_num_threads(1);
            vec![openvino.build().error_on_failure()]
        }
        Provider::Cuda => vec![cuda()],
        Provider::TensorRt => vec![TensorRT::default().build().error_on_failure(), cuda()],
    };
    Ok(builder.with_execution_providers(providers)?.with_disable_cpu_fallback()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::{Session, init_for_tests, require};

    #[test]
    fn a_library_for_cpus_has_the_cpu_and_refuses_the_rest() {
        init_for_tests();
        require(Provider::Cpu).expect("every library has it");
        for (provider, brings) in
            [(Provider::Cuda, "onnxruntime-gpu"), (Provider::OpenVino, "onnxruntime-openvino")]
        {
            let error = Session::on(provider, "m.onnx", &[1]).expect_err("refused").to_string();
            let wanted = format!("was built without the execution provider `{provider}` (it has: cpu)");
            assert!(error.contains(&wanted) && error.contains(brings), "{error}");
        }
    }

    #[test]
    fn what_a_provider_refuses_is_not_left_to_the_cpu() {
        let error = refused("m.onnx", Provider::Cuda, "no device").to_string();
        assert!(
            error.starts_with("m.onnx: it cannot be run by the execution provider `cuda`: no device"),
            "{error}"
        );
        assert!(error.contains("not left to the CPU"), "{error}");
    }
}
