//! Names of the places where something happened: the zones that an operator has drawn.

use crate::base::Polygon;
use crate::infer::{Covers, Grid};

/// Regions of an event that are looked up: those that stand for where it is, the strangest first.
const LOOKED_UP: usize = 3;
/// Points of a region, each way, that are tried against a polygon.
const POINTS: usize = 4;

/// A named place.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    pub name: String,
    pub polygon: Polygon,
}

/// The zones that hold one of the strangest regions, strangest first, each once. `top`: `(row, column)`.
pub fn zones_of(zones: &[Zone], grid: Grid, covers: Covers, top: &[(usize, usize)]) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for region in top.iter().take(LOOKED_UP) {
        let holding = zones.iter().filter(|zone| lies_in(&zone.polygon, grid, covers, *region));
        for zone in holding {
            if !names.contains(&zone.name) {
                names.push(zone.name.clone());
            }
        }
    }
    names
}

/// Regions, row by row, of which half or more lies within one of the polygons.
pub fn covered_regions(polygons: &[Polygon], grid: Grid, covers: Covers) -> Vec<usize> {
    let region = |i: &usize| (i / grid.cols, i % grid.cols);
    let covered = |i: &usize| polygons.iter().any(|polygon| lies_in(polygon, grid, covers, region(i)));
    (0..grid.regions()).filter(covered).collect()
}

/// Half or more of the region lies within the polygon.
fn lies_in(polygon: &Polygon, grid: Grid, covers: Covers, (row, column): (usize, usize)) -> bool {
    let place = |index: usize, point: usize, count: usize, share: f64| {
        (index as f64 + (point as f64 + 0.5) / POINTS as f64) / count as f64 * share
    };
    let inside = (0..POINTS * POINTS).filter(|point| {
        let x = place(column, point % POINTS, grid.cols, covers.width);
        let y = place(row, point / POINTS, grid.rows, covers.height);
        polygon.contains(x, y)
    });
    2 * inside.count() >= POINTS * POINTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { rows: 2, cols: 4 };

    fn square(left: f64, top: f64, right: f64, bottom: f64) -> Polygon {
        Polygon::new(vec![(left, top), (right, top), (right, bottom), (left, bottom)]).expect("a polygon")
    }

    #[test]
    fn regions_belong_to_a_polygon_that_holds_half_of_them() {
        let all = Covers::default();
        assert_eq!(covered_regions(&[square(0.0, 0.0, 0.4, 1.0)], GRID, all), [0, 1, 4, 5]);
        assert_eq!(covered_regions(&[square(0.0, 0.0, 0.3, 0.5)], GRID, all), [0]);
        assert_eq!(
            covered_regions(&[square(0.0, 0.0, 0.25, 0.5), square(0.75, 0.5, 1.0, 1.0)], GRID, all),
            [0, 7]
        );
        // A grid over the left half of the picture alone.
        let half = Covers { width: 0.5, height: 1.0 };
        assert_eq!(covered_regions(&[square(0.0, 0.0, 0.25, 0.5)], GRID, half), [0, 1]);
    }

    #[test]
    fn an_event_is_where_its_strangest_regions_are() {
        let zone = |name: &str, polygon| Zone { name: name.into(), polygon };
        let zones = [
            zone("door", square(0.0, 0.0, 0.5, 1.0)),
            zone("road", square(0.5, 0.0, 1.0, 1.0)),
            zone("all", square(0.0, 0.0, 1.0, 1.0)),
        ];
        let names = |top: &[(usize, usize)]| zones_of(&zones, GRID, Covers::default(), top);
        assert_eq!(names(&[(0, 3), (1, 0)]), ["road", "all", "door"]);
        assert_eq!(names(&[(0, 3), (1, 3), (0, 2), (1, 0)]), ["road", "all"], "the fourth is not looked up");
        assert!(names(&[]).is_empty());
    }
}
