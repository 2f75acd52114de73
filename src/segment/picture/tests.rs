//! Which pictures are told to be bad, how soon, and which are not.

use super::PictureState::{Black, Blurred, Covered, Frozen, Healthy};
use super::*;
use crate::frame::PixelFormat;

const WIDTH: u32 = 160;
const HEIGHT: u32 = 96;

/// A scene of large and of small blocks between two brightnesses.
fn scene(dark: u32, bright: u32) -> Vec<u8> {
    let level = |x: u32, y: u32| {
        let mixed = x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519);
        mixed.rotate_left(13) % (bright - dark)
    };
    let block = |x: u32, y: u32| dark + (level(x / 12, y / 9) + 2 * level(x / 40 + 7, y / 32 + 3)) / 3;
    (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| block(x, y) as u8)).collect()
}

/// With noise of up to `most` levels either way, another one at each moment.
fn noisy(picture: &[u8], most: u32, moment: u32) -> Vec<u8> {
    let mut seed = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(u64::from(moment) + 1);
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32 % (2 * most + 1)
    };
    picture.iter().map(|luma| (u32::from(*luma) + noise()).saturating_sub(most).min(255) as u8).collect()
}

fn blurred(picture: &[u8]) -> Vec<u8> {
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let mean = |x: usize, y: usize| {
        let (xs, ys) = (x.saturating_sub(6)..(x + 7).min(width), y.saturating_sub(4)..(y + 5).min(height));
        let near = ys.flat_map(|v| xs.clone().map(move |u| u32::from(picture[v * width + u])));
        let (sum, count) = near.fold((0, 0), |(sum, count), v| (sum + v, count + 1));
        (sum / count) as u8
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| mean(x, y)).collect()
}

/// Plays pictures at ten a second that nobody has encoded; the states that began, with the second.
fn play(picture: impl Fn(u32) -> Vec<u8>, seconds: u32) -> Vec<(f32, PictureState)> {
    play_with_keys(picture, None, seconds)
}

/// The same with a key frame every so many pictures.
fn play_with_keys(
    picture: impl Fn(u32) -> Vec<u8>,
    every: Option<u32>,
    seconds: u32,
) -> Vec<(f32, PictureState)> {
    let spec = FrameSpec { width: WIDTH, height: HEIGHT, format: PixelFormat::Gray8, fps: 10.0 };
    let mut watch = PictureWatch::new(spec);
    let see = |i: u32| {
        let keys = every.map(|every| 1 + u64::from(i / every));
        let state = watch.see(&picture(i), keys, Duration::from_millis(100 * u64::from(i)))?;
        Some((i as f32 / 10.0, state))
    };
    (0..10 * seconds).filter_map(see).collect()
}

/// Good for 30 s, bad for 30 s, good for 20 s: told within 15 s, and within 8 s that it is over.
fn is_told(bad: PictureState, picture: impl Fn(u32) -> Vec<u8>) {
    let good = scene(40, 160);
    let at = |i: u32| if (300..600).contains(&i) { picture(i) } else { noisy(&good, 3, i) };
    let told = play(at, 80);
    let [(began, what), (over, Healthy)] = told[..] else { panic!("{told:?}") };
    assert_eq!(what, bad);
    assert!((30.0..=45.0).contains(&began) && (60.0..=68.0).contains(&over), "{told:?}");
}

#[test]
fn each_bad_picture_is_told_for_what_it_is_and_so_is_its_end() {
    let good = scene(40, 160);
    is_told(Frozen, |_| noisy(&good, 3, 299));
    is_told(Black, |i| noisy(&[16; (WIDTH * HEIGHT) as usize], 4, i));
    is_told(Covered, |i| noisy(&[70; (WIDTH * HEIGHT) as usize], 4, i));
    let soft = blurred(&good);
    is_told(Blurred, |i| noisy(&soft, 3, i));
}

#[test]
fn what_is_still_and_dark_as_well_is_told_by_the_better_reason() {
    assert!(matches!(play(|_| vec![16; (WIDTH * HEIGHT) as usize], 60)[..], [(_, Black)]));
    assert!(matches!(play(|_| vec![120; (WIDTH * HEIGHT) as usize], 60)[..], [(_, Covered)]));
    assert!(matches!(play(|_| scene(40, 160), 60)[..], [(_, Frozen)]));
}

#[test]
fn an_encoder_that_improves_a_frozen_picture_does_not_hide_it() {
    // A little nearer at each key frame, five seconds apart, and the very same in between.
    let good = scene(40, 160);
    let at = |i: u32| match i {
        0..300 => noisy(&good, 3, i),
        _ => {
            let improved = |n: usize| u8::from((n as u32 + (i - 300) / 50).is_multiple_of(5));
            good.iter().enumerate().map(|(n, v)| v + improved(n)).collect()
        }
    };
    let told = play_with_keys(at, Some(50), 60);
    assert!(matches!(told.first(), Some((began, Frozen)) if *began <= 45.0), "{told:?}");
}

#[test]
fn a_static_night_scene_is_healthy_as_long_as_there_is_noise() {
    let night = scene(18, 50);
    for most in [1, 3, 6] {
        assert_eq!(play(|i| noisy(&night, most, i), 120), [], "noise of {most}");
        // As a coarse encoder sends it: noise at key frames, every second to every 50 s, and nothing in between.
        for apart in [10, 50, 100, 500] {
            let told = play_with_keys(|i| noisy(&night, most, i / apart), Some(apart), 120);
            assert_eq!(told, [], "noise of {most}, every {apart}");
        }
    }
}

#[test]
fn a_scene_without_noise_is_healthy_while_something_moves() {
    let street = scene(40, 160);
    let walker = |i: u32| {
        let mut picture = street.clone();
        let left = i / 2 % (WIDTH - 8);
        for y in 40..60 {
            picture[(y * WIDTH + left) as usize..][..8].fill(230);
        }
        picture
    };
    assert_eq!(play(walker, 120), []);
    // Every eight seconds, for one second.
    let now_and_then = |i: u32| if i % 80 < 10 { walker(i) } else { street.clone() };
    assert_eq!(play(now_and_then, 120), []);
}

#[test]
fn dusk_and_a_slow_camera_change_nothing() {
    let street = scene(40, 160);
    let light = |i: u32| (1.0 - i as f32 / 4800.0).max(0.4);
    let dusk = |i: u32| noisy(&street, 2, i).iter().map(|v| (f32::from(*v) * light(i)) as u8).collect();
    assert_eq!(play(dusk, 300), []);
    // One picture in two seconds.
    assert_eq!(play(|i| noisy(&street, 2, i / 20), 120), []);
}
