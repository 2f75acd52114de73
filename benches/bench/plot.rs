//! The figures as bars, for the documents.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

/// CPU seconds a camera-second of one input.
pub struct Bars {
    pub name: &'static str,
    pub decode: f64,
    pub extract: f64,
    pub daemon: f64,
    pub peer: Option<f64>,
}

const LEFT: f64 = 190.0;
const WIDE: f64 = 430.0;
const BAR: f64 = 16.0;
/// CPU seconds between two lines of the ground.
const STEP: f64 = 0.05;

/// Writes an SVG that is legible on light and on dark ground.
pub fn draw(to: &Path, inputs: &[Bars]) -> Result<()> {
    let (mut body, mut y) = (String::new(), 40.0);
    let all =
        inputs.iter().flat_map(|bars| [bars.decode, bars.extract, bars.daemon, bars.peer.unwrap_or(0.0)]);
    let most = all.fold(STEP, f64::max);
    let x = |value: f64| LEFT + value / most * WIDE;
    let top = y - 10.0;
    for Bars { name, decode, extract, daemon, peer } in inputs {
        writeln!(body, "<text class=\"name\" x=\"8\" y=\"{:.0}\">{name}</text>", y + BAR * 0.8)?;
        let bars = [
            ("decode and scale", "limit", Some(*decode)),
            ("extractor", "other", Some(*extract)),
            ("whole path", "whole", Some(*daemon)),
            ("peer in Python", "peer", *peer),
        ];
        for (what, class, value) in bars {
            let Some(value) = value else { continue };
            let (end, text) = (x(value), y + BAR * 0.8);
            writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{what}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{:.0}\"/>\
                 <text x=\"{:.1}\" y=\"{text:.0}\">{value:.4}</text>",
                LEFT - 8.0,
                end - LEFT,
                BAR - 3.0,
                end + 5.0,
            )?;
            y += BAR;
        }
        y += 14.0;
    }
    let mut lines = String::new();
    for value in (0..).map(|line| f64::from(line) * STEP).take_while(|value| *value <= most) {
        let at = x(value);
        writeln!(
            lines,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{y}\"/>\
             <text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{value:.2}</text>",
            y + 14.0
        )?;
    }
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 700 {:.0}\" role=\"img\" \
         aria-label=\"CPU seconds a camera-second\">\n<style>\n\
         text {{ font: 12px sans-serif; fill: #333 }} .name {{ font-weight: bold }} line {{ stroke: #8886 }}\n\
         .limit {{ fill: #8a8f98 }} .other {{ fill: #b08ad0 }} .whole {{ fill: #2f80c8 }} .peer {{ fill: #d08030 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}\n</style>\n\
         <text x=\"8\" y=\"18\">CPU seconds a second of a camera, 25 frames a second (Ped2: 10) analysed at 10\
         </text>\n{lines}{body}</svg>\n",
        y + 24.0
    );
    std::fs::write(to, svg).with_context(|| to.display().to_string())?;
    println!("written to {}", to.display());
    Ok(())
}
