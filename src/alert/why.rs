//! Why an event is one: which of its frames and features moved, and what normal life had that was most like it.

use crate::base::Timestamp;
use crate::frame::FrameSpec;
use crate::infer::{Covers, Grid};
use crate::score::Moved;
use crate::segment::Segment;
use serde::{Deserialize, Serialize};

/// Normal segments that are shown beside an event.
pub const SIMILAR: usize = 3;
/// Regions that an explanation is of, at most.
const STRANGEST: usize = 4;

/// Why an event is one, from the segment that its picture shows and the strangest regions there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Why {
    /// How much moved from each of the segment's frames to its neighbours, in those regions: 0 to 1, the most of them.
    /// Zeros where nothing moved.
    pub frames: Vec<f32>,
    /// The frame with most movement, from 0, and when it was.
    pub peak_frame: usize,
    pub peak_time: Option<Timestamp>,
    /// Features that are not as in normal life; empty where the model does not say what that is like.
    pub features: Vec<Moved>,
    /// Segments of normal life that are most like it there, at other times each; most alike first.
    pub similar: Vec<Similar>,
}

/// A segment of normal life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Similar {
    pub time: Timestamp,
    /// Standard deviations of normal life there, on the average of all numbers.
    pub distance: f32,
    /// There is a small picture of it.
    pub picture: bool,
}

/// The regions that an explanation is of: the strangest, and up to three more that are at least half as far above the
/// threshold; strangest first. None only of an empty map.
pub fn strangest(regions: &[f32], threshold: f32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..regions.len()).filter(|i| regions[*i].is_finite()).collect();
    order.sort_by(|a, b| regions[*b].total_cmp(&regions[*a]));
    let half = order.first().map_or(0.0, |top| threshold + 0.5 * (regions[*top] - threshold));
    let strange =
        |(rank, region): &(usize, usize)| *rank == 0 || (regions[*region] >= half && half > threshold);
    order.into_iter().take(STRANGEST).enumerate().filter(strange).map(|(_, region)| region).collect()
}

/// How much moves around each frame of a segment within `regions`: the mean absolute difference to the frames before and
/// after, 0 to 1, the most of them.
pub fn movement(
    segment: &Segment,
    spec: &FrameSpec,
    grid: Grid,
    covers: Covers,
    regions: &[usize],
) -> Vec<f32> {
    let (width, bytes) = (spec.width as usize, spec.format.bytes_per_pixel());
    let edge = |cell: usize, cells: usize, covered: f64, pixels: u32| {
        (cell as f64 / cells as f64 * covered * f64::from(pixels)).round() as usize
    };
    let mut rows = vec![];
    for region in regions {
        let (row, column) = (region / grid.cols, region % grid.cols);
        let across = |column| edge(column, grid.cols, covers.width, spec.width) * bytes;
        for y in edge(row, grid.rows, covers.height, spec.height)
            ..edge(row + 1, grid.rows, covers.height, spec.height)
        {
            rows.push(y * width * bytes + across(column)..y * width * bytes + across(column + 1));
        }
    }
    let difference = |pair: &[std::sync::Arc<[u8]>]| -> f64 {
        let of_row = |row: &std::ops::Range<usize>| -> f64 {
            let (Some(a), Some(b)) = (pair[0].get(row.clone()), pair[1].get(row.clone())) else { return 0.0 };
            a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum()
        };
        rows.iter().map(of_row).sum()
    };
    let between: Vec<f64> = segment.frames.windows(2).map(difference).collect();
    let around = |frame: usize| {
        let sides = [frame.checked_sub(1), Some(frame)].into_iter().flatten().filter_map(|i| between.get(i));
        let (sum, n) = sides.fold((0.0, 0), |(sum, n), d| (sum + d, n + 1));
        sum / f64::from(n.max(1))
    };
    let around: Vec<f64> = (0..segment.frames.len()).map(around).collect();
    let most = around.iter().copied().fold(0.0, f64::max);
    around.iter().map(|d| if most > 0.0 { (d / most) as f32 } else { 0.0 }).collect()
}

impl Why {
    /// What the frames and the features say; nothing yet of similar segments.
    pub fn of(segment: &Segment, frames: Vec<f32>, features: Vec<Moved>) -> Self {
        let peak = (0..frames.len()).max_by(|a, b| frames[*a].total_cmp(&frames[*b]).then(b.cmp(a)));
        let length = segment.end.wall.duration_since(segment.start.wall);
        let time = |frame: usize| {
            let steps = (frames.len() - 1).max(1) as i32;
            segment.start.wall.checked_add(length * frame as i32 / steps).ok()
        };
        let (peak_frame, peak_time) = peak.map_or((0, None), |frame| (frame, time(frame)));
        Self { frames, peak_frame, peak_time, features, similar: vec![] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{PixelFormat, Stamp};
    use std::sync::Arc;
    use std::time::Duration;

    const GRID: Grid = Grid { rows: 2, cols: 2 };

    fn segment(frames: Vec<Arc<[u8]>>) -> Segment {
        let stamp = |millis: i64| Stamp {
            seq: 0,
            pts: Duration::from_millis(millis as u64),
            wall: Timestamp::from_millisecond(5_000 + millis).expect("in range"),
            received: Duration::ZERO,
        };
        Segment {
            index: 0,
            run: 0,
            start: stamp(0),
            end: stamp(1500),
            unsettled: false,
            damaged: false,
            frames,
        }
    }

    /// 8 x 4 pixels of which the lower right quarter flashes in the frame 9.
    fn flashing(format: PixelFormat) -> (Segment, FrameSpec) {
        let bytes = format.bytes_per_pixel();
        let frame = |i: usize| -> Arc<[u8]> {
            let pixel = |p: usize| if i == 9 && p / 8 >= 2 && p % 8 >= 4 { 200 } else { 100 };
            (0..32 * bytes).map(|b| pixel(b / bytes)).collect()
        };
        (segment((0..16).map(frame).collect()), FrameSpec { width: 8, height: 4, format, fps: 10.0 })
    }

    #[test]
    fn the_frame_that_moved_is_found_where_it_moved() {
        for format in [PixelFormat::Gray8, PixelFormat::Rgb8] {
            let (segment, spec) = flashing(format);
            let found = movement(&segment, &spec, GRID, Covers::default(), &[3]);
            assert_eq!(found.len(), 16);
            let expected: Vec<f32> = (0..16)
                .map(|i| [8, 9, 10].map(|f| if i == f { [0.5, 1.0, 0.5][f - 8] } else { 0.0 }).iter().sum())
                .collect();
            assert_eq!(found, expected);
            let why = Why::of(&segment, found, vec![]);
            assert_eq!((why.peak_frame, why.peak_time), (9, Timestamp::from_millisecond(5_900).ok()));
            assert_eq!(movement(&segment, &spec, GRID, Covers::default(), &[0, 1, 2]), [0.0; 16]);
        }
    }

    #[test]
    fn a_grid_that_ends_before_the_picture_does_looks_where_it_lies() {
        let (segment, spec) = flashing(PixelFormat::Gray8);
        let half = Covers { width: 0.5, height: 1.0 };
        assert_eq!(movement(&segment, &spec, GRID, half, &[3]), [0.0; 16], "it ends at the fourth pixel");
        assert_eq!(Why::of(&segment, vec![0.0; 16], vec![]).peak_frame, 0);
    }

    #[test]
    fn the_strangest_regions_are_those_that_stand_out() {
        assert_eq!(strangest(&[1.0, 9.0, 6.0, 5.0, f32::NAN], 2.0), [1, 2], "half of 7 above 2 is 5.5");
        assert_eq!(strangest(&[9.0; 6], 2.0).len(), 4);
        assert_eq!(strangest(&[1.0, 1.5, 1.0], 2.0), [1], "one at least");
        assert_eq!(strangest(&[], 2.0), [0; 0]);
    }
}
