//! Figures that say how good scores are: ROC area, equal error rate, average precision.
//!
//! All take scores (larger is stranger) and labels (true is anomalous), one each a frame.

/// Points of the ROC curve from (0, 0) to (1, 1), as `(false positive rate, true positive rate)`; frames of
/// equal score enter together.
fn roc(scores: &[f32], labels: &[bool]) -> Option<Vec<(f64, f64)>> {
    let ranked = ranked(scores, labels)?;
    let positives = labels.iter().filter(|l| **l).count() as f64;
    let negatives = labels.len() as f64 - positives;
    let mut points = vec![(0.0, 0.0)];
    points.extend(ranked.iter().map(|(fp, tp)| (*fp as f64 / negatives, *tp as f64 / positives)));
    Some(points)
}

/// Counts of false and true positives at each distinct score as the limit, highest first. `None` unless
/// both labels occur and every score is finite.
fn ranked(scores: &[f32], labels: &[bool]) -> Option<Vec<(usize, usize)>> {
    assert_eq!(scores.len(), labels.len(), "one label a score");
    let positives = labels.iter().filter(|l| **l).count();
    if positives == 0 || positives == labels.len() || scores.iter().any(|s| !s.is_finite()) {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut fp, mut tp) = (0, 0);
    let mut counts = Vec::new();
    for (i, &frame) in order.iter().enumerate() {
        if labels[frame] {
            tp += 1;
        } else {
            fp += 1;
        }
        if order.get(i + 1).is_none_or(|&next| scores[next] != scores[frame]) {
            counts.push((fp, tp));
        }
    }
    Some(counts)
}

/// Area under the ROC curve: the chance that an anomalous frame scores higher than a normal one, ties half.
/// `None` unless both labels occur and every score is finite.
pub fn roc_auc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let area = |pair: &[(f64, f64)]| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0;
    Some(roc(scores, labels)?.windows(2).map(area).sum())
}

/// Where the curve has as many false positives among the normal as misses among the anomalous.
pub fn equal_error_rate(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let points = roc(scores, labels)?;
    points.windows(2).find_map(|pair| {
        let excess = |p: (f64, f64)| p.0 - (1.0 - p.1);
        let (a, b) = (excess(pair[0]), excess(pair[1]));
        (a <= 0.0 && b >= 0.0).then(|| {
            let share = if b > a { -a / (b - a) } else { 0.0 };
            pair[0].0 + share * (pair[1].0 - pair[0].0)
        })
    })
}

/// Sum over the limits of (recall gained) x (precision there).
pub fn average_precision(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let counts = ranked(scores, labels)?;
    let positives = counts.last()?.1 as f64;
    let mut before = 0;
    let mut sum = 0.0;
    for (fp, tp) in counts {
        sum += (tp - before) as f64 / positives * (tp as f64 / (tp + fp) as f64);
        before = tp;
    }
    Some(sum)
}

/// Clips a block, and the factors k, over which [`thresholded_auc`] goes.
const BLOCK: usize = 8192;
const FACTORS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0, 1.5, 2.0];

/// What the diffusion method's authors report as AUC (their `train_ano_nocond.py`): scores are cut into blocks,
/// each block is thresholded at its own mean + k deviations, and the ROC area of those noughts and ones is taken
/// for the k that does best *on the test labels*. The area of a binary prediction is balanced accuracy: not to be
/// compared with [`roc_auc`], and not to be aimed at.
pub fn thresholded_auc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    roc_auc(scores, labels)?;
    let predicted = |k: f64| -> Vec<f32> {
        let block = |block: &[f32]| {
            let n = block.len() as f64;
            let mean = block.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
            let squares = block.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>();
            let limit = mean + k * (squares / (n - 1.0).max(1.0)).sqrt();
            block.iter().map(|s| f32::from(u8::from(f64::from(*s) > limit))).collect::<Vec<_>>()
        };
        scores.chunks(BLOCK).flat_map(block).collect()
    };
    FACTORS.iter().filter_map(|k| roc_auc(&predicted(*k), labels)).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.expect("both labels occur");
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    /// By hand: of the 3 x 3 pairs, (.9) beats all 3, (.6) beats 2, (.4) ties 1 and beats 1.
    const SCORES: [f32; 6] = [0.9, 0.8, 0.6, 0.4, 0.4, 0.1];
    const LABELS: [bool; 6] = [true, false, true, true, false, false];

    #[test]
    fn roc_area_by_hand() {
        close(roc_auc(&SCORES, &LABELS), (3.0 + 2.0 + 1.5) / 9.0);
        close(roc_auc(&[0.3, 0.2, 0.1], &[true, false, false]), 1.0);
        close(roc_auc(&[0.5; 4], &[true, false, true, false]), 0.5);
    }

    #[test]
    fn average_precision_by_hand() {
        // Limits .9, .8, .6, .4: recall 1/3, 1/3, 2/3, 1 at precision 1, 1/2, 2/3, 3/5.
        close(average_precision(&SCORES, &LABELS), (1.0 + 2.0 / 3.0 + 0.6) / 3.0);
    }

    #[test]
    fn equal_error_rate_by_hand() {
        // At the limit .6 one of three is a false positive and one of three is missed.
        close(equal_error_rate(&SCORES, &LABELS), 1.0 / 3.0);
        close(equal_error_rate(&[0.9, 0.1], &[true, false]), 0.0);
        close(equal_error_rate(&[0.5; 4], &[true, false, true, false]), 0.5);
    }

    #[test]
    fn without_both_labels_or_with_nan_there_is_no_figure() {
        assert_eq!(roc_auc(&[0.1, 0.2], &[true, true]), None);
        assert_eq!(roc_auc(&[], &[]), None);
        assert_eq!(roc_auc(&[f32::NAN, 0.2], &[true, false]), None);
    }

    /// Guards against taking "AUC" on thresholded predictions, as the method's authors did.
    #[test]
    fn the_area_of_binary_predictions_is_only_balanced_accuracy() {
        let predictions = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let labels = [true, false, true, false, true, false, false];
        let (tpr, tnr) = (2.0 / 3.0, 3.0 / 4.0);
        close(roc_auc(&predictions, &labels), (tpr + tnr) / 2.0);
    }

    /// Two normal clips low, two unusual ones high, one of each in between: at best one of six is wrong.
    #[test]
    fn the_authors_figure_is_the_balanced_accuracy_at_the_best_k() {
        let scores = [0.0, 0.1, 0.6, 0.5, 0.9, 1.0];
        let labels = [false, false, false, true, true, true];
        close(thresholded_auc(&scores, &labels), (1.0 + 2.0 / 3.0) / 2.0);
        assert!(roc_auc(&scores, &labels) > thresholded_auc(&scores, &labels));
        assert_eq!(thresholded_auc(&scores, &[true; 6]), None);
    }
}
