//! What this program does when it runs itself: the two limits, and a bare network.

use crate::cpu::cpu;
use crate::inputs::{BANK, FPS, PATIENCE, analysed, open};
use crate::support::place;
use anyhow::{Context, Result, bail};
use sigmawatch::features::ExtractorModel;
use sigmawatch::frame::{Frame, Next};
use sigmawatch::infer::{self, Runner, TensorIn};
use sigmawatch::segment::{SEGMENT_FRAMES, Segmenter};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// This program again, told to do one thing alone.
pub fn command(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

/// Does what `args` say: `decode CLIP CAMERAS`, `extract CLIP CAMERAS SECONDS` or `network MODEL THREADS SECONDS`.
pub fn run(args: &[String]) -> Result<()> {
    let number = |at: usize| -> Result<usize> { Ok(args.get(at).context("a number is missing")?.parse()?) };
    let file = Path::new(args.get(1).context("a file is missing")?);
    match args[0].as_str() {
        "decode" => decode(file, number(2)?),
        "extract" => extract(file, number(2)?, number(3)?),
        "network" => network(file, number(2)?, Duration::from_secs(number(3)? as u64)),
        other => bail!("no such measurement: {other} (choose some with SECTIONS=...)"),
    }
}

/// Takes the frames of `clip` in real time, as so many cameras, and throws them away. Says when all have come.
fn decode(clip: &Path, cameras: usize) -> Result<()> {
    let started = Barrier::new(cameras + 1);
    std::thread::scope(|scope| {
        let camera = || -> Result<()> {
            let mut stream = open(clip, &analysed(), true)?;
            let first = stream.next(PATIENCE);
            started.wait();
            first?;
            while !matches!(stream.next(PATIENCE)?, Next::End) {}
            Ok(())
        };
        let cameras: Vec<_> = (0..cameras).map(|_| scope.spawn(camera)).collect();
        started.wait();
        println!("ready");
        cameras.into_iter().try_for_each(|camera| camera.join().expect("a camera does not panic"))
    })
}

/// Only the bank, with the daemon's stride, on frames that lie ready. Prints CPU seconds a camera-second.
fn extract(clip: &Path, cameras: usize, seconds: usize) -> Result<()> {
    infer::init(&place::root().join("runtime/libonnxruntime.so"))?;
    let model = ExtractorModel::prepare(&BANK)?;
    let mut extractor = model.open()?;
    let mut stream = open(clip, &analysed(), false)?;
    let mut frames: Vec<Frame> = vec![];
    while frames.len() < seconds * FPS as usize {
        let Next::Frame(frame) = stream.next(PATIENCE)? else { bail!("{} is too short", clip.display()) };
        frames.push(frame);
    }
    drop(stream);
    let mut segmenters: Vec<Segmenter> = (0..cameras).map(|_| Segmenter::new(BANK.usual_stride())).collect();
    // The segment before is held by what comes after extraction; frames of cameras lie in memory of their own.
    let mut held = vec![None; cameras];
    let (mut began, mut count) = (None, 0);
    for frame in &frames {
        for (segmenter, held) in segmenters.iter_mut().zip(&mut held) {
            let own = Frame { pixels: frame.pixels.to_vec().into(), ..frame.clone() };
            let Some(segment) = segmenter.push(own) else { continue };
            extractor.extract(&[&segment])?;
            *held = Some(segment);
        }
        count += 1;
        // The first segment is wholly new.
        if count == SEGMENT_FRAMES {
            began = Some(cpu("self")?.own);
        }
    }
    let began = began.context("no segment")?;
    let camera_seconds = (frames.len() - SEGMENT_FRAMES) as f64 / FPS * cameras as f64;
    println!("{}", (cpu("self")?.own - began) / camera_seconds);
    Ok(())
}

/// Bare ONNX Runtime: sessions of one thread each, on tensors that lie ready. Prints clips a second, and CPU seconds a clip.
fn network(model: &Path, threads: usize, window: Duration) -> Result<()> {
    infer::init(&place::root().join("runtime/libonnxruntime.so"))?;
    let bytes = std::fs::read(model)?;
    let dims = [1, SEGMENT_FRAMES, 224, 224, 3];
    let pixels: Vec<u8> = (0..dims.iter().product::<usize>()).map(|i| (i * 7919 % 251) as u8).collect();
    let clip = [TensorIn::U8 { dims: &dims, data: &pixels }];
    let mut runners = (0..threads).map(|_| Runner::own("i3d", &bytes)).collect::<Result<Vec<_>, _>>()?;
    for runner in &mut runners {
        runner.run(&clip)?;
    }
    let before = cpu("self")?.own;
    let rate = |runner: &mut Runner| -> Result<(f64, f64)> {
        let (began, mut count) = (Instant::now(), 0.0);
        while began.elapsed() < window {
            runner.run(&clip)?;
            count += 1.0;
        }
        Ok((count, count / began.elapsed().as_secs_f64()))
    };
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = runners.iter_mut().map(|runner| scope.spawn(move || rate(runner))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("a session does not panic"));
        joined.collect::<Result<Vec<_>>>()
    })?;
    let spent = cpu("self")?.own - before;
    let (count, rate) = found.iter().fold((0.0, 0.0), |sum, found| (sum.0 + found.0, sum.1 + found.1));
    println!("{rate} {}", spent / count);
    Ok(())
}
