//! Lists and tables of the configuration: polygons, zones and spans of the week.

use super::Schedule;
use crate::base::Polygon;
use toml::de::DeValue;

/// Polygons in one list, and zones in one table, at most: beyond it there is a mistake.
const MOST: usize = 256;
const MOST_CORNERS: usize = 1000;

/// A list of polygons, each a list of corners `[x, y]`.
pub fn polygons(value: &DeValue) -> Result<Vec<Polygon>, String> {
    let list = value.as_array().filter(|list| list.len() <= MOST).ok_or("a list of polygons is wanted")?;
    let one = |(number, value): (usize, _)| {
        polygon(value).map_err(|problem| format!("polygon {}: {problem}", number + 1))
    };
    list.iter().map(|value| value.get_ref()).enumerate().map(one).collect()
}

/// A table of polygons by name.
pub fn zones(value: &DeValue) -> Result<Vec<(String, Polygon)>, String> {
    let table =
        value.as_table().filter(|t| t.len() <= MOST).ok_or("a table of names and polygons is wanted")?;
    let one = |(name, value): (&str, &DeValue)| {
        if !super::raw::is_name(name) {
            return Err(format!(
                "`{}` is not 1 to 64 of a-z, 0-9, \"-\" and \"_\"",
                super::problem::shorten(name)
            ));
        }
        let polygon = polygon(value).map_err(|problem| format!("zone {name}: {problem}"))?;
        Ok((name.to_owned(), polygon))
    };
    table.iter().map(|(name, value)| (name.get_ref().as_ref(), value.get_ref())).map(one).collect()
}

fn polygon(value: &DeValue) -> Result<Polygon, String> {
    let corners = value.as_array().filter(|list| list.len() <= MOST_CORNERS);
    let corners = corners.ok_or("a list of corners [x, y] is wanted")?;
    let corner = |value: &DeValue| match value
        .as_array()?
        .iter()
        .map(|v| number(v.get_ref()))
        .collect::<Option<Vec<_>>>()?[..]
    {
        [x, y] => Some((x, y)),
        _ => None,
    };
    let corners: Option<Vec<_>> = corners.iter().map(|value| corner(value.get_ref())).collect();
    Ok(Polygon::new(corners.ok_or("a corner is [x, y], two numbers from 0 to 1")?)?)
}

fn number(value: &DeValue) -> Option<f64> {
    match value {
        DeValue::Integer(digits) => digits.as_str().parse().ok(),
        DeValue::Float(digits) => digits.as_str().parse().ok(),
        _ => None,
    }
}

/// `"always"`, or a list of spans of the week.
pub fn schedule(value: &DeValue) -> Result<Option<Schedule>, String> {
    if value.as_str() == Some("always") {
        return Ok(None);
    }
    let spans = value.as_array().filter(|list| list.len() <= MOST);
    let spans: Option<Vec<&str>> = spans.and_then(|list| list.iter().map(|v| v.get_ref().as_str()).collect());
    Schedule::parse(spans.ok_or("\"always\", or a list of strings, is wanted")?).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> DeValue<'_> {
        DeValue::parse(text).expect("TOML").into_inner()
    }

    #[test]
    fn polygons_and_zones_are_read_or_say_what_is_wrong_with_which() {
        let square = "[[0, 0], [0.5, 0], [0.5, 1.0]]";
        assert_eq!(polygons(&value(&format!("[{square}, {square}]"))).expect("read").len(), 2);
        let zones_read = zones(&value(&format!("{{ door = {square} }}"))).expect("read");
        assert_eq!(zones_read[0].0, "door");
        for (text, why) in [
            ("[[[0, 0], [1, 1]]]", "polygon 1: a polygon has three"),
            ("[[[0, 0], [1, 1], [0.5, 2]]]", "polygon 1: x and y"),
            ("[[[0, 0], [1, 1], [0.5, \"x\"]]]", "a corner is"),
            ("3", "a list of polygons"),
        ] {
            let refusal = polygons(&value(text)).expect_err(text);
            assert!(refusal.contains(why), "{refusal}");
        }
        let refusal = zones(&value(&format!("{{ \"The Door\" = {square} }}"))).expect_err("refused");
        assert!(refusal.contains("`The Door`"), "{refusal}");
    }

    #[test]
    fn a_schedule_is_always_or_a_list_of_spans() {
        assert_eq!(schedule(&value("\"always\"")), Ok(None));
        assert!(schedule(&value("[\"mon-fri 18:00-06:00\"]")).expect("read").is_some());
        for text in ["\"mon 1:00\"", "[]", "[3]", "[\"never\"]"] {
            assert!(schedule(&value(text)).is_err(), "{text}");
        }
    }
}
