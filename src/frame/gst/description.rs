//! Pipeline description files: read, parsed, and checked for the elements that Sigmawatch sets by name.

use crate::frame::{SourceError, SourceErrorKind};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::path::{Path, PathBuf};

/// A description file's text. Only files from the pipelines folder get here, never a user's text.
pub(super) struct Description {
    file: PathBuf,
    text: String,
}

/// A pipeline, not yet started, and the elements of it that are set by name.
pub(super) struct Elements {
    pub pipeline: gst::Pipeline,
    /// Absent where a description needs no location.
    pub source: Option<gst::Element>,
    /// One a view.
    pub tails: Vec<Tail>,
}

/// Where decoded pictures become the frames of one view.
pub(super) struct Tail {
    pub thin: gst::Element,
    pub size: gst::Element,
    pub frames: gstreamer_app::AppSink,
}

impl Description {
    /// Reads `<dir>/<name>.pipeline`.
    pub(super) fn read(dir: &Path, name: &str) -> Result<Self, SourceError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(setup(
                format!("{name:?} cannot be the name of a pipeline description"),
                "use letters, digits, `-` and `_`, without `.pipeline`",
            ));
        }
        let file = dir.join(format!("{name}.pipeline"));
        let text = std::fs::read_to_string(&file).map_err(|e| {
            setup(
                format!("pipeline description {} cannot be read: {e}", file.display()),
                format!("name one of those there ({}), or add the file", names_in(dir)),
            )
        })?;
        // Comments are ours: GStreamer's grammar has none.
        let lines = text.lines().filter(|l| !l.trim_start().starts_with('#'));
        Ok(Self { file, text: lines.collect::<Vec<_>>().join("\n") })
    }

    /// Makes the pipeline, with as many tails as there are `views`.
    pub(super) fn build(&self, views: usize) -> Result<Elements, SourceError> {
        let mut context = gst::ParseContext::new();
        let made = gst::parse::launch_full(&self.text, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
        let made = made.map_err(|e| match context.missing_elements().first() {
            Some(element) if e.matches(gst::ParseError::NoSuchElement) => setup(
                format!("{} needs the GStreamer element `{element}`, which is not installed", self.place()),
                format!("apt-get install {}", debian_package(element)),
            ),
            _ => setup(
                format!("{} is not a GStreamer description: {}", self.place(), e.message()),
                "try it with gst-launch-1.0",
            ),
        })?;
        let pipeline = made.downcast::<gst::Pipeline>().map_err(|_| {
            setup(
                format!("{} is a single element, not a pipeline", self.place()),
                "see file.pipeline for the elements it must end in",
            )
        })?;
        let named = |name: &str, what: &str| {
            pipeline.by_name(name).ok_or_else(|| {
                setup(
                    format!("{} has no element with name={name} ({what})", self.place()),
                    "end it like file.pipeline: ... ! identity name=thin ! videoscale add-borders=false ! \
                     videoconvert ! capsfilter name=size ! appsink name=frames",
                )
            })
        };
        let thin = named("thin", "after which frames are thinned out")?;
        let size = named("size", "a capsfilter, the size of the analysed picture")?;
        let frames = named("frames", "the appsink that Sigmawatch takes pictures from")?;
        for (element, property) in [(&thin, "name"), (&size, "caps"), (&frames, "max-buffers")] {
            if !element.has_property(property) || (property == "name" && element.static_pad("src").is_none())
            {
                return Err(setup(
                    format!("{}: `{}` is of the wrong kind", self.place(), element.name()),
                    "thin must have one source pad (identity), size be a capsfilter, frames an appsink",
                ));
            }
        }
        let frames = frames.downcast::<gstreamer_app::AppSink>().map_err(|e| {
            setup(
                format!("{}: `{}` is not an appsink", self.place(), e.name()),
                "make it `appsink name=frames`",
            )
        })?;
        let source = pipeline.by_name("source");
        let tail = Tail { thin, size, frames };
        let tails = match views {
            0 | 1 => vec![tail],
            _ => fork(&pipeline, tail, views).map_err(|e| {
                setup(
                    format!("{} cannot serve several extractors: {e}", self.place()),
                    "end it like file.pipeline, and install gstreamer1.0-plugins-base",
                )
            })?,
        };
        Ok(Elements { pipeline, source, tails })
    }

    fn place(&self) -> std::path::Display<'_> {
        self.file.display()
    }
}

/// Forks what comes out of `thin`, so that one decoding serves all views. The description's own tail goes on
/// serving the first one.
fn fork(pipeline: &gst::Pipeline, first: Tail, views: usize) -> Result<Vec<Tail>, gst::glib::BoolError> {
    let make = |kind: &str| gst::ElementFactory::make(kind).build();
    let source = first.thin.static_pad("src").expect("checked when the description was built");
    let scaled = source.peer().ok_or_else(|| gst::glib::bool_error!("nothing follows `thin`"))?;
    source.unlink(&scaled)?;
    let (tee, thin) = (make("tee")?, make("identity")?);
    pipeline.add_many([&tee, &thin])?;
    gst::Element::link_many([&first.thin, &tee, &thin])?;
    let branch = thin.static_pad("src").expect("an identity has one");
    branch.link(&scaled).map_err(|e| gst::glib::bool_error!("its tail does not link: {e:?}"))?;
    let mut tails = vec![Tail { thin, ..first }];
    for _ in 1..views {
        let [thin, scale, convert, size] = [
            make("identity")?,
            gst::ElementFactory::make("videoscale").property("add-borders", false).build()?,
            make("videoconvert")?,
            make("capsfilter")?,
        ];
        let frames = gstreamer_app::AppSink::builder().build();
        let elements = [&thin, &scale, &convert, &size, frames.upcast_ref()];
        pipeline.add_many(elements)?;
        tee.link(&thin)?;
        gst::Element::link_many(elements)?;
        tails.push(Tail { thin, size, frames });
    }
    for tail in &tails {
        // The branches share a thread: one that waited for the others to have a picture would keep it from them.
        tail.frames.set_property("async", false);
    }
    Ok(tails)
}

/// The descriptions in a folder, for a message.
fn names_in(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".pipeline")?.to_owned())).collect();
    names.sort();
    if names.is_empty() { format!("none in {}", dir.display()) } else { names.join(", ") }
}

/// The Debian package that has an element, by the element's name.
fn debian_package(element: &str) -> &'static str {
    match element {
        e if e.starts_with("avdec") || e.starts_with("avdemux") => "gstreamer1.0-libav",
        e if e.starts_with("va") => "gstreamer1.0-plugins-bad (or gstreamer1.0-vaapi) and the GPU's driver",
        "appsink" | "appsrc" | "videoscale" | "videoconvert" | "decodebin" | "decodebin3" | "parsebin"
        | "uridecodebin" | "playbin" | "videorate" => "gstreamer1.0-plugins-base",
        "capsfilter" | "identity" | "filesrc" | "queue" | "tee" => "libgstreamer1.0-0",
        "h264parse" | "h265parse" | "openh264dec" | "rtspsrc2" => "gstreamer1.0-plugins-bad",
        "rtspsrc" | "qtdemux" | "matroskademux" | "avidemux" | "v4l2src" | "jpegdec" | "multifilesrc"
        | "souphttpsrc" | "multipartdemux" => "gstreamer1.0-plugins-good",
        e if e.starts_with("rtp") || e.starts_with("v4l2") => "gstreamer1.0-plugins-good",
        "x264enc" => "gstreamer1.0-plugins-ugly",
        _ => "the package that `gst-inspect-1.0` elsewhere names (good, bad, ugly or libav)",
    }
}

fn setup(message: String, remedy: impl Into<String>) -> SourceError {
    SourceError { kind: SourceErrorKind::Setup, message, remedy: remedy.into() }
}
