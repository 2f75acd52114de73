//! Kernels as a contact sheet: each one's frames in a row, oldest first, then its slice over place and time.

use crate::cli::draw::text;
use crate::features::kernels::{Gabor, Kernel, Volume};
use anyhow::Result;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{GrayImage, Luma};

/// Kernels are magnified to about so many pixels.
const TILE: usize = 44;
const GAP: usize = 2;
/// Below a row of frames: its label.
const LABEL: usize = 12;
const MARGIN: usize = 8;
/// A picture is about so wide.
const WIDTH: usize = 1280;

const PAPER: Luma<u8> = Luma([255]);
const INK: Luma<u8> = Luma([40]);

/// Draws kernels and what was fitted to them. Grey is zero, white and black are a kernel's largest weight and its
/// opposite.
pub fn draw(kernels: &[(Kernel, Option<Gabor>)]) -> GrayImage {
    let widths = kernels.iter().map(|(kernel, gabor)| {
        let tiles = tiles(&kernel.volume, gabor.as_ref());
        tiles.iter().map(|t| t.zoom * t.width + GAP).sum::<usize>().max(8 * label(0, gabor.as_ref()).len())
    });
    let width = widths.max().unwrap_or(0) + MARGIN;
    let heights = kernels.iter().map(|(kernel, _)| zoom(&kernel.volume) * kernel.volume.height);
    let height = heights.max().unwrap_or(0) + LABEL + MARGIN;
    let columns = (WIDTH / width).clamp(1, kernels.len().max(1));
    let rows = kernels.len().div_ceil(columns).max(1);
    let size = |n: usize, cell: usize| (n * cell + MARGIN) as u32;
    let mut picture = GrayImage::from_pixel(size(columns, width), size(rows, height), PAPER);
    for (i, (kernel, gabor)) in kernels.iter().enumerate() {
        let (left, top) = (MARGIN + i % columns * width, MARGIN + i / columns * height);
        let strongest = kernel.volume.weights.iter().fold(f64::MIN_POSITIVE, |m, w| m.max(w.abs()));
        let mut at = left;
        for tile in tiles(&kernel.volume, gabor.as_ref()) {
            tile.draw(&mut picture, at, top, strongest);
            at += tile.zoom * tile.width + GAP;
        }
        let below = top + height - LABEL - MARGIN + 2;
        text(&mut picture, left as f64, below as f64, &label(i, gabor.as_ref()), INK);
    }
    picture
}

/// The picture as a file; rows that repeat cost nothing.
pub fn png(picture: &GrayImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    picture.write_with_encoder(PngEncoder::new_with_quality(
        &mut bytes,
        CompressionType::Best,
        FilterType::Up,
    ))?;
    Ok(bytes)
}

fn label(index: usize, gabor: Option<&Gabor>) -> String {
    match gabor {
        None => format!("{index:<3} zero"),
        Some(g) => {
            let wave = match (g.wavelength, g.speed()) {
                (Some(wavelength), Some(speed)) => format!("{wavelength:4.1}px {speed:+5.2}px/f"),
                _ => format!("{:17}", "edge or blob"),
            };
            format!("{index:<3} {:3.0}deg {wave} r={:.2}", g.orientation, g.residual)
        }
    }
}

/// A rectangle of weights.
struct Tile {
    width: usize,
    zoom: usize,
    /// Row by row.
    weights: Vec<f64>,
}

fn zoom(volume: &Volume) -> usize {
    (TILE / volume.width.max(volume.height)).max(1)
}

/// The frames, and of kernels with several the slice through the middle along the wave vector: places to the right, time
/// downwards. What drifts is slanted there.
fn tiles(volume: &Volume, gabor: Option<&Gabor>) -> Vec<Tile> {
    let Volume { frames, height, width, weights } = volume;
    let zoom = zoom(volume);
    let frame = |weights: &[f64]| Tile { width: *width, zoom, weights: weights.to_vec() };
    let mut tiles: Vec<Tile> = weights.chunks_exact(height * width).map(frame).collect();
    if let (Some(gabor), true) = (gabor, *frames > 1) {
        let (sin, cos) = gabor.orientation.to_radians().sin_cos();
        let side = *width.min(height);
        let place = |along: usize, direction: f64, n: usize| {
            let from_middle = (along as f64 - (side as f64 - 1.0) / 2.0) * direction;
            ((n as f64 - 1.0) / 2.0 + from_middle).round().clamp(0.0, n as f64 - 1.0) as usize
        };
        let at = |t: usize, along: usize| {
            weights[(t * height + place(along, sin, *height)) * width + place(along, cos, *width)]
        };
        // As many rows as a frame has, so that frames of time are as high as they can be.
        let rows = *height;
        let slice = (0..rows).flat_map(|row| (0..side).map(move |along| (row * frames / rows, along)));
        tiles.push(Tile { width: side, zoom, weights: slice.map(|(t, along)| at(t, along)).collect() });
    }
    tiles
}

impl Tile {
    fn draw(&self, picture: &mut GrayImage, left: usize, top: usize, strongest: f64) {
        for (i, weight) in self.weights.iter().enumerate() {
            // In steps of 8, which nobody sees and which make the file small.
            let grey = Luma([((16.0 + 16.0 * weight / strongest).round() * 8.0) as u8]);
            let (x, y) = (left + i % self.width * self.zoom, top + i / self.width * self.zoom);
            for (dx, dy) in (0..self.zoom).flat_map(|dx| (0..self.zoom).map(move |dy| (dx, dy))) {
                picture.put_pixel((x + dx) as u32, (y + dy) as u32, grey);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stand_in_a_row_and_zero_is_grey() {
        let mut weights = vec![0.0f32; 2 * 11 * 11];
        (weights[0], weights[121]) = (1.0, -1.0);
        let kernel = Kernel::new("0".into(), 1, [2, 11, 11], &weights);
        let picture = draw(&[(kernel.clone(), None), (kernel, None)]);
        let (first, second) = (MARGIN as u32, (MARGIN + 44 + GAP) as u32);
        assert_eq!(picture.get_pixel(first, MARGIN as u32), &Luma([255]));
        assert_eq!(picture.get_pixel(second + 3, MARGIN as u32 + 3), &Luma([0]));
        assert_eq!(picture.get_pixel(first + 20, MARGIN as u32 + 20), &Luma([128]));
        // Two beside each other: two frames and a gap each, or the label where that is longer.
        assert_eq!(
            picture.dimensions(),
            ((2 * (92 + MARGIN) + MARGIN) as u32, (44 + LABEL + 2 * MARGIN) as u32)
        );
    }
}
