//! The published loss of a batch of bags, and its slopes at the scores and at the features they are of.

use super::bags::{Batch, highest, spokesmen};
use ndarray::{Array1, Array2};

/// Length that the features of an unusual bag are drawn out to.
const MARGIN: f32 = 100.0;
const MAGNITUDE_WEIGHT: f32 = 1e-4;
const SMOOTHNESS_WEIGHT: f32 = 8e-4;
const SPARSITY_WEIGHT: f32 = 8e-3;
/// Logarithms of probabilities go no lower, as in PyTorch.
const LEAST_LOG: f32 = -100.0;

/// Loss, and its slopes row by row.
pub struct Slopes {
    pub loss: f32,
    pub at_logits: Array1<f32>,
    pub at_features: Array2<f32>,
}

/// Which rows speak for each bag: those of the largest features, of the candidates that `drawn` leaves.
pub fn chosen(batch: &Batch, features: &Array2<f32>, drawn: &Array1<f32>) -> Vec<Vec<usize>> {
    let length = |row: usize| features.row(row).dot(&features.row(row)).sqrt() * drawn[row];
    let of = |bag: usize| {
        let rows: Vec<usize> = batch.rows(bag).collect();
        let lengths: Vec<f32> = rows.iter().map(|row| length(*row)).collect();
        highest(&lengths, spokesmen(rows.len())).into_iter().map(|i| rows[i]).collect()
    };
    (0..batch.bags()).map(of).collect()
}

/// The four terms over a batch whose first half is normal and whose second is unusual, `chosen` speaking for the bags:
///
/// - cross entropy of the chosen rows' mean score and the bag's label, mean over the bags;
/// - 1e-4 (|100 - |m_u|| + |m_n|)^2, m the mean of the chosen features of the unusual and the normal bag of a pair, mean
///   over the pairs;
/// - 8e-4 times the sum of (s_{t+1} - s_t)^2 over the unusual bags' scores, one bag after the other;
/// - 8e-3 times the length of the vector of all those scores.
///
/// The last two are what the code computes; the paper writes the last with another norm.
pub fn slopes(batch: &Batch, logits: &Array1<f32>, features: &Array2<f32>, chosen: &[Vec<usize>]) -> Slopes {
    let (bags, pairs) = (batch.bags(), batch.bags() / 2);
    let scores = logits.mapv(|l| 1.0 / (1.0 + (-l).exp()));
    let mut at_scores = Array1::<f32>::zeros(scores.len());
    let mut at_features = Array2::zeros(features.raw_dim());
    let mut loss = 0.0;

    for (bag, rows) in chosen.iter().enumerate() {
        let mean = rows.iter().map(|row| scores[*row]).sum::<f32>() / rows.len() as f32;
        let (log, slope) = match bag < pairs {
            true => ((1.0 - mean).ln(), 1.0 / (1.0 - mean)),
            false => (mean.ln(), -1.0 / mean),
        };
        loss -= log.max(LEAST_LOG) / bags as f32;
        let slope = if log > LEAST_LOG { slope } else { 0.0 };
        rows.iter().for_each(|row| at_scores[*row] += slope / (bags * rows.len()) as f32);
    }

    let mean = |rows: &[usize]| {
        let mut sum = Array1::<f32>::zeros(features.ncols());
        rows.iter().for_each(|row| sum += &features.row(*row));
        sum / rows.len() as f32
    };
    for (normal, unusual) in chosen[..pairs].iter().zip(&chosen[pairs..]) {
        let (m, u) = (mean(normal), mean(unusual));
        let (m_length, u_length) = (m.dot(&m).sqrt(), u.dot(&u).sqrt());
        let apart = (MARGIN - u_length).abs() + m_length;
        loss += MAGNITUDE_WEIGHT * apart * apart / pairs as f32;
        let slope = MAGNITUDE_WEIGHT * 2.0 * apart / pairs as f32;
        let pull = if u_length < MARGIN { -slope } else { slope };
        for (rows, vector, length, slope) in [(normal, m, m_length, slope), (unusual, u, u_length, pull)] {
            let step = vector * (slope / (length.max(1e-6) * rows.len() as f32));
            rows.iter().for_each(|row| {
                let mut at = at_features.row_mut(*row);
                at += &step;
            });
        }
    }

    let unusual: Vec<usize> = (pairs..bags).flat_map(|bag| batch.rows(bag)).collect();
    for pair in unusual.windows(2) {
        let apart = scores[pair[1]] - scores[pair[0]];
        loss += SMOOTHNESS_WEIGHT * apart * apart;
        at_scores[pair[1]] += 2.0 * SMOOTHNESS_WEIGHT * apart;
        at_scores[pair[0]] -= 2.0 * SMOOTHNESS_WEIGHT * apart;
    }
    let length = unusual.iter().map(|row| scores[*row].powi(2)).sum::<f32>().sqrt();
    loss += SPARSITY_WEIGHT * length;
    unusual.iter().for_each(|row| at_scores[*row] += SPARSITY_WEIGHT * scores[*row] / length.max(1e-6));

    let at_logits = at_scores * scores.mapv(|s| s * (1.0 - s));
    Slopes { loss, at_logits, at_features }
}

#[cfg(test)]
mod tests {
    use super::super::bags::Bag;
    use super::*;
    use ndarray::array;

    /// One normal and one unusual bag of two steps, by hand.
    #[test]
    fn the_four_terms_by_hand() {
        let bag = |unusual| Bag { unusual, width: 2, vectors: vec![0.0; 4] };
        let batch = Batch::of(&[&bag(false), &bag(true)]);
        // Rows: step by step, normal and unusual.
        let features = array![[3.0, 4.0], [0.0, 60.0], [0.0, 1.0], [0.0, 80.0]];
        let everything = Array1::ones(4);
        let chosen = chosen(&batch, &features, &everything);
        assert_eq!(chosen, [[0], [3]]);
        let logit = |p: f32| (p / (1.0 - p)).ln();
        let logits = array![logit(0.2), logit(0.5), logit(0.9), logit(0.8)];
        let found = slopes(&batch, &logits, &features, &chosen);
        let entropy = -(0.8f32.ln() + 0.8f32.ln()) / 2.0;
        let magnitude = 1e-4 * (20.0f32 + 5.0).powi(2);
        let smooth = 8e-4 * 0.3f32.powi(2);
        let sparse = 8e-3 * (0.25f32 + 0.64).sqrt();
        assert!((found.loss - (entropy + magnitude + smooth + sparse)).abs() < 1e-5, "{}", found.loss);
        // What was drawn out of the lot is not chosen.
        let without = array![1.0, 1.0, 1.0, 0.0];
        assert_eq!(super::chosen(&batch, &features, &without), [[0], [1]]);
    }
}
