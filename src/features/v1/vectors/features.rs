//! From energies to features: the logarithm of their mean over the moments, region by region.

use pulp::{Simd, WithSimd};

/// Takes the logarithms.
pub struct Run<'a> {
    /// Sums over the moments, `[dims, regions]`; logarithms afterwards.
    pub sums: &'a mut [f32],
    /// One by the number of moments.
    pub share: f32,
    pub epsilon: f32,
    pub regions: usize,
    /// `[regions, dims]`.
    pub to: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { sums, share, epsilon, regions, to } = self;
        sums.iter_mut().for_each(|sum| *sum = ln(*sum * share + epsilon));
        let dims = sums.len() / regions;
        for (dim, logarithms) in sums.chunks_exact(regions).enumerate() {
            for (logarithm, to) in logarithms.iter().zip(to[dim..].iter_mut().step_by(dims)) {
                *to = *logarithm;
            }
        }
    }
}

/// Natural logarithm of a positive number that is neither subnormal nor infinite, to within 5e-7: a mantissa of
/// 0.7 to 1.4 by a polynomial (Moshier, Cephes, `logf`), which vectors can do, and the exponent.
#[inline(always)]
fn ln(x: f32) -> f32 {
    const HALF_ROOT: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let bits = x.to_bits().wrapping_sub(HALF_ROOT);
    let exponent = ((bits as i32) >> 23) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(HALF_ROOT)) - 1.0;
    let square = m * m;
    let mut sum = 7.037_683_6e-2;
    for factor in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        sum = sum * m + factor;
    }
    // ln 2 in two parts, the first one exact.
    m + (sum * m * square + exponent * -2.121_944_4e-4 - 0.5 * square) + exponent * 0.693_359_4
}
