//! Packs the plain rows of minutes that are over, and notes the extremes of minutes and hours.

use super::packed::{Sample, pack, unpack};
use rusqlite::{OptionalExtension, Transaction, params};

pub(super) const MINUTE_US: i64 = 60_000_000;
pub(super) const HOUR_US: i64 = 60 * MINUTE_US;

/// Key of a detector's minute (since 1970) in `score_minutes`: those of one detector lie together, in order.
pub(super) fn place(detector: i64, minute: i64) -> i64 {
    (detector << 32) + minute.clamp(-(1 << 31), (1 << 31) - 1)
}

/// Packs the rows of whole minutes before `until`, at most `most` of them; gives how many.
pub(super) fn fold(t: &Transaction, until: i64, most: usize) -> rusqlite::Result<usize> {
    let mut detectors = t.prepare_cached("SELECT id FROM detectors")?;
    let detectors: Vec<i64> = detectors.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut oldest = t.prepare_cached("SELECT min(time_us) FROM recent_scores WHERE detector = ?1")?;
    let mut folded = 0;
    for detector in detectors {
        while folded < most {
            let first: Option<i64> = oldest.query_row([detector], |row| row.get(0))?;
            let minute = first.map(|us| us.div_euclid(MINUTE_US)).filter(|minute| *minute < until);
            let Some(minute) = minute else { break };
            fold_minute(t, detector, minute)?;
            folded += 1;
        }
    }
    Ok(folded)
}

/// Moves the rows of one minute to where late ones may find others packed already.
fn fold_minute(t: &Transaction, detector: i64, minute: i64) -> rusqlite::Result<()> {
    let mut samples = vec![];
    let packed: Option<Vec<u8>> = t
        .prepare_cached("SELECT body FROM score_minutes WHERE place = ?1")?
        .query_row([place(detector, minute)], |row| row.get(0))
        .optional()?;
    if packed.is_some_and(|body| unpack(&body, &mut samples).is_none()) {
        tracing::error!(minute, "a minute of the score timeline is damaged and replaced");
        samples.clear();
    }
    let (from, to) = (minute * MINUTE_US, (minute + 1) * MINUTE_US);
    let mut rows = t.prepare_cached(
        "DELETE FROM recent_scores WHERE detector = ?1 AND time_us >= ?2 AND time_us < ?3
         RETURNING time_us, score, threshold",
    )?;
    let mut rows = rows.query([detector, from, to])?;
    while let Some(row) = rows.next()? {
        samples.push(Sample {
            ms: ((row.get::<_, i64>(0)? - from) / 1000) as u32,
            score: row.get::<_, f64>(1)? as f32,
            threshold: row.get::<_, f64>(2)? as f32,
        });
    }
    samples.sort_by_key(|s| s.ms);
    put_minute(t, detector, minute, &samples)?;
    put_hour(t, detector, minute.div_euclid(60))
}

/// Writes a minute's samples, oldest first.
pub(super) fn put_minute(
    t: &Transaction,
    detector: i64,
    minute: i64,
    samples: &[Sample],
) -> rusqlite::Result<()> {
    let body = pack(samples);
    // As they will be read back.
    let mut kept = vec![];
    unpack(&body, &mut kept).expect("just packed");
    let (mut high, mut low) = (kept[0], kept[0].score);
    for sample in &kept[1..] {
        low = low.min(sample.score);
        if sample.score > high.score {
            high = *sample;
        }
    }
    t.prepare_cached("INSERT OR REPLACE INTO score_minutes (place, body) VALUES (?1, ?2)")?
        .execute(params![place(detector, minute), body])?;
    t.prepare_cached("INSERT OR REPLACE INTO score_extremes VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            detector,
            minute,
            f64::from(high.score),
            minute * 60_000 + i64::from(high.ms),
            f64::from(high.threshold),
            f64::from(low)
        ])
        .map(drop)
}

/// Notes an hour's extremes from those of its minutes.
pub(super) fn put_hour(t: &Transaction, detector: i64, hour: i64) -> rusqlite::Result<()> {
    // SQLite takes bare columns beside max() from the row that holds the maximum.
    t.prepare_cached(
        "INSERT OR REPLACE INTO score_extremes
         SELECT detector, 60, ?2, max(high), high_ms, threshold,
                (SELECT min(low) FROM score_extremes
                 WHERE detector = ?1 AND minutes = 1 AND start >= ?3 AND start < ?4)
         FROM score_extremes WHERE detector = ?1 AND minutes = 1 AND start >= ?3 AND start < ?4",
    )?
    .execute([detector, hour, hour * 60, (hour + 1) * 60])
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::database::Durable;
    use super::*;
    use crate::base::{SimClock, Timestamp};
    use crate::store::{ScoreRow, step_for};
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// A figure, for `--nocapture`.
    fn say(figure: std::fmt::Arguments) {
        use std::io::Write;
        writeln!(std::io::stderr(), "{figure}").expect("somebody listens to a test");
    }

    /// Seconds since 1970 of a day's beginning.
    const BEGIN: i64 = 1_700_006_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// Scores as neighbouring segments have them: each near the last, never quite the same, now and then a peak.
    struct Noise {
        random: SmallRng,
        level: f32,
    }

    impl Noise {
        fn new(seed: u64) -> Self {
            Self { random: SmallRng::seed_from_u64(seed), level: 0.0 }
        }

        fn uniform(&mut self) -> f32 {
            self.random.random_range(-1.0..1.0)
        }

        fn score(&mut self) -> f32 {
            self.level = 0.8 * self.level + 0.25 * (self.uniform() + self.uniform());
            let peak = if self.random.random_range(0..2000) == 0 { 20.0 } else { 0.0 };
            1.7 * self.level.exp() + peak
        }

        /// Milliseconds by which a frame comes early or late.
        fn jitter(&mut self) -> i64 {
            self.random.random_range(-12..=12)
        }
    }

    #[test]
    fn a_month_of_sixteen_cameras_fits_into_a_gibibyte() {
        const CAMERAS: usize = 16;
        const SECONDS: i64 = 5400;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(SimClock::new(at(BEGIN)));
        let store = Store::open(dir.path(), clock.clone()).expect("opened");
        let mut noises: Vec<_> = (0..CAMERAS).map(|n| Noise::new(n as u64)).collect();
        let mut written = 0;
        for begin in (0..SECONDS).step_by(10) {
            let mut rows = vec![];
            for (n, noise) in noises.iter_mut().enumerate() {
                for segment in 0..50 {
                    let ms = (BEGIN + begin) * 1000 + 100 + segment * 200 + noise.jitter();
                    rows.push(ScoreRow {
                        camera: format!("camera-{n}").into(),
                        detector: "main".into(),
                        time: Timestamp::from_millisecond(ms).expect("in range"),
                        score: noise.score(),
                        threshold: 4.321,
                    });
                }
            }
            clock.advance(Duration::from_secs(10));
            written += rows.len();
            store.put_scores(&rows).expect("written");
        }
        assert_eq!(written, 432_000, "as many as one camera's day");
        clock.advance(Duration::from_secs(3600));
        store.put_scores(&[]).expect("packed");
        let (bytes, left): (i64, i64) = store
            .database
            .read(|c| {
                c.query_row(
                    "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)
                          - (SELECT freelist_count FROM pragma_freelist_count) * 4096,
                            (SELECT count(*) FROM recent_scores)",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
            })
            .expect("asked");
        assert_eq!(left, 0, "everything is packed");
        let month = bytes as f64 * CAMERAS as f64 * 30.0;
        say(format_args!(
            "{:.2} bytes a score, {:.0} MiB for a month of 16 cameras",
            bytes as f64 / written as f64,
            month / 1048576.0
        ));
        assert!(month < 1_073_741_824.0, "{month} bytes");
        let mut read = 0;
        store.timeline("camera-7", "main", at(0), at(BEGIN * 2), &mut |_, _, _| read += 1).expect("read");
        assert_eq!(read, written / CAMERAS);
    }

    #[test]
    fn a_month_is_charted_and_a_week_read_at_once() {
        const MINUTES: i64 = 30 * 24 * 60;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path(), Arc::new(SimClock::new(at(BEGIN)))).expect("opened");
        let first = BEGIN / 60;
        let mut noise = Noise::new(1);
        store
            .put_scores(&[ScoreRow {
                camera: "gate".into(),
                detector: "main".into(),
                time: at(BEGIN + MINUTES * 60),
                score: 1.0,
                threshold: 4.0,
            }])
            .expect("written");
        // The last week as dense as life; before it, charts read the extremes alone.
        let dense = MINUTES - 7 * 24 * 60;
        store
            .database
            .write(Durable::ProcessEnd, |t| {
                for minute in 0..MINUTES {
                    let each = if minute < dense { 6000 } else { 200 };
                    let samples: Vec<_> = (0..60_000)
                        .step_by(each)
                        .map(|ms| Sample { ms, score: noise.score(), threshold: 4.0 })
                        .collect();
                    put_minute(t, 1, first + minute, &samples)?;
                    if minute % 60 == 59 {
                        put_hour(t, 1, (first + minute) / 60)?;
                    }
                }
                Ok(())
            })
            .expect("written");
        let (from, to) = (at(BEGIN), at(BEGIN + MINUTES * 60));
        let mut took = vec![];
        for shift in 0..40 {
            let after = at(BEGIN + 61 * shift);
            let began = Instant::now();
            let step = step_for(after, to, 1000);
            let points = store.scores("gate", "main", after, to, Some(step), 1000).expect("read");
            took.push(began.elapsed());
            assert!((500..=1000).contains(&points.len()), "{}", points.len());
        }
        took.sort();
        let began = Instant::now();
        let (mut read, mut peak) = (0, 0.0_f32);
        store
            .timeline("gate", "main", at(BEGIN + dense * 60), to, &mut |_, score, _| {
                read += 1;
                peak = peak.max(score);
            })
            .expect("read");
        let week = began.elapsed();
        say(format_args!("a month as 1000 points: p95 {:?}; {read} scores of a week: {week:?}", took[37]));
        assert_eq!(read, 7 * 24 * 60 * 300);
        assert!(took[37] < Duration::from_millis(100), "{took:?}");
        assert!(week < Duration::from_secs(3), "{week:?}");
        // Every zoom shows the same peak.
        let week = at(BEGIN + dense * 60);
        for points in [2, 50, 1000, 10_000] {
            let step = Some(step_for(week, to, points));
            let chart = store.scores("gate", "main", week, to, step, points).expect("read");
            assert!(
                chart.len() <= points && chart.len() * 3 > points.min(3000),
                "{} of {points}",
                chart.len()
            );
            let highest = chart.iter().map(|p| p.score).fold(0.0, f64::max);
            assert_eq!(highest, f64::from(peak), "{points} points");
            assert!(chart.iter().all(|p| p.low.expect("pieces of time") <= p.score));
        }
        assert_eq!(store.scores("gate", "main", from, to, None, 10).expect("read").len(), 10);
    }
}
