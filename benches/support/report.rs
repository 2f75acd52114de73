//! Figures with goals: printed as a table, written as `target/<name>.json`, and failed where one is missed.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// One measured figure. Without a goal it is only reported.
#[derive(Serialize)]
pub struct Figure {
    pub name: String,
    pub figure: f64,
    pub unit: &'static str,
    pub goal: Option<Goal>,
    pub pass: bool,
}

/// What a figure is to reach.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn met(self, figure: f64) -> bool {
        match self {
            Goal::AtLeast(least) => figure >= least,
            Goal::AtMost(most) => figure <= most,
        }
    }
}

/// The figures of one target.
pub struct Report {
    name: &'static str,
    figures: Vec<Figure>,
}

impl Report {
    pub fn new(name: &'static str) -> Self {
        Self { name, figures: vec![] }
    }

    pub fn add(&mut self, name: impl Into<String>, figure: f64, unit: &'static str, goal: Option<Goal>) {
        let pass = goal.is_none_or(|goal| goal.met(figure));
        self.figures.push(Figure { name: name.into(), figure, unit, goal, pass });
        let figure = self.figures.last().expect("just pushed");
        println!("{}", line(figure));
    }

    /// Prints the table, writes the file; fails when a goal was missed or nothing was measured.
    pub fn finish(self) -> ExitCode {
        println!("\n{}", self.name);
        for figure in &self.figures {
            println!("{}", line(figure));
        }
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target").join(format!("{}.json", self.name));
        let json = serde_json::to_string_pretty(&self.figures).expect("figures are plain data");
        if let Err(error) = std::fs::write(&path, json) {
            eprintln!("error: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("written to target/{}.json", self.name);
        if std::env::var_os("UPDATE_DOCS").is_some()
            && let Err(error) = self.document()
        {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
        let passed = !self.figures.is_empty() && self.figures.iter().all(|figure| figure.pass);
        if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Report {
    /// Puts the table into docs/ref/figures.md, between the marks of this target.
    fn document(&self) -> Result<()> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/ref/figures.md");
        let text = std::fs::read_to_string(&path)?;
        let (begin, end) = (format!("<!-- {} -->\n", self.name), "<!-- end -->");
        let (before, rest) = text.split_once(&begin).context("no mark for this target in figures.md")?;
        let (_, after) = rest.split_once(end).context("no end of this target's table in figures.md")?;
        let rows: String = self.figures.iter().map(row).collect();
        let table = format!("| what | figure | unit | goal | |\n|---|---|---|---|---|\n{rows}");
        std::fs::write(&path, format!("{before}{begin}{table}{end}{after}"))?;
        println!("written to docs/ref/figures.md");
        Ok(())
    }
}

fn row(figure: &Figure) -> String {
    let Figure { name, figure: number, unit, .. } = figure;
    let (goal, verdict) = (goal(figure), verdict(figure));
    format!("| {name} | {number:.4} | {unit} | {goal} | {verdict} |\n")
}

fn goal(figure: &Figure) -> String {
    match figure.goal {
        None => String::new(),
        Some(Goal::AtLeast(least)) => format!(">= {least}"),
        Some(Goal::AtMost(most)) => format!("<= {most}"),
    }
}

fn verdict(figure: &Figure) -> &'static str {
    match (figure.goal, figure.pass) {
        (None, _) => "",
        (_, true) => "pass",
        (_, false) => "MISSED",
    }
}

fn line(figure: &Figure) -> String {
    let Figure { name, figure: number, unit, .. } = figure;
    format!("  {name:<64} {number:>10.4} {unit:<10} {:<10} {}", goal(figure), verdict(figure))
}
