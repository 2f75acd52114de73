//! Regions of a grid as text, for the command line: `0-14,30`.

use std::str::FromStr;

/// Regions of a grid as text: numbers and ranges.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Regions(pub Vec<usize>);

impl FromStr for Regions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("numbers and ranges are wanted, such as 0-14,30, not {text}");
        let mut regions = vec![];
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            regions.extend(usize::from(first)..=usize::from(last));
        }
        regions.sort_unstable();
        regions.dedup();
        Ok(Self(regions))
    }
}

impl std::fmt::Display for Regions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = &self.0[..];
        while let [first, ..] = rest {
            let length =
                rest.iter().zip(*first..).take_while(|(region, expected)| **region == *expected).count();
            match length {
                1 => write!(f, "{first}")?,
                _ => write!(f, "{first}-{}", first + length - 1)?,
            }
            rest = &rest[length..];
            if !rest.is_empty() {
                f.write_str(",")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_and_written_back() {
        for (text, regions) in
            [("", vec![]), ("3", vec![3]), ("0-2,7", vec![0, 1, 2, 7]), ("4,6,8-9", vec![4, 6, 8, 9])]
        {
            let read: Regions = text.parse().expect(text);
            assert_eq!(read.0, regions);
            assert_eq!(read.to_string(), text);
        }
        assert_eq!("7,0-2,1".parse(), Ok(Regions(vec![0, 1, 2, 7])));
        for text in ["x", "3-1", "-1", "1-", "70000"] {
            assert!(text.parse::<Regions>().is_err(), "{text}");
        }
    }
}
