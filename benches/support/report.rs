//! Figures with goals: printed as a table, written as `target/<name>.json`, and failed where one is missed.

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
        let passed = !self.figures.is_empty() && self.figures.iter().all(|figure| figure.pass);
        if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn line(figure: &Figure) -> String {
    let goal = match figure.goal {
        None => String::new(),
        Some(Goal::AtLeast(least)) => format!("goal >= {least}"),
        Some(Goal::AtMost(most)) => format!("goal <= {most}"),
    };
    let verdict = match (figure.goal, figure.pass) {
        (None, _) => "",
        (_, true) => "pass",
        (_, false) => "MISSED",
    };
    format!("  {:<64} {:>10.4} {:<10} {:<14} {}", figure.name, figure.figure, figure.unit, goal, verdict)
}
