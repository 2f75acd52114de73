//! Learning a memory of vectors: whitening, a draw of candidates, a coreset for each row of regions.

use super::LearnError;
use super::method::{Model, Say, Task, Trained};
use crate::score::{Neighbours, coreset};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index;

/// Directions kept at most.
const MOST_DIRECTIONS: usize = 128;
/// Vectors that the coresets choose from, all rows of regions together: choosing takes `memory` passes over them.
const CANDIDATES: usize = 40_000;

/// Whitens, and chooses what to remember.
pub fn train(task: &Task, say: &mut Say) -> Result<Trained, LearnError> {
    let (config, grid) = (task.config, task.grid);
    let most = task.directions(MOST_DIRECTIONS);
    let vectors = task.vectors(task.moments()?.whitening(most));
    let width = vectors.width();
    let all = task.rows(&vectors);
    let mut rng = StdRng::seed_from_u64(config.seed);
    let mut chosen = Vec::with_capacity(grid.rows);
    for row in 0..grid.rows {
        say(row as f64 / grid.rows as f64)?;
        let there = task.samples.len() * grid.cols;
        let drawn = index::sample(&mut rng, there, there.min(CANDIDATES / grid.rows));
        let at = |i: usize| (i / grid.cols * grid.rows + row) * grid.cols + i % grid.cols;
        let candidates: Vec<f32> =
            drawn.iter().flat_map(|i| &all[at(i) * width..(at(i) + 1) * width]).copied().collect();
        let kept = coreset(&candidates, width, (config.memory / grid.rows).max(1));
        let rows = kept.iter().map(|i| candidates[i * width..(i + 1) * width].to_vec());
        chosen.push(rows.collect::<Vec<Vec<f32>>>());
    }
    // The graph has one matrix for all rows of regions. A row that shows less than the others (a wall that never
    // changes) repeats what it has.
    let a_row = chosen.iter().map(Vec::len).max().unwrap_or(0);
    let memory: Vec<f32> =
        chosen.iter().flat_map(|row| row.iter().cycle().take(a_row)).flatten().copied().collect();
    let parameters = memory.len();
    let pooling = task.pooling();
    let model = Neighbours { vectors, memory, neighbours: config.neighbours, pooling };
    Ok(Trained { model: Model::Knn(model), parameters, loss: None })
}
