//! `make budget`: false alarms asked for against alarms got, on the plaza without its incidents and on real footage.
//!
//! `cargo bench --bench budget -- HOURS` renders so many hours of each plaza instead of the usual ones.

#[path = "support/report.rs"]
mod report;

use anyhow::{Context, Result, bail};
use report::{Goal, Report};
use sigmawatch::base::SystemClock;
use sigmawatch::config::{self, Budget, Gst, Method, Provider, Source, Synthetic, Transport};
use sigmawatch::features::{Extractor, ExtractorModel, Features};
use sigmawatch::frame::{Next, PLAZA_FPS, Plaza, open_source};
use sigmawatch::infer::{self, ModelSpec, Sampling, Session};
use sigmawatch::score::{OnnxScorer, Scorer};
use sigmawatch::segment::{Segment, Segmenter, learning_stride};
use sigmawatch::threshold::{Course, Debounce, Outlook, Point, Rule, Step, Threshold, blocks};
use sigmawatch::train::{Flow, LearnConfig, Sample, TrainingSet, learn};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The plaza is rendered small, so that a day of it takes an hour or so: what is measured is the statistics.
const BANK: config::Extractor =
    config::Extractor::V1 { width: 180, height: 120, fps: 10.0, whole_frame: false };
const FPS: f64 = 10.0;
const STRIDE: usize = 2;
const SEEDS: [u64; 2] = [11, 12];
/// Of each seed: a day together.
const HOURS: f64 = 12.0;
/// Seconds of calm life that are learned from, as the configuration's default has it.
const LEARN: f64 = 600.0;
/// Seconds about an incident that are nobody's calm life.
const ABOUT: f64 = 2.0;
/// Asked of the plaza after learning alone, and after half of what follows was watched.
const ASKED: [&str; 5] = ["12/hour", "6/hour", "3/hour", "1/hour", "6/day"];
/// Clips of Ped2 are held out in so many groups of neighbours.
const FOLDS: usize = 8;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn main() -> ExitCode {
    let hours = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(HOURS);
    match measure(hours) {
        Ok(report) => report.finish(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(hours: f64) -> Result<Report> {
    infer::init(&root().join("runtime/libonnxruntime.so"))?;
    let mut rows = Rows { report: Report::new("budget"), too_few: 0, too_many: 0, all: 0 };
    for seed in SEEDS {
        plaza(seed, hours, &mut rows)?;
    }
    ped2(&mut rows)?;
    let share = |rows_of: usize| rows_of as f64 / rows.all as f64;
    // Of intervals that hold the rate with 90 % certainty.
    let (few, many) = (share(rows.too_few), share(rows.too_many));
    rows.report.add("rows with more alarms than stated", many, "share", Some(Goal::AtMost(0.1)));
    rows.report.add("rows within the stated interval", 1.0 - few - many, "share", Some(Goal::AtLeast(0.85)));
    Ok(rows.report)
}

/// The table as it grows.
struct Rows {
    report: Report,
    too_few: usize,
    too_many: usize,
    all: usize,
}

impl Rows {
    /// Counts the alarms that a point's limit raises on scores that follow each other by the stride. `runs`: unbroken ones.
    fn add(&mut self, name: &str, budget: Budget, point: Point, runs: &[&[f32]]) {
        let hours = runs.iter().map(|run| run.len()).sum::<usize>() as f64 * STRIDE as f64 / FPS / 3600.0;
        let got: usize = runs.iter().map(|run| alarms(run, point.limit)).sum();
        let Point { low, high, extrapolated, .. } = point;
        self.all += 1;
        let (few, many) = implausible(got, low * hours, high * hours);
        self.too_few += usize::from(few);
        self.too_many += usize::from(many);
        let how = if extrapolated { "stated by the tail" } else { "stated by rank" };
        let name = format!(
            "{name}, asked {budget} ({:.2}/h), {how} {low:.2} to {high:.2}: {got} alarms in {hours:.2} h",
            budget.per_hour()
        );
        self.report.add(name, got as f64 / hours, "1/h", None);
    }
}

/// Whether so many alarms are too few for the lowest mean, or too many for the highest, but for 2.5 % of chance.
fn implausible(got: usize, low: f64, high: f64) -> (bool, bool) {
    // Share of a Poisson distribution up to n.
    let up_to = |n: usize, mean: f64| {
        let (mut term, mut sum) = ((-mean).exp(), 0.0);
        for i in 0..=n {
            sum += term;
            term *= mean / (i as f64 + 1.0);
        }
        sum
    };
    let too_few = up_to(got, low) < 0.025;
    let too_many = got > 0 && 1.0 - up_to(got - 1, high) < 0.025;
    (too_few, too_many)
}

/// Events that the daemon would open.
fn alarms(scores: &[f32], limit: f64) -> usize {
    let (mut debounce, limit) = (Debounce::new(Rule::default()), Threshold::plain(limit, 1.0, 0.0));
    let mut opens = |(i, score): (usize, &f32)| {
        let end = Duration::from_secs_f64(i as f64 * STRIDE as f64 / FPS);
        matches!(debounce.step(i as u64, end, limit.judge(*score)), Step::Opened { .. })
    };
    scores.iter().enumerate().filter(|s| opens(*s)).count()
}

/// A plaza's calm life: learned from, then watched. What happens at an incident is cut out, by the truth.
fn plaza(seed: u64, hours: f64, rows: &mut Rows) -> Result<()> {
    let begun = Instant::now();
    let model = ExtractorModel::prepare_on(Provider::Cpu, &BANK)?;
    let mut session = model.open()?;
    let source = Source::Synthetic(Synthetic { seed, as_fast_as_possible: true });
    let mut source = open_source(&source, &root().join("pipelines"), Arc::new(SystemClock::default()))?;
    let mut stream = source.open(&[model.spec().frame.clone()])?;
    let (truth, mut segmenter) = (Plaza::new(seed), Segmenter::new(STRIDE));
    let (mut taught, mut scorer, mut seen): (Vec<Features>, Option<Taught>, Vec<f32>) =
        (vec![], None, vec![]);
    for _ in 0..(hours * 3600.0 * FPS) as u64 {
        let Next::Frame(frame) = stream.next(Duration::from_secs(10))? else { bail!("the plaza ended") };
        let Some(segment) = segmenter.push(frame).filter(|segment| is_calm(&truth, segment)) else {
            continue;
        };
        let features = session.extract(&[&segment])?.pop().context("no features")?;
        match &mut scorer {
            Some(by) => seen.push(by.scorer.score_run(&[&features])?[0].value),
            None => {
                taught.push(features);
                if taught.len() as f64 >= LEARN * FPS / STRIDE as f64 {
                    let apart = learning_stride(STRIDE) / STRIDE;
                    let every = std::mem::take(&mut taught).into_iter().step_by(apart);
                    scorer = Some(Taught::by(&model, vec![every.collect()])?);
                }
            }
        }
    }
    let by = scorer.context("too few hours to learn from")?;
    eprintln!("plaza {seed}: {hours} h in {:.0} s", begun.elapsed().as_secs_f64());
    let half = seen.len() / 2;
    for asked in ASKED {
        let budget = Budget::parse(asked).context("a budget")?;
        let learned = by.outlook(budget).asked.context("too little was learned from")?;
        rows.add(&format!("plaza {seed}, learned"), budget, learned, &[&seen]);
        let rule = Rule::default();
        let timed = seen[..half].iter().enumerate().map(|(i, s)| (i as f64 * STRIDE as f64 / FPS, *s));
        let watched = Outlook::of(&blocks(rule, timed, 1), &rule, Some(budget));
        let watched = watched.asked.context("too little was watched")?;
        rows.add(&format!("plaza {seed}, half watched"), budget, watched, &[&seen[half..]]);
    }
    Ok(())
}

/// No incident during the segment, nor right before or after it.
fn is_calm(plaza: &Plaza, segment: &Segment) -> bool {
    let at = |seconds: f64| (seconds.max(0.0) * PLAZA_FPS as f64) as u64;
    let first = at(segment.start.pts.as_secs_f64() - ABOUT);
    let last = at(segment.end.pts.as_secs_f64() + ABOUT);
    (first..=last).step_by(5).chain([last]).all(|frame| plaza.truth(frame).is_empty())
}

/// What was learned, and what it saw.
struct Taught {
    scorer: OnnxScorer,
    course: Course,
}

impl Taught {
    /// From runs of features that are as far apart as the daemon learns from.
    fn by(model: &ExtractorModel, runs: Vec<Vec<Features>>) -> Result<Self> {
        let spec = model.spec();
        let stride = learning_stride(STRIDE);
        let numbered = runs.into_iter().enumerate();
        let all = numbered.flat_map(|(run, features)| features.into_iter().map(move |f| (run as u64, f)));
        let sample = |(i, (run, features)): (usize, (u64, Features))| Sample {
            time: i as f64 * stride as f64 / FPS,
            run,
            features,
        };
        let set = TrainingSet {
            extractor: model.manifest().id(),
            grid: spec.grid,
            sampling: Some(Sampling { frame: spec.frame.clone(), stride }),
            channels: spec.channels.clone(),
            wall_clock: false,
            samples: all.enumerate().map(sample).collect(),
        };
        let learned = learn(set, &LearnConfig::of(Method::default()), &mut |_| Flow::Continue)?;
        let ModelSpec::Scorer(spec) = &learned.manifest.spec else { bail!("learning made no scorer") };
        let course = Course::of(&spec.calibration, spec.sampling.as_ref()).context("no time is known")?;
        Ok(Self { scorer: OnnxScorer::new(Session::from_bytes("learned", &learned.bytes)?)?, course })
    }

    fn outlook(&self, budget: Budget) -> Outlook {
        let rule = Rule::default();
        Outlook::of(&self.course.blocks(rule, STRIDE), &rule, Some(budget))
    }
}

/// Real normal footage, four minutes of it: learned from all clips but a few neighbours, watched on those.
fn ped2(rows: &mut Rows) -> Result<()> {
    let dir = root().join("../shared/data/ped2/train");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("{} is measured on", dir.display()))?;
    let mut clips: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    clips.sort();
    let bank = config::Extractor::V1 { width: 360, height: 240, fps: FPS, whole_frame: false };
    let model = ExtractorModel::prepare_on(Provider::Cpu, &bank)?;
    let mut session = model.open()?;
    let features =
        clips.iter().map(|clip| features(clip, &model, &mut *session)).collect::<Result<Vec<_>>>()?;
    let asked = Budget::parse(ASKED[0]).context("a budget")?;
    for fold in 0..FOLDS {
        let held = |clip: usize| clip * FOLDS / clips.len() == fold;
        let apart = learning_stride(STRIDE) / STRIDE;
        let taught = (0..clips.len()).filter(|clip| !held(*clip));
        let every = |clip: usize| features[clip].iter().step_by(apart).cloned().collect();
        let mut by = Taught::by(&model, taught.map(every).collect())?;
        let mut scored = vec![];
        for clip in (0..clips.len()).filter(|clip| held(*clip)) {
            let run: Vec<&Features> = features[clip].iter().collect();
            scored.push(by.scorer.score_run(&run)?.iter().map(|s| s.value).collect::<Vec<f32>>());
        }
        let runs: Vec<&[f32]> = scored.iter().map(Vec::as_slice).collect();
        let point = by.outlook(asked).asked.context("too little footage")?;
        rows.add(&format!("Ped2, clips held out, part {}", fold + 1), asked, point, &runs);
    }
    Ok(())
}

/// Of every segment of a clip, at the stride of watching.
fn features(clip: &Path, model: &ExtractorModel, session: &mut dyn Extractor) -> Result<Vec<Features>> {
    let source = Source::Gst(Gst {
        pipeline: "file".into(),
        location: clip.display().to_string(),
        user: None,
        password: None,
        transport: Transport::Tcp,
        live: false,
        ca: None,
        real_time: false,
        isolate: false,
    });
    let mut source = open_source(&source, &root().join("pipelines"), Arc::new(SystemClock::default()))?;
    let mut stream = source.open(&[model.spec().frame.clone()])?;
    let (mut segmenter, mut found) = (Segmenter::new(STRIDE), vec![]);
    while let Next::Frame(frame) = stream.next(Duration::from_secs(20))? {
        if let Some(segment) = segmenter.push(frame) {
            found.push(session.extract(&[&segment])?.pop().context("no features")?);
        }
    }
    Ok(found)
}
