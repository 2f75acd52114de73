//! The limit: the same recording, replayed by as many cameras and only decoded, thinned out and scaled.

use super::clip::ANALYSED;
use super::machine::{Setting, description};
use super::step::{SETTLE, ready_within};
use super::{go_on, pause};
use crate::base::{Clock, SystemClock};
use crate::cli::recordings::cpu_time;
use crate::config;
use crate::frame::{Next, open_source};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// CPU cores that this process uses for that.
///
/// # Errors
/// Where it cannot be played.
pub fn cores(setting: &Setting, cameras: usize, window: Duration) -> Result<f64> {
    let (done, playing) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cameras)
            .map(|camera| {
                let (done, playing) = (&done, &playing);
                scope.spawn(move || play(setting, camera, done, playing))
            })
            .collect();
        let measured = (|| {
            let began = Instant::now();
            while playing.load(Relaxed) < cameras && began.elapsed() < ready_within(cameras) {
                go_on(&setting.stop)?;
                ensure!(!threads.iter().any(|thread| thread.is_finished()), "the recording is over too soon");
                std::thread::sleep(Duration::from_millis(50));
            }
            pause(SETTLE, &setting.stop)?;
            let (began, before) = (Instant::now(), cpu_time());
            pause(window, &setting.stop)?;
            Ok((cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64())
        })();
        done.store(true, Relaxed);
        for thread in threads {
            thread.join().expect("decoding does not panic")?;
        }
        measured
    })
}

/// Takes a camera's frames, and throws them away.
fn play(setting: &Setting, camera: usize, done: &AtomicBool, playing: &AtomicUsize) -> Result<()> {
    let source = config::Source::Gst(config::Gst {
        pipeline: description(camera),
        location: setting.replay.to_str().context("an odd path")?.into(),
        user: None,
        password: None,
        ca: None,
        transport: config::Transport::Tcp,
        live: true,
        real_time: false,
        isolate: false,
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut source = open_source(&source, &setting.pipelines, clock)?;
    let mut stream = source.open(&[ANALYSED])?;
    let mut seen = false;
    while !done.load(Relaxed) {
        match stream.next(Duration::from_millis(200))? {
            Next::Frame(_) if !seen => {
                seen = true;
                playing.fetch_add(1, Relaxed);
            }
            Next::Frame(_) | Next::Idle => {}
            Next::End => break,
        }
    }
    Ok(())
}
