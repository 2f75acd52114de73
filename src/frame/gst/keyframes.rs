//! Decoding less while a machine is too slow: key frames only, of those one a second at most.

use crate::frame::Effort;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Streams that are all key frames are thinned to one in this time.
const APART: Duration = Duration::from_millis(900);

/// Decides packet by packet. Pure.
#[derive(Debug, Default)]
struct Gate {
    /// The newest packet was not let through.
    closed: bool,
    /// Presentation time of the newest key frame that was, while only these are.
    passed: Option<Duration>,
}

enum Fate {
    Pass,
    /// The first one after others were left out.
    PassAfterGap,
    Drop,
}

impl Gate {
    fn packet(&mut self, wanted_keys_only: bool, key: bool, pts: Option<Duration>) -> Fate {
        let pass = if wanted_keys_only {
            let far = |newest: Duration| pts.is_none_or(|pts| pts < newest || pts - newest >= APART);
            key && self.passed.is_none_or(far)
        } else {
            // What refers to pictures that were left out cannot be decoded.
            key || !self.closed
        };
        if !pass {
            self.closed = true;
            return Fate::Drop;
        }
        // Between key frames alone there is always a gap, whatever was left out.
        let gap = self.closed || wanted_keys_only;
        self.closed = wanted_keys_only;
        self.passed = pts.filter(|_| wanted_keys_only);
        if gap { Fate::PassAfterGap } else { Fate::Pass }
    }
}

/// Has a decoder, whose sink pad this is, be given only what `effort` wants.
pub(super) fn watch(pad: &gst::Pad, effort: &Arc<Effort>) {
    let (effort, gate) = (Arc::clone(effort), Mutex::new(Gate::default()));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        effort.packet();
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        match gate.packet(effort.is_low(), key, buffer.pts().map(Duration::from)) {
            Fate::Pass => gst::PadProbeReturn::Ok,
            Fate::PassAfterGap => {
                // Copies the description of the buffer, not its bytes.
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
                gst::PadProbeReturn::Ok
            }
            // `Drop` makes GStreamer 1.22 release a sink pad's buffer a second time, which it notices and complains of.
            Fate::Drop => gst::PadProbeReturn::Handled,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes of a stream of ten packets a second with a key frame every two seconds, which is given low effort from
    /// second 3 to 8 and full effort else; `+` after a gap.
    fn passed(all_keys: bool) -> String {
        let mut gate = Gate::default();
        let packets = (0..120).map(|i| {
            let low = (30..80).contains(&i);
            match gate.packet(low, all_keys || i % 20 == 0, Some(Duration::from_millis(100 * i))) {
                Fate::Pass => '.',
                Fate::PassAfterGap => '+',
                Fate::Drop => ' ',
            }
        });
        packets.collect()
    }

    #[test]
    fn only_key_frames_pass_and_the_rest_waits_for_the_next_one() {
        let (full, none) = (".".repeat(30), " ".repeat(10));
        let keys = format!("{none}+{}+{}", " ".repeat(19), " ".repeat(19));
        assert_eq!(passed(false), format!("{full}{keys}+{}", ".".repeat(39)));
    }

    #[test]
    fn of_a_stream_of_key_frames_one_a_second_passes() {
        let low = format!("+{}", " ".repeat(8)).repeat(6)[..50].to_owned();
        assert_eq!(passed(true), format!("{}{low}+{}", ".".repeat(30), ".".repeat(39)));
    }
}
