//! Foreign weight files, read without the framework that wrote them and without running their code.

mod checkpoint;
mod element;
mod fetch;
mod pickle;
mod sdist;
mod tensors;
mod torch;

pub use checkpoint::{read_checkpoint, read_file};
pub use fetch::fetch;
pub use pickle::read_pickle;
pub use sdist::{LARGEST_ARCHIVE, member};
pub use tensors::{Tensor, Tensors};
