//! The halves of the bank as ONNX graphs, for accelerators and for processors whose vectors the program does not know.

use super::bank::{Bank, V1Params};
use super::spatial::{self, PARTS};
use super::temporal;
use crate::config::Provider;
use crate::infer::{InferError, Runner, TensorIn};

/// The halves, opened by one worker.
#[derive(Debug)]
pub struct Graphs {
    spatial: Runner,
    temporal: Runner,
    params: V1Params,
    /// Of the spatial half.
    maps: usize,
    /// The temporal half's input; kept to save the allocation.
    gathered: Vec<f32>,
}

impl Graphs {
    pub fn open(provider: Provider, params: &V1Params, bank: &Bank) -> Result<Self, InferError> {
        let (spatial, temporal) = (spatial::build(params, bank), temporal::build(params, bank));
        Ok(Self {
            spatial: Runner::own_on(provider, "v1, spatial half", &spatial)?,
            temporal: Runner::own_on(provider, "v1, temporal half", &temporal)?,
            params: params.clone(),
            maps: bank.maps(),
            gathered: Vec::new(),
        })
    }

    /// What the spatial half answers to a frame, `height * width` bytes: `[maps, samples]`.
    pub fn responses(&mut self, frame: &[u8]) -> Result<Vec<f32>, InferError> {
        let dims = [1, self.params.height, self.params.width, 1];
        Ok(self.spatial.run(&[TensorIn::U8 { dims: &dims, data: frame }])?.swap_remove(0).data)
    }

    /// The energies `[dims, regions]` round the moment in the middle of the frames whose responses these are.
    pub fn energies(&mut self, frames: &[&[f32]]) -> Result<Vec<f32>, InferError> {
        self.gather(frames);
        let dims = [1, self.maps / PARTS, self.params.rows(), self.params.samples()];
        Ok(self.temporal.run(&[TensorIn::F32 { dims: &dims, data: &self.gathered }])?.swap_remove(0).data)
    }

    /// Lays responses out as the temporal half takes them: map by map, in the order of the taps, and after the maps of
    /// each orientation the sum of the constant's.
    fn gather(&mut self, frames: &[&[f32]]) {
        let (samples, constant) = (self.params.samples(), self.maps - 1);
        let map = |of: usize| of * samples..(of + 1) * samples;
        let mut sum = vec![0.0; samples];
        for frame in frames {
            sum.iter_mut().zip(&frame[map(constant)]).for_each(|(sum, response)| *sum += response);
        }
        self.gathered.clear();
        for orientation in 0..constant / PARTS {
            for part in 0..PARTS {
                for frame in frames {
                    self.gathered.extend_from_slice(&frame[map(orientation * PARTS + part)]);
                }
            }
            self.gathered.extend_from_slice(&sum);
        }
    }
}
