//! Places in a picture: polygons in shares of its width and height, whatever its size in pixels.

use schemars::JsonSchema;
use serde::Serialize;

/// A closed line of corners `(x, y)`, each 0 to 1 from the top left.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Polygon(Vec<(f64, f64)>);

impl Polygon {
    /// At least three corners within the picture that enclose something; else what is wrong.
    pub fn new(corners: Vec<(f64, f64)>) -> Result<Self, &'static str> {
        if corners.len() < 3 {
            return Err("a polygon has three corners at least");
        }
        let inside = |v: f64| (0.0..=1.0).contains(&v);
        if !corners.iter().all(|(x, y)| inside(*x) && inside(*y)) {
            return Err("x and y are shares of the picture's width and height, 0 to 1");
        }
        let polygon = Self(corners);
        // Half a pixel of a large picture.
        if polygon.area().abs() < 1e-6 {
            return Err("the polygon encloses nothing");
        }
        Ok(polygon)
    }

    /// Shoelace formula; negative where the corners go anticlockwise.
    fn area(&self) -> f64 {
        self.edges().map(|((ax, ay), (bx, by))| (ax * by - bx * ay) / 2.0).sum()
    }

    fn edges(&self) -> impl Iterator<Item = ((f64, f64), (f64, f64))> {
        self.0.iter().copied().zip(self.0.iter().copied().cycle().skip(1))
    }

    /// Whether a point lies inside: a ray from it crosses the line an odd number of times.
    pub fn contains(&self, x: f64, y: f64) -> bool {
        let crosses = |((ax, ay), (bx, by)): &((f64, f64), (f64, f64))| {
            (*ay > y) != (*by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax
        };
        self.edges().filter(crosses).count() % 2 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_inside_or_outside() {
        // An L.
        let corners = [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)];
        for corners in [corners.to_vec(), corners.iter().rev().copied().collect()] {
            let l = Polygon::new(corners).expect("a polygon");
            for (x, y, inside) in
                [(0.25, 0.25, true), (0.75, 0.75, true), (0.75, 0.25, false), (1.5, 0.75, false)]
            {
                assert_eq!(l.contains(x, y), inside, "{x}, {y}");
            }
        }
    }

    #[test]
    fn what_is_no_polygon_is_refused() {
        for (corners, why) in [
            (vec![(0.0, 0.0), (1.0, 1.0)], "three"),
            (vec![(0.0, 0.0), (1.0, 1.0), (0.5, 1.1)], "0 to 1"),
            (vec![(0.0, 0.0), (1.0, f64::NAN), (0.5, 1.0)], "0 to 1"),
            (vec![(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)], "nothing"),
        ] {
            let refusal = Polygon::new(corners).expect_err("refused");
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
