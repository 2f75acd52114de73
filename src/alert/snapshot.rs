//! The picture that shows where: region scores as heat over the frame, and a box round the strangest place.
//! What is kept is the plain picture: the map is drawn over it for whoever asks.

use crate::frame::Picture;
use crate::infer::{Covers, Grid};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageError, RgbImage, imageops};

/// Width of a thumbnail in pixels.
const THUMBNAIL_WIDTH: u32 = 320;
const SNAPSHOT_QUALITY: u8 = 85;
const THUMBNAIL_QUALITY: u8 = 78;
const SMALL_QUALITIES: [u8; 4] = [78, 60, 40, 20];
/// How much of the picture the strongest heat hides.
const HEAT: f32 = 0.6;
const BOX_COLOUR: [u8; 3] = [255, 64, 48];

/// The regions of a picture with their scores.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    pub grid: Grid,
    pub covers: Covers,
    /// One number a region, row by row.
    pub regions: &'a [f32],
    /// Regions at or below this show no heat.
    pub threshold: f32,
}

/// An event's pictures, both JPEG.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// As it was taken; [`with_map`] draws the map.
    pub full: Vec<u8>,
    /// With the map, at most 320 pixels wide.
    pub thumbnail: Vec<u8>,
}

/// The pictures of an event. Fails only where the picture's bytes do not match its size.
pub fn snapshot(picture: &Picture, map: &Map) -> Result<Snapshot, ImageError> {
    let mut image = to_image(picture)?;
    let full = encode(&image, SNAPSHOT_QUALITY)?;
    draw(&mut image, map);
    let height = (image.height() * THUMBNAIL_WIDTH).div_ceil(image.width()).max(1);
    let thumbnail = if image.width() > THUMBNAIL_WIDTH {
        imageops::thumbnail(&image, THUMBNAIL_WIDTH, height)
    } else {
        image.clone()
    };
    Ok(Snapshot { full, thumbnail: encode(&thumbnail, THUMBNAIL_QUALITY)? })
}

/// Draws `map` over the JPEG `full` of a [`Snapshot`]. Fails where it is no picture (any more).
pub fn with_map(full: &[u8], map: &Map) -> Result<Vec<u8>, ImageError> {
    let mut image = image::load_from_memory_with_format(full, image::ImageFormat::Jpeg)?.to_rgb8();
    draw(&mut image, map);
    encode(&image, SNAPSHOT_QUALITY)
}

/// `picture` as a JPEG, as it is.
pub fn jpeg(picture: &Picture) -> Result<Vec<u8>, ImageError> {
    encode(&to_image(picture)?, THUMBNAIL_QUALITY)
}

/// `picture` as a JPEG of at most `most` bytes, as good as goes; `None` where none is so small.
pub fn small_jpeg(picture: &Picture, most: usize) -> Option<Vec<u8>> {
    let image = to_image(picture).ok()?;
    SMALL_QUALITIES.iter().find_map(|quality| encode(&image, *quality).ok().filter(|jpeg| jpeg.len() <= most))
}

fn to_image(picture: &Picture) -> Result<RgbImage, ImageError> {
    RgbImage::from_raw(picture.width, picture.height, picture.rgb.clone())
        .filter(|image| image.width() > 0 && image.height() > 0)
        .ok_or_else(|| {
            let kind = image::error::ParameterErrorKind::DimensionMismatch;
            ImageError::Parameter(image::error::ParameterError::from_kind(kind))
        })
}

fn encode(image: &RgbImage, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode(
        image,
        image.width(),
        image.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}

fn draw(image: &mut RgbImage, map: &Map) {
    let Grid { rows, cols } = map.grid;
    let strongest = map.regions.iter().copied().filter(|r| r.is_finite()).fold(f32::MIN, f32::max);
    if rows * cols == 0 || map.regions.len() != rows * cols || strongest <= map.threshold {
        return;
    }
    // 0 at the threshold, 1 at the strongest region.
    let heat: Vec<f32> = map
        .regions
        .iter()
        .map(|r| {
            if r.is_finite() {
                ((r - map.threshold) / (strongest - map.threshold)).clamp(0.0, 1.0)
            } else {
                0.0
            }
        })
        .collect();
    // One region says nothing about where: only the frame round it is drawn.
    let (width, height) = image.dimensions();
    let (over_x, over_y) = (width as f32 * map.covers.width as f32, height as f32 * map.covers.height as f32);
    if heat.len() > 1 {
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            let (cell_x, cell_y) = (x as f32 / over_x * cols as f32, y as f32 / over_y * rows as f32);
            if cell_x >= cols as f32 || cell_y >= rows as f32 {
                continue;
            }
            let strength = smooth(&heat, map.grid, cell_x - 0.5, cell_y - 0.5);
            let colour = warm(strength);
            for (channel, over) in pixel.0.iter_mut().zip(colour) {
                let alpha = HEAT * strength.sqrt();
                *channel = (f32::from(*channel) * (1.0 - alpha) + over * alpha) as u8;
            }
        }
    }
    let (top, left, bottom, right) = hottest(&heat, map.grid);
    let x = |cell: usize| ((cell as f32 * over_x / cols as f32) as u32).min(width - 1);
    let y = |cell: usize| ((cell as f32 * over_y / rows as f32) as u32).min(height - 1);
    outline(image, (x(left), y(top)), (x(right), y(bottom)));
}

/// Heat between the cells' centres, so that no grid of hard squares hides the picture.
fn smooth(heat: &[f32], grid: Grid, x: f32, y: f32) -> f32 {
    let at = |column: f32, row: f32| {
        let column = (column.max(0.0) as usize).min(grid.cols - 1);
        let row = (row.max(0.0) as usize).min(grid.rows - 1);
        heat[row * grid.cols + column]
    };
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (x - x0, y - y0);
    let above = at(x0, y0) * (1.0 - fx) + at(x0 + 1.0, y0) * fx;
    let below = at(x0, y0 + 1.0) * (1.0 - fx) + at(x0 + 1.0, y0 + 1.0) * fx;
    above * (1.0 - fy) + below * fy
}

/// Yellow for a little, red for much.
fn warm(strength: f32) -> [f32; 3] {
    [255.0, 214.0 * (1.0 - strength) + 32.0 * strength, 64.0 * (1.0 - strength) + 24.0 * strength]
}

/// `(top, left, bottom, right)` in cells, the last two exclusive: round the strongest region and every
/// strong one (at least half as strong) that it can be reached from through strong neighbours.
fn hottest(heat: &[f32], grid: Grid) -> (usize, usize, usize, usize) {
    let start = (0..heat.len()).max_by(|a, b| heat[*a].total_cmp(&heat[*b])).unwrap_or(0);
    let mut seen = vec![false; heat.len()];
    let mut todo = vec![start];
    seen[start] = true;
    let (mut top, mut left) = (start / grid.cols, start % grid.cols);
    let (mut bottom, mut right) = (top, left);
    while let Some(cell) = todo.pop() {
        let (row, column) = (cell / grid.cols, cell % grid.cols);
        (top, bottom) = (top.min(row), bottom.max(row));
        (left, right) = (left.min(column), right.max(column));
        for next_row in row.saturating_sub(1)..=(row + 1).min(grid.rows - 1) {
            for next_column in column.saturating_sub(1)..=(column + 1).min(grid.cols - 1) {
                let next = next_row * grid.cols + next_column;
                if !seen[next] && heat[next] >= 0.5 {
                    seen[next] = true;
                    todo.push(next);
                }
            }
        }
    }
    (top, left, bottom + 1, right + 1)
}

fn outline(image: &mut RgbImage, (left, top): (u32, u32), (right, bottom): (u32, u32)) {
    // About 1/300 of the width, so that it can still be seen in the thumbnail.
    let thick = (image.width() / 300).clamp(2, 8);
    let inside = |v: u32, from: u32, to: u32| v < from.saturating_add(thick) || v + thick > to;
    for y in top..=bottom {
        for x in left..=right {
            if inside(x, left, right) || inside(y, top, bottom) {
                image.put_pixel(x, y, image::Rgb(BOX_COLOUR));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    const GRID: Grid = Grid { rows: 3, cols: 4 };

    fn grey(width: u32, height: u32) -> Picture {
        Picture { width, height, rgb: vec![90; (width * height * 3) as usize], wall: Timestamp::UNIX_EPOCH }
    }

    fn decoded(jpeg: &[u8]) -> RgbImage {
        image::load_from_memory(jpeg).expect("a JPEG").to_rgb8()
    }

    /// A grey picture as it is kept, with the map drawn over it.
    fn drawn(width: u32, height: u32, map: &Map) -> RgbImage {
        let kept = snapshot(&grey(width, height), map).expect("encoded").full;
        assert!(decoded(&kept).pixels().all(|p| p[0].abs_diff(90) < 8), "kept without the map");
        decoded(&with_map(&kept, map).expect("drawn"))
    }

    /// How red the picture is at a place.
    fn red(image: &RgbImage, x: u32, y: u32) -> i32 {
        let p = image.get_pixel(x, y);
        i32::from(p[0]) - i32::from(p[2])
    }

    #[test]
    fn heat_and_box_lie_over_the_region_and_nowhere_else() {
        let mut regions = vec![1.0; 12];
        regions[6] = 9.0; // row 1, column 2 of 3 x 4
        let map = Map { grid: GRID, covers: Covers::default(), regions: &regions, threshold: 2.0 };
        let pictures = snapshot(&grey(640, 480), &map).expect("drawn");
        let full = drawn(640, 480, &map);
        assert_eq!(full.dimensions(), (640, 480));
        assert!(red(&full, 400, 240) > 100, "the middle of the region is warm");
        assert!(red(&full, 80, 80).abs() < 16, "the far corner is as it was");
        assert!(red(&full, 321, 240) > 50, "the left edge of the box, where heat is weak");
        let small = decoded(&pictures.thumbnail);
        assert_eq!(small.dimensions(), (320, 240));
        assert!(red(&small, 200, 120) > 100);
    }

    #[test]
    fn a_grid_that_ends_before_the_picture_does_is_drawn_where_it_lies() {
        let mut regions = vec![0.0; 12];
        regions[3] = 5.0; // the last column of the first row
        let covers = Covers { width: 0.5, height: 1.0 };
        let map = Map { grid: GRID, covers, regions: &regions, threshold: 1.0 };
        let full = drawn(640, 480, &map);
        assert!(red(&full, 280, 80) > 100, "column 3 of 4 ends in the middle of the picture");
        assert!(red(&full, 560, 80).abs() < 16, "what is not watched stays as it was");
    }

    #[test]
    fn nothing_above_the_threshold_leaves_the_picture_alone() {
        for regions in [vec![1.0; 12], vec![f32::NAN; 12], vec![1.0; 5], Vec::new()] {
            let map = Map { grid: GRID, covers: Covers::default(), regions: &regions, threshold: 2.0 };
            let full = drawn(64, 48, &map);
            assert!(full.pixels().all(|p| p[0].abs_diff(90) < 8), "{regions:?}");
        }
    }

    #[test]
    fn the_box_holds_what_hangs_together() {
        #[rustfmt::skip]
        let heat = [
            0.0, 0.6, 0.0, 0.7,
            0.0, 0.0, 1.0, 0.0,
            0.9, 0.0, 0.0, 0.0,
        ];
        assert_eq!(hottest(&heat, GRID), (0, 1, 2, 4), "the 0.9 stands apart");
    }

    #[test]
    fn a_picture_of_the_wrong_size_is_an_error() {
        let picture = Picture { rgb: vec![0; 10], ..grey(64, 48) };
        assert!(jpeg(&picture).is_err());
        assert!(jpeg(&Picture { rgb: Vec::new(), ..grey(0, 0) }).is_err());
        let map = Map { grid: GRID, covers: Covers::default(), regions: &[], threshold: 2.0 };
        assert!(with_map(b"no picture", &map).is_err());
    }
}
