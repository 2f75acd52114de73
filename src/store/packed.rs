//! A minute of one detector's scores in few bytes: about two and a half a score instead of thirty.
//!
//! Times are kept to the millisecond, scores to 16 significant bits (1 part in 131 072; a half-precision number has
//! 11), thresholds in single precision. Times regularly spaced and scores near their median, or near the one before,
//! leave small differences, which are Rice-coded (R. F. Rice, "Some practical universal noiseless coding
//! techniques", JPL 79-22, 1979).

/// What the first byte says.
const VERSION: u8 = 1;
/// Quotients from here on are written as this many ones and 32 plain bits.
const ESCAPE: u32 = 20;
/// Low bits of a single-precision number that are rounded away.
const DROPPED: u32 = 8;

/// A score of one segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Milliseconds since the minute began.
    pub ms: u32,
    pub score: f32,
    pub threshold: f32,
}

/// Packs samples, oldest first, of one minute; all finite, one at least.
pub(super) fn pack(samples: &[Sample]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    varint(&mut bytes, samples.len() as u32);
    for run in samples.chunk_by(|a, b| a.threshold.to_bits() == b.threshold.to_bits()) {
        varint(&mut bytes, run.len() as u32);
        bytes.extend(run[0].threshold.to_le_bytes());
    }
    let gaps: Vec<u32> = samples.windows(2).map(|w| w[1].ms.saturating_sub(w[0].ms)).collect();
    let keys: Vec<u32> = samples.iter().map(|s| key(s.score)).collect();
    let (usual_gap, usual_key) = (median(&gaps), median(&keys));
    let gaps = differences(&gaps, |_| usual_gap);
    let near_median = differences(&keys, |_| usual_key);
    let near_last = differences(&keys, |i| if i == 0 { usual_key } else { keys[i - 1] });
    let steady = cost(&near_median).min(cost(&near_last)) == cost(&near_last);
    let scores = if steady { near_last } else { near_median };
    let (gap_bits, score_bits) = (cost(&gaps).1, cost(&scores).1);
    varint(&mut bytes, samples.first().map_or(0, |s| s.ms));
    varint(&mut bytes, usual_gap);
    varint(&mut bytes, usual_key);
    bytes.extend([u8::from(steady), gap_bits as u8, score_bits as u8]);
    let mut bits = Writer { bytes, held: 0, count: 0 };
    gaps.iter().for_each(|value| bits.rice(*value, gap_bits));
    scores.iter().for_each(|value| bits.rice(*value, score_bits));
    bits.finish()
}

/// Unpacks what [`pack`] made behind what `samples` holds; `None` where the bytes are damaged.
pub(super) fn unpack(bytes: &[u8], samples: &mut Vec<Sample>) -> Option<()> {
    let mut rest = bytes.strip_prefix(&[VERSION])?;
    let count = take_varint(&mut rest)? as usize;
    let first = samples.len();
    while samples.len() < first + count {
        let run = take_varint(&mut rest)? as usize;
        let (value, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        if run == 0 || samples.len() + run > first + count || run > bytes.len() * 8 {
            return None;
        }
        let sample = Sample { ms: 0, score: 0.0, threshold: f32::from_le_bytes(*value) };
        samples.resize(samples.len() + run, sample);
    }
    let (mut ms, usual_gap, usual_key) =
        (take_varint(&mut rest)?, take_varint(&mut rest)?, take_varint(&mut rest)?);
    let [steady, gap_bits, score_bits, coded @ ..] = rest else { return None };
    let (gap_bits, score_bits) = (u32::from(*gap_bits), u32::from(*score_bits));
    if gap_bits > 24 || score_bits > 24 {
        return None;
    }
    let mut bits = Reader { bytes: coded, at: 0, held: 0, count: 0 };
    for (i, sample) in samples[first..].iter_mut().enumerate() {
        if i > 0 {
            ms = ms.wrapping_add(unzigzag(usual_gap, bits.rice(gap_bits)));
        }
        sample.ms = ms;
    }
    let mut last = usual_key;
    for sample in &mut samples[first..] {
        let key = unzigzag(last, bits.rice(score_bits));
        if *steady == 1 {
            last = key;
        }
        sample.score = value(key);
    }
    (bits.at <= coded.len() + (bits.count / 8) as usize).then_some(())
}

/// A whole number in the order of the scores.
fn key(score: f32) -> u32 {
    let bits = score.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    // To the nearest; the largest finite numbers stay finite.
    let rounded = (u64::from(ordered) + (1 << (DROPPED - 1))) >> DROPPED;
    (rounded as u32).clamp(0x00_8000, 0xff_7fff)
}

fn value(key: u32) -> f32 {
    let ordered = key << DROPPED;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

fn median(values: &[u32]) -> u32 {
    let mut sorted = values.to_vec();
    let middle = sorted.len() / 2;
    if sorted.is_empty() { 0 } else { *sorted.select_nth_unstable(middle).1 }
}

/// Differences to what was expected: 0, -1, 1, -2 ... become 0, 1, 2, 3 ...
fn differences(values: &[u32], expected: impl Fn(usize) -> u32) -> Vec<u32> {
    let zigzag = |(i, value): (usize, &u32)| {
        let difference = value.wrapping_sub(expected(i)) as i32;
        ((difference << 1) ^ (difference >> 31)) as u32
    };
    values.iter().enumerate().map(zigzag).collect()
}

fn unzigzag(expected: u32, coded: u32) -> u32 {
    expected.wrapping_add((coded >> 1) ^ (coded & 1).wrapping_neg())
}

/// Bits that values take in the best of all Rice codes, and that code's plain bits.
fn cost(values: &[u32]) -> (u64, u32) {
    let of = |bits: u32| {
        let one = |value: &u32| match value >> bits {
            quotient if quotient >= ESCAPE => u64::from(ESCAPE + 32),
            quotient => u64::from(quotient + 1 + bits),
        };
        (values.iter().map(one).sum(), bits)
    };
    (0..=24).map(of).min().unwrap_or((0, 0))
}

fn varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

/// Bits, the highest of a byte first.
struct Writer {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl Writer {
    fn rice(&mut self, value: u32, bits: u32) {
        let quotient = value >> bits;
        if quotient >= ESCAPE {
            self.put(u64::from(u32::MAX >> (32 - ESCAPE)), ESCAPE);
            self.put(value.into(), 32);
        } else {
            self.put((1 << (quotient + 1)) - 2, quotient + 1);
            self.put(u64::from(value) & ((1 << bits) - 1), bits);
        }
    }

    fn put(&mut self, value: u64, count: u32) {
        self.held = self.held << count | value;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.held >> self.count) as u8);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        self.bytes
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Its highest `count` bits come next; beyond the end there are zeros.
    held: u64,
    count: u32,
}

impl Reader<'_> {
    fn rice(&mut self, bits: u32) -> u32 {
        self.fill();
        let ones = (!self.held).leading_zeros().min(ESCAPE);
        if ones == ESCAPE {
            self.take(ESCAPE);
            self.fill();
            return self.take(32);
        }
        self.take(ones + 1);
        self.fill();
        ones << bits | self.take(bits)
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = self.bytes.get(self.at).copied().unwrap_or(0);
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
            self.at += 1;
        }
    }

    fn take(&mut self, count: u32) -> u32 {
        if count == 0 {
            return 0;
        }
        let value = self.held >> (64 - count);
        self.held <<= count;
        self.count -= count;
        value as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(samples: &[Sample]) -> Vec<Sample> {
        let mut found = vec![];
        unpack(&pack(samples), &mut found).expect("sound");
        found
    }

    #[test]
    fn times_are_exact_and_scores_within_the_precision_that_is_stated() {
        let extreme = [0.0, -0.0, 1e-30, -3.5, 1e30, f32::MAX, f32::MIN, 1.0, 0.1, 123.456];
        let sample = |i: usize| Sample {
            ms: (i * 200 + i * i % 23) as u32,
            score: extreme[i % extreme.len()],
            threshold: if i < 100 { 2.5 } else { 2.6 },
        };
        let samples: Vec<_> = (0..290).map(sample).collect();
        for (was, is) in samples.iter().zip(there_and_back(&samples)) {
            assert_eq!((was.ms, was.threshold), (is.ms, is.threshold));
            let off = (f64::from(was.score) - f64::from(is.score)).abs();
            assert!(off <= f64::from(was.score).abs() / 131_072.0 * 2.0, "{} became {}", was.score, is.score);
            assert!(is.score.is_finite());
        }
        let one = [Sample { ms: 59_999, score: 3.0, threshold: 1.0 }];
        assert_eq!(there_and_back(&one), one);
    }

    #[test]
    fn packing_again_changes_nothing() {
        let sample = |i: u32| Sample { ms: i * 100, score: 1.0 + (i * i) as f32 * 1e-3, threshold: 1.5 };
        let once = there_and_back(&(0..500).map(sample).collect::<Vec<_>>());
        assert_eq!(there_and_back(&once), once);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_a_panic() {
        let sample = |i: u32| Sample { ms: i * 200, score: (i % 7) as f32, threshold: 1.5 };
        let good = pack(&(0..300).map(sample).collect::<Vec<_>>());
        assert!(unpack(&good[..good.len() / 2], &mut vec![]).is_none(), "cut off");
        assert!(unpack(&[], &mut vec![]).is_none());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let _ = unpack(&bad, &mut vec![]);
            }
        }
    }
}
