//! Durations and sizes as people write them in the configuration: `500ms`, `5s`, `10m`, `2h`, `30d`; `16MB`, `2GB`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a number and one unit (`1.5h`). `None` where it is anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let millis = UNITS.iter().find(|(name, _)| *name == unit.trim())?.1;
    let number: f64 = number.parse().ok()?;
    // 10,000 days is beyond any use here and far inside what Duration holds.
    (number.is_finite() && number * millis as f64 <= 864e9)
        .then(|| Duration::from_millis((number * millis as f64).round() as u64))
}

/// Writes a duration in its largest whole unit, so that [`parse_duration`] reads it back (to the
/// millisecond).
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    if millis == 0 {
        return "0s".into();
    }
    let (unit, size) =
        UNITS.iter().find(|(_, size)| millis.is_multiple_of(*size)).expect("everything divides by one");
    format!("{}{unit}", millis / size)
}

const SIZES: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

/// Reads a number and one unit of bytes (`1.5GB`), thousands as everywhere with disks. `None` where it is anything else.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let bytes = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?.1;
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && number * bytes as f64 <= 1e18).then(|| (number * bytes as f64).round() as u64)
}

/// Writes a size in its largest whole unit, so that [`parse_size`] reads it back (to the kilobyte).
pub fn format_size(bytes: u64) -> String {
    match SIZES.iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => format!("{}kB", bytes / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for (text, millis) in [("500ms", 500), ("5s", 5_000), ("90m", 5_400_000), ("30d", 2_592_000_000)] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(duration.as_millis(), millis);
            assert_eq!(format_duration(duration), text);
        }
        assert_eq!(parse_duration("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("5 s"), Some(Duration::from_secs(5)));
        assert_eq!(format_duration(Duration::from_secs(120)), "2m");
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in [("16MB", 16_000_000), ("2GB", 2_000_000_000), ("1500kB", 1_500_000)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(parse_size("1.5 gb"), Some(1_500_000_000));
        for text in ["", "16", "MB", "16MiB", "-1MB", "1..5MB", "16 MB MB", "99999999999TB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "s", "5 sec", "-5s", "1..5s", "1e3s", "5s5s", "1h30m", "99999999999d", ".s"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }
}
