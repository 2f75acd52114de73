//! Means of luma over a grid of cells: lines are added up first, so that the loops over pixels have no branch in them.

use crate::frame::PixelFormat;

/// Where the luma of a picture lies: every so many bytes, from one on. The green of colour pictures stands for it.
#[derive(Debug, Clone, Copy)]
pub struct Luma {
    pub step: usize,
    pub first: usize,
}

impl Luma {
    /// Of values that are luma, one after the other.
    pub const PLAIN: Self = Self { step: 1, first: 0 };

    pub fn of(format: PixelFormat) -> Self {
        match format {
            PixelFormat::Gray8 => Self::PLAIN,
            PixelFormat::Rgb8 => Self { step: 3, first: 1 },
        }
    }

    fn add(self, line: &[u8], sums: &mut [u16]) {
        let add = |(sum, luma): (&mut u16, &u8)| *sum += u16::from(*luma);
        match self.step {
            1 => sums.iter_mut().zip(line).for_each(add),
            step => sums.iter_mut().zip(line.iter().skip(self.first).step_by(step)).for_each(add),
        }
    }
}

/// As many lines have room in a sum.
const LINES: usize = u16::MAX as usize / u8::MAX as usize;

/// Means over `rows` x `columns` cells of lines of `width` pixels, row by row; pixel x is of cell `x * columns / width`.
/// `None` for cells without a pixel, which a picture smaller than the grid has.
pub fn means(bytes: &[u8], luma: Luma, width: usize, rows: usize, columns: usize) -> Vec<Option<f32>> {
    let stride = width * luma.step;
    let height = bytes.len() / stride;
    let edge = |cell: usize, cells: usize, pixels: usize| (cell * pixels).div_ceil(cells);
    // Narrow sums of some lines, since twice as many go at a time, then those of all.
    let (mut some, mut sums) = (vec![0u16; width], vec![0u32; width]);
    let mut means = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let (top, bottom) = (edge(row, rows, height), edge(row + 1, rows, height));
        sums.fill(0);
        for lines in bytes[top * stride..bottom * stride].chunks(LINES * stride) {
            some.fill(0);
            lines.chunks_exact(stride).for_each(|line| luma.add(line, &mut some));
            sums.iter_mut().zip(&some).for_each(|(sum, some)| *sum += u32::from(*some));
        }
        for column in 0..columns {
            let (left, right) = (edge(column, columns, width), edge(column + 1, columns, width));
            let (sum, count) = (sums[left..right].iter().sum::<u32>(), (bottom - top) * (right - left));
            means.push((count > 0).then(|| sum as f32 / count as f32));
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    #[test]
    fn every_pixel_counts_in_its_own_cell() {
        let mut rng = StdRng::seed_from_u64(5);
        for (width, height, rows, columns) in
            [(360, 240, 26, 40), (112, 72, 9, 16), (7, 3, 9, 16), (41, 30, 3, 7), (4, 600, 2, 2)]
        {
            for luma in [Luma::PLAIN, Luma::of(PixelFormat::Rgb8)] {
                let bytes: Vec<u8> = (0..width * height * luma.step).map(|_| rng.random()).collect();
                let mut sums = vec![(0u32, 0u32); rows * columns];
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let (sum, count) = &mut sums[y * rows / height * columns + x * columns / width];
                    *sum += u32::from(bytes[(y * width + x) * luma.step + luma.first]);
                    *count += 1;
                }
                let plain: Vec<Option<f32>> = sums
                    .iter()
                    .map(|(sum, count)| (*count > 0).then(|| *sum as f32 / *count as f32))
                    .collect();
                assert_eq!(means(&bytes, luma, width, rows, columns), plain);
            }
        }
    }
}
