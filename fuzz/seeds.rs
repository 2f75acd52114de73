//! What fuzzing begins with: one or some good inputs of each target, made here.

use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use sigmawatch::features::v1::{self, V1Params};

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n\
                   c=IN IP4 0.0.0.0\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:stream=0\r\n";

/// Names of targets, and inputs for each.
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let root = [".", ".."].iter().find(|dir| std::path::Path::new(dir).join("config.toml").exists());
    let sample =
        root.and_then(|root| std::fs::read(format!("{root}/config.toml")).ok()).expect("config.toml");
    let text = |text: &str| text.as_bytes().to_vec();
    let config = "[http]\nlisten = \"127.0.0.1:0\"\n[[user]]\nname = \"anna\"\nrole = \"viewer\"\n[[camera]]\nname = \"a\"\nsource = \
                  \"rtsp\"\nlocation = \"rtsp://u:canary-password@[::1]:554/x?y=1\"\nzones = { door = [[0,0],[1,0],[1,1]] }\n\
                  [camera.detector]\nk = 3.5\nfps = 12.5\n[[sink]]\nkind = \"webhook\"\nname = \"w\"\nurl = \"https://h/x\"\n";
    let (manifest, v1) = v1::build(&V1Params::new(64, 64, 10.0, true));
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    let weights = [
        [&40_u64.to_le_bytes()[..], br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]]
            .concat(),
        b"PK\x03\x04\x14\0\0\0\0\0".to_vec(),
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec(),
    ];
    let backtest = br#"{"k":[1,2,3],"budget":["1/day"],"debounce":[[2,3]],"after":"2026-01-01T00:00:00Z"}"#;
    let bodies: [&[u8]; 4] =
        [backtest, br#"{"label":"false_alarm","note":"x"}"#, br#"{"on":true}"#, br#"{"text":"[http]\n"}"#];
    let api =
        (0..48_u8).map(|route| [&[route], &b"2026"[..], b"\n--\n", bodies[route as usize % 4]].concat());
    let packets = rtp();
    vec![
        ("config", vec![sample, text(config)]),
        (
            "template",
            vec![text(
                "{{ camera | upper }} {% for z in zones %}{{ z }}{% endfor %}\n--\n{\"zones\":[\"a\"]}",
            )],
        ),
        ("weights", weights.to_vec()),
        ("model", vec![[&v1[..], b"\n--\n", &manifest].concat(), [b"\n--\n", &manifest[..]].concat()]),
        (
            "video",
            vec![
                made("h264parse ! video/x-h264,stream-format=byte-stream"),
                made("mp4mux"),
                made("matroskamux"),
            ],
        ),
        ("rtsp", vec![[SDP.as_bytes(), b"\n--\n", &packets].concat()]),
        ("api", api.collect()),
    ]
}

/// Two seconds of a moving ball, H.264 with B-frames, through these elements: their output's buffers.
fn buffers(through: &str) -> Vec<Vec<u8>> {
    gstreamer::init().expect("GStreamer starts");
    let description = format!(
        "videotestsrc pattern=ball num-buffers=20 ! video/x-raw,width=96,height=64,framerate=10/1 ! \
         x264enc key-int-max=5 bframes=2 threads=1 bitrate=100 ! {through} ! appsink name=out sync=false"
    );
    let pipeline =
        gstreamer::parse::launch(&description).expect("a pipeline").downcast::<gstreamer::Pipeline>();
    let pipeline = pipeline.expect("a pipeline");
    let out = pipeline.by_name("out").and_then(|out| out.downcast::<AppSink>().ok()).expect("the sink");
    pipeline.set_state(gstreamer::State::Playing).expect("plays");
    let mut found = vec![];
    while let Ok(sample) = out.pull_sample() {
        let buffer = sample.buffer().expect("a buffer").map_readable().expect("readable");
        found.push(buffer.to_vec());
    }
    pipeline.set_state(gstreamer::State::Null).expect("stops");
    found
}

fn made(through: &str) -> Vec<u8> {
    buffers(through).concat()
}

/// RTP packets as `attempts::rtsp` takes them.
fn rtp() -> Vec<u8> {
    let packets = buffers("rtph264pay config-interval=-1 mtu=800");
    packets.iter().flat_map(|packet| [&(packet.len() as u16).to_be_bytes()[..], packet].concat()).collect()
}
