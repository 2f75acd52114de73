//! Packets that come out of turn are waited for, as long as the description's `latency` says.
//!
//! A jitter buffer waits for a packet until its own time and the latency are over. Where timestamps are not bent towards
//! the moments of arrival (`buffer-mode=none`), its time begins with the stream at 0, while the pipeline's began when it
//! started to connect: whatever was late by a moment would count as lost.

use gstreamer as gst;
use gstreamer::prelude::*;

/// From the first packet on, the jitter buffers of `pipeline` allow for what passed before it.
pub(super) fn allow(pipeline: &gst::Pipeline) {
    pipeline.connect_deep_element_added(|_, _, element| {
        let buffers = element.factory().is_some_and(|factory| factory.name() == "rtpjitterbuffer");
        let Some(pad) = element.static_pad("sink").filter(|_| buffers) else { return };
        let buffer = element.downgrade();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if let Some(buffer) = buffer.upgrade() {
                let passed = buffer.current_running_time().unwrap_or_default().mseconds();
                let latency = buffer.property::<u32>("latency");
                buffer.set_property(
                    "latency",
                    latency.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX)),
                );
            }
            gst::PadProbeReturn::Remove
        });
    });
}
