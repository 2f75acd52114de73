//! Processor, memory and latency over the number of cameras, as a picture that is readable on light and dark pages.

use serde_json::{Map, Value};
use std::fmt::Write;

const PANEL: (f64, f64) = (250.0, 170.0);
const LEFT: f64 = 46.0;
const TOP: f64 = 48.0;
const NEXT: f64 = 314.0;
/// Middle tones: as far from white as from black.
const INK: &str = "#808080";
const COLOURS: [&str; 3] = ["#3b82c4", "#d9822b", "#4a9a5b"];
const PANELS: [(&str, &str); 3] =
    [("CPU cores", "cores"), ("Memory, MiB", "memory_mib"), ("Latency p99, ms", "latency_p99_ms")];

/// A line for each run in each panel; hollow points are too many cameras.
pub fn svg(all: &Map<String, Value>) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 275\" font-family=\"sans-serif\" font-size=\"12\" \
         fill=\"{INK}\" role=\"img\">\n<title>CPU, memory and latency over the number of cameras</title>\n"
    );
    for (at, ((title, key), x)) in PANELS.iter().zip([0.0, NEXT, 2.0 * NEXT]).enumerate() {
        panel(&mut out, all, title, key, LEFT + x, at == 2);
    }
    for (at, name) in all.keys().enumerate() {
        let (x, colour) = (LEFT + at as f64 * 200.0, COLOURS[at % COLOURS.len()]);
        write(
            &mut out,
            format_args!("<rect x=\"{x}\" y=\"6\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"),
        );
        write(&mut out, format_args!("<text x=\"{}\" y=\"16\">{name} frames/s</text>\n", x + 18.0));
    }
    out + "</svg>\n"
}

fn write(out: &mut String, text: std::fmt::Arguments) {
    out.write_fmt(text).expect("a string takes all");
}

fn points(report: &Value, key: &str) -> Vec<(f64, f64, bool)> {
    let steps = report["steps"].as_array().into_iter().flatten();
    steps
        .filter_map(|step| Some((step["cameras"].as_f64()?, step[key].as_f64()?, step["trouble"].is_null())))
        .collect()
}

/// `logarithmic`: values differ by orders of magnitude.
fn panel(out: &mut String, all: &Map<String, Value>, title: &str, key: &str, left: f64, logarithmic: bool) {
    let every = || all.values().flat_map(|report| points(report, key));
    let (most_x, most_y) =
        every().fold((1.0_f64, 0.0_f64), |most, point| (most.0.max(point.0), most.1.max(point.1)));
    let top = if logarithmic { 10.0_f64.powf(most_y.max(10.0).log10().ceil()) } else { nice(most_y * 1.05) };
    let x = |cameras: f64| left + PANEL.0 * cameras.log2() / most_x.log2().max(1.0);
    let y = |value: f64| {
        let share = if logarithmic { value.max(1.0).log10() / top.log10() } else { value / top };
        TOP + PANEL.1 * (1.0 - share)
    };
    let (right, bottom) = (left + PANEL.0, TOP + PANEL.1);
    write(out, format_args!("<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n", TOP - 10.0));
    let ticks: Vec<f64> = match logarithmic {
        true => (0..=top.log10() as i32).map(|power| 10.0_f64.powi(power)).collect(),
        false => (0..=4).map(|part| top * f64::from(part) / 4.0).collect(),
    };
    for tick in ticks {
        let at = y(tick);
        write(
            out,
            format_args!(
                "<path d=\"M{left} {at:.1}H{right}\" stroke=\"{INK}\" stroke-opacity=\"0.3\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>\n",
                left - 6.0,
                at + 4.0
            ),
        );
    }
    let mut cameras = 1.0;
    while cameras <= most_x {
        let at = x(cameras);
        write(
            out,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{cameras}</text>\n",
                bottom + 16.0
            ),
        );
        cameras *= 2.0;
    }
    let middle = left + PANEL.0 / 2.0;
    write(
        out,
        format_args!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">cameras</text>\n", bottom + 34.0),
    );
    for (report, colour) in all.values().zip(COLOURS.iter().cycle()) {
        let points = points(report, key);
        let path: Vec<String> = points.iter().map(|p| format!("{:.1} {:.1}", x(p.0), y(p.1))).collect();
        write(
            out,
            format_args!(
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                path.join("L")
            ),
        );
        for (cameras, value, good) in points {
            let fill = if good { colour } else { "none" };
            write(
                out,
                format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n",
                    x(cameras),
                    y(value)
                ),
            );
        }
    }
}

/// The next of 1, 2, 4 and 8 times a power of ten, so that quarters of it are short.
fn nice(value: f64) -> f64 {
    let power = 10.0_f64.powf(value.max(1e-3).log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|nice| *nice >= value)
        .unwrap_or(value)
}
