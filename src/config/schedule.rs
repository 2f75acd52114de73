//! When a camera watches: spans of the week such as `mon-fri 18:00-06:00`, in local time.

use jiff::civil::{DateTime, Weekday};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

/// Spans of the week; a moment within any of them counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule(Vec<Span>);

#[derive(Debug, Clone, PartialEq)]
struct Span {
    /// As written.
    text: String,
    /// On which days it begins, Monday first.
    days: [bool; 7],
    /// Minutes of the day. A span that ends no later than it begins goes on into the next day.
    from: u16,
    to: u16,
}

impl Schedule {
    /// Reads spans, each `DAYS HH:MM-HH:MM`: days are `daily`, one, a list or a range (`mon-fri`, `sat,sun`), and
    /// `24:00` is the day's end. What is wrong, in words, where one cannot be read.
    pub fn parse<'a>(spans: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let spans: Vec<Span> = spans
            .into_iter()
            .map(|text| Span::parse(text).ok_or_else(|| format!("\"{text}\" is no span of the week")))
            .collect::<Result<_, _>>()?;
        if spans.is_empty() { Err("a list without a span never watches".into()) } else { Ok(Self(spans)) }
    }

    /// Whether a moment lies within a span.
    pub fn holds(&self, at: DateTime) -> bool {
        let (day, minute) = (index(at.weekday()), at.hour() as u16 * 60 + at.minute() as u16);
        self.0.iter().any(|span| span.holds(day, minute))
    }

    /// As written.
    pub fn spans(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|span| span.text.as_str())
    }
}

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let (days, times) = text.trim().split_once(char::is_whitespace)?;
        let (from, to) = times.trim().split_once('-')?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == DAY_MINUTES {
            return None;
        }
        let mut on = [false; 7];
        for part in days.split(',') {
            let (first, last) = match part.split_once('-') {
                _ if part == "daily" => (0, 6),
                Some((first, last)) => (day(first)?, day(last)?),
                None => (day(part)?, day(part)?),
            };
            // Across the week's end as well: sat-mon.
            let length = (last + 7 - first) % 7;
            (0..=length).for_each(|offset| on[(first + offset) % 7] = true);
        }
        Some(Self { text: text.trim().to_owned(), days: on, from, to })
    }

    fn holds(&self, day: usize, minute: u16) -> bool {
        let yesterday = (day + 6) % 7;
        if self.from < self.to {
            self.days[day] && (self.from..self.to).contains(&minute)
        } else {
            self.days[day] && minute >= self.from || self.days[yesterday] && minute < self.to
        }
    }
}

fn day(name: &str) -> Option<usize> {
    DAYS.iter().position(|day| *day == name)
}

fn index(weekday: Weekday) -> usize {
    weekday.to_monday_zero_offset() as usize
}

/// `HH:MM`, up to 24:00.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= DAY_MINUTES).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    /// 2 November 2026 is a Monday.
    fn at(day: i8, hour: i8, minute: i8) -> DateTime {
        date(2026, 11, 2 + day).at(hour, minute, 0, 0)
    }

    #[test]
    fn nights_go_on_into_the_next_day() {
        let nights = Schedule::parse(["mon-fri 18:00-06:00"]).expect("a schedule");
        for (day, hour, holds) in [
            (0, 5, false),
            (0, 17, false),
            (0, 18, true),
            (1, 5, true),
            (1, 6, false),
            (4, 23, true),
            (5, 5, true),
            (5, 18, false),
            (6, 23, false),
        ] {
            assert_eq!(nights.holds(at(day, hour, 0)), holds, "day {day} at {hour}");
        }
    }

    #[test]
    fn spans_add_up_and_days_are_lists_or_ranges() {
        let shop = Schedule::parse(["daily 22:00-07:30", "sat,sun 00:00-24:00"]).expect("a schedule");
        assert!(shop.holds(at(2, 7, 29)) && !shop.holds(at(2, 7, 30)) && shop.holds(at(5, 12, 0)));
        assert_eq!(shop.spans().collect::<Vec<_>>(), ["daily 22:00-07:30", "sat,sun 00:00-24:00"]);
        let across = Schedule::parse(["sat-mon 10:00-11:00"]).expect("a schedule");
        let on: Vec<i8> = (0..7).filter(|day| across.holds(at(*day, 10, 30))).collect();
        assert_eq!(on, [0, 5, 6]);
        assert!(Schedule::parse(["wed 08:00-08:00"]).expect("a whole day").holds(at(3, 7, 59)));
    }

    #[test]
    fn anything_else_is_refused_with_its_text() {
        for text in [
            "",
            "mon",
            "mon 8-9",
            "mon 08:00",
            "monday 08:00-09:00",
            "mon 24:00-25:00",
            "mon 08:60-09:00",
            "mon 24:00-08:00",
        ] {
            let refusal = Schedule::parse([text]).expect_err("refused");
            assert!(refusal.contains(text), "{refusal}");
        }
        assert!(Schedule::parse([]).is_err());
    }
}
