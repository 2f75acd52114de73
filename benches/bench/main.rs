//! `make bench`, second half: what a camera costs from end to end, beside its limits and beside a peer, in one run.
//!
//! `SECTIONS=ends,memory,i3d,learning make bench` measures some of it. The process runs itself for what is to be
//! measured alone, so that CPU time is that of a process, whoever else is at work.

mod alone;
mod cpu;
mod ends;
mod inputs;
mod learning;
mod memory;
mod network;
mod peer;
mod plot;
#[path = "../support/mod.rs"]
mod support;

use anyhow::{Result, ensure};
use std::process::ExitCode;
use support::report::Report;

const SECTIONS: [&str; 4] = ["ends", "memory", "i3d", "learning"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let done = match args.first() {
        Some(_) => alone::run(&args).map(|()| ExitCode::SUCCESS),
        None => measure().map(Report::finish),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn measure() -> Result<Report> {
    let wanted = std::env::var("SECTIONS").unwrap_or_default();
    let wanted: Vec<&str> = match wanted.as_str() {
        "" | "all" => SECTIONS.to_vec(),
        some => some.split(',').collect(),
    };
    let unknown = wanted.iter().find(|section| !SECTIONS.contains(section));
    ensure!(unknown.is_none(), "SECTIONS are {}, and not {}", SECTIONS.join(", "), unknown.unwrap_or(&""));
    let mut report = Report::new("bench");
    for section in wanted {
        eprintln!("{section}");
        match section {
            "ends" => ends::measure(&mut report)?,
            "memory" => memory::measure(&mut report)?,
            "i3d" => network::measure(&mut report)?,
            _ => learning::measure(&mut report)?,
        }
    }
    Ok(report)
}

/// The one in the middle; of an even number the higher one of the two.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
