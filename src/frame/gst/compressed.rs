//! The compressed stream on its way into the decoder: copied into the ring of packets, never held up.

use crate::base::Clock;
use crate::frame::packets::{Codec, Format, PacketRing};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is known of a stream of access units.
struct Stream {
    format: Arc<Format>,
    /// NAL units begin with start codes, and parameter sets come between the pictures.
    byte_stream: bool,
}

/// Copies every access unit that passes `pad` into `ring`. The copy takes microseconds, and frees whatever the
/// packet's memory belongs to: a network buffer or a driver's.
pub(super) fn tap(pad: &gst::Pad, ring: &Arc<PacketRing>, clock: &Arc<dyn Clock>, encoded_here: bool) {
    let (ring, clock) = (Arc::clone(ring), Arc::clone(clock));
    let stream = Mutex::new(None::<Stream>);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        match &info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view() {
                    *stream = Stream::of(caps.caps(), encoded_here);
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if let Some(stream) = &mut *stream {
                    stream.put(buffer, &ring, &*clock);
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

impl Stream {
    /// `None` where clips cannot be made of it: another codec, or pieces of pictures.
    fn of(caps: &gst::CapsRef, encoded_here: bool) -> Option<Self> {
        let structure = caps.structure(0)?;
        let codec = match structure.name().as_str() {
            "video/x-h264" => Codec::H264,
            "video/x-h265" => Codec::H265,
            _ => return None,
        };
        let format = structure.get::<&str>("stream-format").ok()?;
        if structure.get::<&str>("alignment").ok()? != "au" {
            return None;
        }
        let byte_stream = format == "byte-stream";
        let format = Format { codec, caps: caps.to_string(), parameter_sets: vec![], encoded_here };
        Some(Self { format: Arc::new(format), byte_stream })
    }

    fn put(&mut self, buffer: &gst::Buffer, ring: &PacketRing, clock: &dyn Clock) {
        let (Some(pts), Ok(data)) = (buffer.pts(), buffer.map_readable()) else { return };
        if self.byte_stream {
            let sets = parameter_sets(self.format.codec, &data);
            if !sets.is_empty() && sets != self.format.parameter_sets {
                self.format = Arc::new(Format { parameter_sets: sets, ..(*self.format).clone() });
            }
        }
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        ring.push(Duration::from(pts), clock.now(), key, &data, &self.format);
    }
}

/// The parameter sets before the first slice of an access unit in a byte stream (ITU-T H.264, 7.3.1 and annex B;
/// H.265, 7.3.1.2), each after a start code; nothing where there is no sequence parameter set among them.
fn parameter_sets(codec: Codec, unit: &[u8]) -> Vec<u8> {
    let mut sets = vec![];
    let mut complete = false;
    let mut rest = after_start_code(unit);
    while let Some(nal) = rest.filter(|nal| !nal.is_empty()) {
        let (kind, slices, parameters, sequence) = match codec {
            Codec::H264 => (nal[0] & 0x1f, 1..=5, 7..=8, 7),
            Codec::H265 => (nal[0] >> 1 & 0x3f, 0..=31, 32..=34, 33),
        };
        if slices.contains(&kind) {
            break;
        }
        rest = after_start_code(nal);
        if parameters.contains(&kind) {
            let end = rest.map_or(nal.len(), |rest| nal.len() - rest.len() - 3);
            let nal = &nal[..end];
            // What precedes the next start code's own zeros belongs to it, too.
            let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            sets.extend_from_slice(&[0, 0, 0, 1]);
            sets.extend_from_slice(&nal[..end]);
            complete |= kind == sequence;
        }
    }
    if complete { sets } else { vec![] }
}

/// An access unit as the first one of a clip: with the parameter sets of its format, where it has none itself.
pub(super) fn decodable(format: &Format, unit: Vec<u8>) -> Vec<u8> {
    if format.parameter_sets.is_empty() || !parameter_sets(format.codec, &unit).is_empty() {
        return unit;
    }
    // An access unit delimiter stays in front.
    let delimiter = after_start_code(&unit).filter(|nal| match format.codec {
        Codec::H264 => nal.first().is_some_and(|byte| byte & 0x1f == 9),
        Codec::H265 => nal.first().is_some_and(|byte| byte >> 1 & 0x3f == 35),
    });
    let rest = delimiter.and_then(after_start_code).map_or(0, |rest| unit.len() - rest.len() - 3);
    let (before, after) = unit.split_at(rest);
    [before, &format.parameter_sets, after].concat()
}

/// What follows the first start code.
fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(3).position(|three| three == [0, 0, 1])?;
    Some(&bytes[at + 3..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_are_found_before_the_first_slice() {
        let unit = [
            &[0, 0, 0, 1, 0x09, 0x10][..], // access unit delimiter
            &[0, 0, 0, 1, 0x67, 1, 2, 3],
            &[0, 0, 1, 0x68, 4, 5],
            &[0, 0, 0, 1, 0x65, 9, 9],
            &[0, 0, 1, 0x68, 7],
        ]
        .concat();
        let expected = [0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 5];
        assert_eq!(parameter_sets(Codec::H264, &unit), expected);
        assert_eq!(parameter_sets(Codec::H264, &unit[14..]), [0_u8; 0], "a picture's alone do not decode");
        assert_eq!(parameter_sets(Codec::H264, &[0, 0, 1, 0x67, 1]), [0, 0, 0, 1, 0x67, 1], "to the end");
        assert_eq!(parameter_sets(Codec::H264, &[0, 0, 1]), [0_u8; 0]);
        let format = |parameter_sets| Format {
            codec: Codec::H264,
            caps: String::new(),
            parameter_sets,
            encoded_here: false,
        };
        assert_eq!(decodable(&format(expected.to_vec()), unit.clone()), unit, "it has its own");
        let (delimiter, slice) = ([0, 0, 1, 9, 16], [0, 0, 1, 0x65, 9]);
        let made = decodable(&format(expected.to_vec()), [delimiter, slice].concat());
        assert_eq!(made, [&delimiter[..], &expected, &slice].concat());
        let made = decodable(&format(expected.to_vec()), slice.to_vec());
        assert_eq!(made, [&expected[..], &slice].concat());
        assert_eq!(decodable(&format(vec![]), slice.to_vec()), slice, "they are in the caps");
        let hevc = [0, 0, 1, 0x40, 1, 7, 0, 0, 1, 0x42, 1, 8, 0, 0, 1, 0x44, 1, 9, 0, 0, 1, 0x26, 1, 5];
        let expected = [0, 0, 0, 1, 0x40, 1, 7, 0, 0, 0, 1, 0x42, 1, 8, 0, 0, 0, 1, 0x44, 1, 9];
        assert_eq!(parameter_sets(Codec::H265, &hevc), expected);
    }
}
