//! What others write, given to what reads it, with some hundred mutations each: `make fuzz` does it for hours.

#[path = "../../fuzz/attempts.rs"]
mod attempts;
#[path = "../../fuzz/seeds.rs"]
mod seeds;

use crate::desk::Desk;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::time::{Duration, Instant};

/// Each target has so long.
const TIME: Duration = Duration::from_secs(3);

/// Some bytes changed, doubled, left out or cut off.
fn mutated(input: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.random_range(1..8) {
        let at = random.random_range(0..bytes.len().max(1)).min(bytes.len());
        let end = (at + random.random_range(1..16)).min(bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
            1 => bytes[at..end].fill(if random.random() { 0xff } else { 0 }),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.truncate(bytes.len() - bytes.len() / random.random_range(2..20)),
        }
    }
    bytes
}

/// Writes the seeds where `make fuzz` wants them.
fn keep(target: &str, inputs: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("SIGMAWATCH_SEEDS").map(|all| Path::new(&all).join(target)) else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("created");
    for (number, input) in inputs.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), input).expect("written");
    }
}

/// Gives every seed of `target`, then as many mutations as there is time for; gives how many.
fn fuzzed(target: &str, attempt: impl Fn(&[u8])) -> usize {
    let all = seeds::all();
    let (_, inputs) = all.iter().find(|(name, _)| *name == target).expect("a target");
    keep(target, inputs);
    inputs.iter().for_each(|input| attempt(input));
    let (mut random, began, mut times) = (StdRng::seed_from_u64(7), Instant::now(), 0);
    while began.elapsed() < TIME {
        attempt(&mutated(&inputs[times % inputs.len()], &mut random));
        times += 1;
    }
    println!("{target}: {times} mutations");
    times
}

#[test]
fn what_people_write_breaks_nothing() {
    assert!(fuzzed("config", attempts::config) > 50);
    assert!(fuzzed("template", attempts::template) > 50);
}

#[test]
fn models_and_weights_from_elsewhere_break_nothing() {
    assert!(fuzzed("weights", attempts::weights) > 50);
    assert!(fuzzed("model", attempts::model) > 10);
}

#[test]
fn what_cameras_send_breaks_nothing() {
    assert!(fuzzed("video", attempts::video) > 5);
    let camera = attempts::Camera::start();
    assert!(fuzzed("rtsp", |data| attempts::rtsp(&camera, data)) > 0);
}

#[test]
fn requests_break_nothing() {
    let desk = Desk::start();
    assert!(fuzzed("api", |data| attempts::api(desk.addr(), data)) > 50);
}
