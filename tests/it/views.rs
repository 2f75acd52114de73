//! Several extractors on one camera: one decoding, and every extractor's frames are those it would get alone.

use crate::clips::{SPEC, all, encoded, file, mp4, source, take};
use crate::rtsp_camera::RtspCamera;
use sigmawatch::config;
use sigmawatch::frame::{Frame, FrameSpec, PixelFormat};

fn views() -> [FrameSpec; 3] {
    [
        SPEC,
        FrameSpec { width: 64, height: 48, fps: 5.0, ..SPEC },
        FrameSpec { width: 112, height: 112, format: PixelFormat::Rgb8, ..SPEC },
    ]
}

/// Everything that a source gives, by view.
fn by_view(config: config::Gst) -> [Vec<Frame>; 3] {
    let mut stream = source(config).and_then(|mut s| s.open(&views())).expect("it opens");
    let mut found: [Vec<Frame>; 3] = Default::default();
    for frame in take(stream.as_mut(), usize::MAX).expect("frames to the end") {
        found[frame.view].push(frame);
    }
    assert_eq!(stream.dropped(), 0);
    found
}

#[test]
fn a_recordings_views_are_what_each_extractor_would_get_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "a.mp4", 40, 10);
    for real_time in [false, true] {
        let together = by_view(config::Gst { real_time, ..file(&clip) });
        assert_eq!(together.each_ref().map(Vec::len), [40, 20, 40]);
        for (frames, spec) in together.iter().zip(views()) {
            let alone = all(file(&clip), &spec).expect("a good file");
            for (i, (a, b)) in frames.iter().zip(&alone).enumerate() {
                assert_eq!((a.stamp.seq, a.stamp.pts, a.run), (i as u64, b.stamp.pts, frames[0].run));
                assert!(a.pixels == b.pixels, "frame {i} at {} x {} differs", spec.width, spec.height);
            }
        }
    }
}

#[test]
fn what_is_not_decoded_of_motion_jpeg_makes_no_difference() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = encoded(dir.path(), "a.mov", 100, 25, "jpegenc ! qtmux");
    let mut both = source(file(&clip))
        .and_then(|mut source| source.open(&[SPEC, FrameSpec { fps: 25.0, ..SPEC }]))
        .expect("it opens");
    // The second view needs every picture.
    let (first, second): (Vec<_>, Vec<_>) =
        take(both.as_mut(), usize::MAX).expect("frames to the end").into_iter().partition(|f| f.view == 0);
    let alone = all(file(&clip), &SPEC).expect("a good file");
    assert_eq!((first.len(), second.len(), alone.len()), (40, 100, 40));
    for (i, (a, b)) in first.iter().zip(&alone).enumerate() {
        assert_eq!((a.stamp.pts, a.run, b.run), (b.stamp.pts, first[0].run, alone[0].run), "frame {i}");
        assert!(a.pixels == b.pixels, "frame {i} differs");
    }
}

#[test]
fn a_network_cameras_views_come_from_one_connection() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "a.mp4", 40, 10);
    let server = RtspCamera::serve(&clip);
    let together = by_view(crate::rtsp::camera(server.url()));
    assert!(together[0].len() >= 38 && together[1].len() >= 19, "{:?}", together.each_ref().map(Vec::len));
    // Whatever the first view has, the others have of the same moment.
    for (n, frame) in together[1].iter().enumerate() {
        assert_eq!(frame.stamp.pts, together[0][2 * n].stamp.pts);
    }
    assert!(together[2].iter().zip(&together[0]).all(|(a, b)| a.stamp.pts == b.stamp.pts));
    assert_eq!(server.connections(), 1);
}
