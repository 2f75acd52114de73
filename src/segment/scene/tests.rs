//! What counts as a change of the whole picture, and what does not.

use super::*;
use crate::base::SystemClock;
use crate::config::{Source, Synthetic};
use crate::frame::{Next, PixelFormat, open_source};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 96;

fn spec(format: PixelFormat) -> FrameSpec {
    FrameSpec { width: WIDTH, height: HEIGHT, format, fps: 10.0 }
}

/// A scene of blocks of different brightness, seen `shift` pixels further to the right, with the sensor's noise.
fn street(shift: u32, moment: u32) -> Vec<u8> {
    let block = |x: u32, y: u32| {
        let mixed = (x / 12).wrapping_mul(2_654_435_761) ^ (y / 9).wrapping_mul(2_246_822_519);
        40 + mixed.rotate_left(13) % 120
    };
    let noise = |x: u32, y: u32| (x.wrapping_mul(31) ^ y.wrapping_mul(17) ^ moment.wrapping_mul(101)) % 7;
    (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (block(x + shift, y) + noise(x, y)) as u8)).collect()
}

fn lit(picture: &[u8], gain: f32, offset: f32) -> Vec<u8> {
    picture.iter().map(|luma| (f32::from(*luma) * gain + offset).clamp(0.0, 255.0) as u8).collect()
}

/// A person-sized box at a place of the picture.
fn with_box(mut picture: Vec<u8>, left: u32, width: u32, top: u32, height: u32) -> Vec<u8> {
    for y in top..(top + height).min(HEIGHT) {
        for x in left..(left + width).min(WIDTH) {
            picture[(y * WIDTH + x) as usize] = 230;
        }
    }
    picture
}

/// Plays pictures at ten a second; what happened, with the number of the picture.
fn play(picture: impl Fn(u32) -> Vec<u8>, pictures: u32) -> Vec<(u32, SceneChange)> {
    let mut watch = SceneWatch::new(spec(PixelFormat::Gray8));
    let see = |i: u32| Some((i, watch.see(&picture(i), Duration::from_millis(100 * u64::from(i)))?));
    (0..pictures).filter_map(see).collect()
}

fn kinds(happened: &[(u32, SceneChange)]) -> Vec<SceneChange> {
    happened.iter().map(|(_, change)| *change).collect()
}

#[test]
fn lights_that_go_on_are_noticed_at_once_and_known_for_what_they_are() {
    for (gain, offset) in [(1.8, 0.0), (0.45, 0.0), (0.5, 100.0)] {
        let happened = play(
            |i| lit(&street(0, i), if i < 300 { 1.0 } else { gain }, if i < 300 { 0.0 } else { offset }),
            600,
        );
        assert_eq!(kinds(&happened), [SceneChange::Began, SceneChange::Light], "gain {gain}");
        assert_eq!(happened[0].0, 300);
        assert!(happened[1].0 <= 350, "settled at {}", happened[1].0);
    }
}

#[test]
fn a_camera_that_is_turned_is_noticed_and_so_is_its_return() {
    let shift = |i: u32| if (300..900).contains(&i) { 30 } else { 0 };
    let happened = play(|i| street(shift(i), i), 1200);
    use SceneChange::{Back, Began, View};
    assert_eq!(kinds(&happened)[..2], [Began, View], "{happened:?}");
    assert!(happened[0].0 <= 325, "{happened:?}");
    assert!(kinds(&happened).contains(&Back) && happened.last().expect("some").0 > 900, "{happened:?}");
}

#[test]
fn a_covered_lens_is_another_view() {
    let happened = play(|i| if i < 300 { street(0, i) } else { lit(&street(0, i), 0.02, 12.0) }, 500);
    assert_eq!(happened[0], (300, SceneChange::Began));
}

#[test]
fn a_picture_in_which_nothing_is_to_be_seen_from_the_first_has_no_other_view() {
    assert_eq!(play(|i| lit(&street(0, i), 0.01, (i * 7 % 5) as f32 + 14.0), 600), []);
    // Noise alone is alike from one moment to the next no more than two views are.
    let noise = |i: u32| {
        let level =
            |at: u32| at.wrapping_add(i.wrapping_mul(7919)).wrapping_mul(2_654_435_761).rotate_left(11) % 9;
        (0..WIDTH * HEIGHT).map(|at| 16 + level(at) as u8).collect()
    };
    assert_eq!(play(noise, 600), []);
    // Who walks through the dark for a while is no other view either.
    let dark = |i: u32| {
        let picture = vec![16; (WIDTH * HEIGHT) as usize];
        if (100..140).contains(&i) { with_box(picture, i - 50, 12, 40, 12) } else { picture }
    };
    assert_eq!(play(dark, 600), []);
}

#[test]
fn dusk_and_a_cloud_change_nothing() {
    // To half the light within four minutes, and back within one.
    let light = |i: u32| match i {
        0..2400 => 1.0 - i as f32 / 4800.0,
        _ => 0.5 + (i - 2400) as f32 / 1200.0 * 0.5,
    };
    assert_eq!(play(|i| lit(&street(0, i), light(i), 0.0), 3000), []);
}

#[test]
fn what_happens_within_the_scene_changes_nothing() {
    // People, a lorry that fills a third of the picture and parks, and something that passes close before the lens.
    let walker = |i: u32| with_box(street(0, i), i % WIDTH, 8, 40, 20);
    assert_eq!(play(walker, 600), []);
    let lorry = |i: u32| {
        let left = if i < 300 { WIDTH } else { WIDTH.saturating_sub((i - 300) * 8).max(WIDTH - 55) };
        with_box(street(0, i), left, 55, 20, 70)
    };
    assert_eq!(play(lorry, 1500), []);
    let close = |i: u32| {
        if (300..310).contains(&i) { with_box(street(0, i), 40, 80, 0, HEIGHT) } else { street(0, i) }
    };
    assert_eq!(play(close, 600), []);
}

#[test]
fn a_torch_does_not_blind_it_for_long() {
    let flicker =
        |i: u32| lit(&street(0, i), if i > 300 && (i / 3).is_multiple_of(2) { 2.0 } else { 1.0 }, 0.0);
    let happened = play(flicker, 1800);
    assert_eq!(happened[0].1, SceneChange::Began);
    assert!(happened[1].0 - happened[0].0 <= 600, "{happened:?}");
}

/// The demo plaza, with all its incidents, for as long as it takes to see several of each.
#[test]
fn the_plaza_never_changes_as_a_whole() {
    let plaza = Source::Synthetic(Synthetic { seed: 5, as_fast_as_possible: true });
    let clock = std::sync::Arc::new(SystemClock::default());
    let mut source = open_source(&plaza, std::path::Path::new("pipelines"), clock).expect("a source");
    let spec = FrameSpec { width: 180, height: 120, format: PixelFormat::Gray8, fps: 10.0 };
    let mut stream = source.open(std::slice::from_ref(&spec)).expect("a stream");
    let mut watch = SceneWatch::new(spec);
    for i in 0..2000 {
        let Ok(Next::Frame(frame)) = stream.next(Duration::from_secs(5)) else { panic!("it has an end") };
        assert_eq!(watch.see(&frame.pixels, frame.stamp.pts), None, "picture {i}");
    }
}

#[test]
fn colour_pictures_are_judged_alike() {
    let mut watch = SceneWatch::new(spec(PixelFormat::Rgb8));
    let colour = |i: u32| -> Vec<u8> {
        let gray = lit(&street(0, i), if i < 100 { 1.0 } else { 1.8 }, 0.0);
        gray.iter().flat_map(|luma| [0, *luma, 255]).collect()
    };
    let first =
        (0..200).find(|i| watch.see(&colour(*i), Duration::from_millis(100 * u64::from(*i))).is_some());
    assert_eq!(first, Some(100));
    assert!(watch.changes());
}
