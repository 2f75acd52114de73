//! Points and words in the pictures that commands draw.

use font8x8::legacy::BASIC_LEGACY;
use image::{ImageBuffer, Pixel};

type Picture<P> = ImageBuffer<P, Vec<<P as Pixel>::Subpixel>>;

/// One pixel, where it lies in the picture.
pub fn put<P: Pixel>(picture: &mut Picture<P>, x: f64, y: f64, colour: P) {
    if x >= 0.0 && y >= 0.0 && x < f64::from(picture.width()) && y < f64::from(picture.height()) {
        picture.put_pixel(x as u32, y as u32, colour);
    }
}

/// Writes in an 8 x 8 pixel font that is part of the program; what is not ASCII becomes `?`.
pub fn text<P: Pixel>(picture: &mut Picture<P>, x: f64, y: f64, text: &str, colour: P) {
    for (i, c) in text.chars().enumerate() {
        let glyph = BASIC_LEGACY[if c.is_ascii() { c as usize } else { '?' as usize }];
        for (row, bits) in glyph.iter().enumerate() {
            for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                put(picture, x + (8 * i + column) as f64, y + row as f64, colour);
            }
        }
    }
}
