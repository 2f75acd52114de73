//! From the configuration as written to what it means: every rule that one key alone cannot show.

mod sink;
mod users;

use super::location::{check_rtsp, expand, redacted, split};
use super::problem::{Problem, Report};
use super::raw::{Bytes, Raw, RawCamera, Section};
use super::{
    Baseline, Budget, Camera, Clips, Config, Detector, Extractor, Fusion, FusionRule, Gst, Learning, Method,
    Provider, Runtime, Sampler, SceneChange, Scorer, Source, Store, Synthetic, Threshold, Transport,
};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the file's meaning depends on besides itself.
pub struct Surroundings<'a> {
    /// Folder that relative paths start from: the configuration's own.
    pub dir: &'a Path,
    /// Environment variables.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The file can be read by every user of the machine.
    pub world_readable: bool,
}

/// Checks everything; the configuration is good for use only where `report` has no problem.
pub fn check(raw: &Raw, around: &Surroundings, report: &mut Report) -> Config {
    let mut check = Check { around, report };
    let runtime = check.runtime(&raw.runtime);
    if raw.cameras.is_empty() {
        let problem =
            Problem::new("camera", "there is no camera", "add a [[camera]] with a name and a source");
        check.report.problem(None, problem);
    }
    let cameras: Vec<Camera> =
        raw.cameras.iter().map(|camera| check.camera(camera, &runtime.pipelines)).collect();
    check.unique_names(raw.cameras.iter().map(|raw| &raw.camera), "camera");
    let names: Vec<_> = cameras.iter().map(|camera| camera.name.clone()).collect();
    let sinks = raw.sinks.iter().filter_map(|sink| check.sink(sink, &names)).collect();
    check.unique_names(&raw.sinks, "sink");
    let users = check.users(&raw.users, &cameras);
    Config {
        dir: around.dir.to_path_buf(),
        http: check.http(&raw.http, &users),
        users,
        store: check.store(&raw.store),
        runtime,
        cameras,
        sinks,
    }
}

struct Check<'a, 'r> {
    around: &'a Surroundings<'a>,
    report: &'a mut Report<'r>,
}

impl Check<'_, '_> {
    fn problem(
        &mut self,
        section: &Section,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let at = section.place(key).or(section.at);
        let mut problem = Problem::new(section.key(key), message, remedy);
        if let (Some(written), true) = (section.find::<String>(key), SHOWN.contains(&key)) {
            problem = problem.value(format!("\"{}\"", redacted(&written)));
        }
        self.report.problem(at, problem);
    }

    fn warn(&mut self, section: &Section, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let at = section.place(key).or(section.at);
        self.report.warning(at, Problem::new(section.key(key), message, remedy));
    }

    fn path(&self, section: &Section, key: &str) -> PathBuf {
        // Joining an absolute path gives that path.
        self.around.dir.join(section.get::<String>(key))
    }

    fn store(&mut self, section: &Section) -> Store {
        let dir = self.path(section, "dir");
        if dir.exists() && !dir.is_dir() {
            self.problem(section, "dir", "this is a file", "name a folder; it is made if it does not exist");
        }
        Store {
            dir,
            keep: section.get("keep"),
            keep_reviewed: section.get("keep_reviewed"),
            max_size: section.get::<Bytes>("max_size").0,
            min_free: section.get::<Bytes>("min_free").0,
        }
    }

    fn runtime(&mut self, section: &Section) -> Runtime {
        let onnxruntime = self.path(section, "onnxruntime");
        if !onnxruntime.is_file() {
            let message = format!("no such file: {}", onnxruntime.display());
            self.problem(section, "onnxruntime", message, "run `make setup`, or name ONNX Runtime's library");
        }
        let pipelines = self.path(section, "pipelines");
        if !pipelines.is_dir() {
            let message = format!("no such folder: {}", pipelines.display());
            self.problem(
                section,
                "pipelines",
                message,
                "name the folder that holds the GStreamer descriptions",
            );
        }
        let workers = match section.get::<u64>("workers") {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        };
        let timezone = section.find("timezone").unwrap_or_else(TimeZone::system);
        Runtime { onnxruntime, pipelines, workers, timezone }
    }

    fn unique_names<'s>(&mut self, sections: impl IntoIterator<Item = &'s Section>, what: &str) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for section in sections {
            let (Some(name), Some(at)) = (section.find::<String>("name"), section.place("name")) else {
                continue;
            };
            let line = self.report.line(at);
            match first.get(&name) {
                Some(line) => {
                    let message = format!("line {line} already has a {what} of this name");
                    self.problem(section, "name", message, format!("give every {what} a name of its own"));
                }
                None => {
                    first.insert(name, line);
                }
            }
        }
    }

    fn camera(&mut self, raw: &RawCamera, pipelines: &Path) -> Camera {
        let camera = &raw.camera;
        for key in ["name", "source"] {
            if !camera.has(key) {
                let remedy = match key {
                    "name" => "add name = \"...\", 1 to 64 of a-z, 0-9, \"-\" and \"_\"".into(),
                    _ => format!("add source = \"...\": {}", descriptions(pipelines)),
                };
                self.problem(camera, key, "missing", remedy);
            }
        }
        let source: String = camera.find("source").unwrap_or_default();
        self.report_unused(camera, &source);
        let source = match source.as_str() {
            "synthetic" => Source::Synthetic(Synthetic {
                seed: camera.get("seed"),
                as_fast_as_possible: !camera.get::<bool>("real_time"),
            }),
            _ => Source::Gst(self.gst(camera, source, pipelines)),
        };
        Camera {
            name: camera.find::<String>("name").unwrap_or_default().into(),
            source,
            stall_after: camera.get("stall_after"),
            hold: camera.get("hold"),
            clips: self.clips(camera),
            fusion: self.fusion(camera, &raw.detectors),
            detectors: self.detectors(camera, &raw.detectors),
            enabled: camera.get("enabled"),
            detect: camera.get("detect"),
            schedule: camera.get("schedule"),
            scene_change: SceneChange::named(&camera.get::<String>("scene_change"))
                .unwrap_or(SceneChange::Pause),
            masks: camera.get("masks"),
            zones: camera.get("zones"),
        }
    }

    fn detectors(&mut self, camera: &Section, raw: &[Section]) -> Vec<Detector> {
        if raw.is_empty() {
            let remedy = "begin each detector with [[camera.detector]], or leave the list out for one";
            self.problem(camera, "detector", "no detector", remedy);
        }
        if raw.len() > 1 {
            for nameless in raw.iter().filter(|section| !section.has("name")) {
                self.problem(nameless, "name", "missing beside other detectors", "add name = \"...\"");
            }
        }
        self.unique_names(raw, "detector of this camera");
        if let Some(fused) = raw.iter().find(|section| &*section.get::<String>("name") == FUSED) {
            let message = format!("`{FUSED}` is what the camera's fused verdict is called");
            self.problem(fused, "name", message, "give the detector another name");
        }
        let detectors: Vec<Detector> = raw.iter().map(|section| self.detector(section)).collect();
        for (section, detector) in raw.iter().zip(&detectors) {
            // They share their features, which are taken once.
            let differs =
                |d: &&Detector| d.extractor == detector.extractor && d.provider != detector.provider;
            if let Some(other) = detectors.iter().find(differs).filter(|_| section.has("provider")) {
                let message =
                    format!("the detector {} has the same extractor on \"{}\"", other.name, other.provider);
                self.problem(section, "provider", message, "give detectors of one extractor one provider");
            }
        }
        detectors
    }

    fn clips(&mut self, camera: &Section) -> Option<Clips> {
        let bytes: Bytes = camera.get("clip_memory");
        let clips = Clips {
            before: camera.get("clip_before"),
            after: camera.get("clip_after"),
            longest: camera.get("clip_longest"),
            memory: bytes.0 as usize,
        };
        if clips.before + clips.after > clips.longest {
            let message = "shorter than clip_before and clip_after together";
            self.problem(camera, "clip_longest", message, "make it longer, or those shorter");
        }
        camera.get::<bool>("clips").then_some(clips)
    }

    fn fusion(&mut self, camera: &Section, detectors: &[Section]) -> Fusion {
        let Some(rule) = FusionRule::named(&camera.get::<String>("fusion")) else { return Fusion::None };
        if detectors.len() < 2 {
            let message = "there is one detector, and nothing to fuse it with";
            self.warn(camera, "fusion", message, "remove it, or give the camera several [[camera.detector]]");
            return Fusion::None;
        }
        Fusion::All(rule)
    }

    /// Keys that the chosen source does not look at were meant to do something.
    fn report_unused(&mut self, camera: &Section, source: &str) {
        let unused: &[&str] = match source {
            "synthetic" => {
                &["location", "user", "password", "password_file", "ca", "transport", "live", "isolate"]
            }
            "file" => &["user", "password", "password_file", "ca", "transport", "seed", "isolate"],
            "rtsp" => &["real_time", "seed"],
            "v4l2" => &["user", "password", "password_file", "ca", "transport", "real_time", "seed"],
            _ => &["seed"],
        };
        for key in unused.iter().filter(|key| camera.has(key)) {
            let message = format!("has no effect on a \"{source}\" source");
            self.warn(camera, key, message, "remove it");
        }
    }

    fn gst(&mut self, camera: &Section, pipeline: String, pipelines: &Path) -> Gst {
        if camera.place("source").is_some() && pipelines.is_dir() {
            if !is_file_name(&pipeline) {
                self.problem(camera, "source", "not a name", "use letters, digits, \"-\" and \"_\" only");
            } else if !super::description_file(pipelines, &pipeline).is_file() {
                let message =
                    format!("no such source, and no {pipeline}.pipeline in {}", pipelines.display());
                self.problem(camera, "source", message, descriptions(pipelines));
            }
        }
        let (location, user, password) = self.address(camera, &pipeline);
        let live = camera.find("live").unwrap_or(pipeline != "file");
        let transport = Transport::named(&camera.get::<String>("transport")).unwrap_or(Transport::Tcp);
        let ca = camera.find::<String>("ca").map(|name| self.around.dir.join(name));
        if let Some(error) = ca.as_ref().and_then(|path| std::fs::File::open(path).err()) {
            let remedy = "name a PEM file of the certificates that are trusted, readable by the daemon";
            self.problem(camera, "ca", format!("cannot be read: {error}"), remedy);
        } else if ca.is_some() && location.starts_with("rtsp://") {
            self.warn(camera, "ca", "has no effect on rtsp://", "write rtsps://, or remove it");
        }
        let (real_time, isolate) = (camera.get("real_time"), camera.get("isolate"));
        Gst { location, user, password, ca, transport, live, real_time, isolate, pipeline }
    }

    /// Location, user and password, the latter two from the location or from keys of their own.
    fn address(&mut self, camera: &Section, pipeline: &str) -> (String, Option<String>, Option<String>) {
        let Some(written) = camera.find::<String>("location") else {
            // A description of the integrator's own may have its location in itself.
            let example = match pipeline {
                "file" => Some("location = \"videos/hall.mp4\""),
                "v4l2" => Some("location = \"/dev/video0\""),
                "rtsp" => Some("location = \"rtsp://192.168.1.20:554/stream1\""),
                _ => None,
            };
            if let (Some(example), false) = (example, camera.has("location")) {
                self.problem(camera, "location", "missing", format!("add {example}"));
            }
            return Default::default();
        };
        let env = self.around.env;
        let expanded = |part: &str| expand(part, env);
        // Expanded after the split where there is a URL, so that a password from the environment needs no
        // percent-encoding.
        let parts = match written.contains("://") {
            true => split(&written).and_then(|parts| {
                let optional = |part: Option<String>| part.map(|part| expanded(&part)).transpose();
                Ok((expanded(&parts.location)?, optional(parts.user)?, optional(parts.password)?))
            }),
            false => {
                expanded(&written).and_then(|whole| split(&whole)).map(|p| (p.location, p.user, p.password))
            }
        };
        let (mut location, user, password) = match parts {
            Ok(parts) => parts,
            Err(message) => {
                let remedy = "mend it; credentials are better given as user and password";
                self.problem(camera, "location", message, remedy);
                return Default::default();
            }
        };
        match pipeline {
            "rtsp" => {
                if let Err(message) = check_rtsp(&location) {
                    let remedy = "write rtsp://HOST[:PORT]/PATH; give credentials as user and password, or \
                                  percent-encode / ? # @ : % in them";
                    self.problem(camera, "location", message, remedy);
                }
            }
            "file" => {
                let path = self.around.dir.join(&location);
                if !path.is_file() {
                    let message = format!("no such file: {}", path.display());
                    // Not a mistake in itself: the file may come, and the other cameras do without it.
                    self.warn(camera, "location", message, "name a video file that exists");
                }
                location = path.display().to_string();
            }
            "v4l2" if !location.starts_with("/dev/") => {
                let remedy = "name a device such as \"/dev/video0\" (`v4l2-ctl --list-devices` lists them)";
                self.problem(camera, "location", "not a device", remedy);
            }
            // Whatever else a description takes as a location may be a file, too.
            _ if self.around.dir.join(&location).is_file() => {
                location = self.around.dir.join(&location).display().to_string();
            }
            _ => {}
        }
        let in_location = user.is_some() || password.is_some();
        if in_location {
            let message = "credentials inside the location";
            let remedy = "give them as user and password (or password_file), where they need no escaping";
            self.warn(camera, "location", message, remedy);
            for key in ["user", "password", "password_file"] {
                if camera.has(key) {
                    self.problem(camera, key, "the location holds credentials too", "remove one of the two");
                }
            }
            return (location, user, password);
        }
        let user = self.secret(camera, "user");
        let password = self.password(camera);
        if password.is_some() && user.is_none() && !camera.has("user") {
            self.problem(camera, "user", "missing beside the password", "add user = \"...\"");
        }
        (location, user, password)
    }

    fn secret(&mut self, camera: &Section, key: &str) -> Option<String> {
        let written: String = camera.find(key)?;
        match expand(&written, self.around.env) {
            Ok(value) => {
                if !matches!(key, "user" | "token_hash") && value == written && self.around.world_readable {
                    let message = format!("a {key} in a file that every user of this machine can read");
                    let remedy = format!("chmod 600 the file, or use {key}_file or \"${{NAME}}\"");
                    self.warn(camera, key, message, remedy);
                }
                Some(value)
            }
            Err(message) => {
                self.problem(camera, key, message, "set the variable, or write \"$${\" for a plain \"${\"");
                None
            }
        }
    }

    /// From `password`, or from the first line of `password_file`.
    fn password(&mut self, camera: &Section) -> Option<String> {
        self.secret_of(camera, "password", "password_file")
    }

    /// From `key`, or from the first line of the file that `key_file` names; a bare name is looked for among the
    /// credentials that systemd passes on first.
    fn secret_of(&mut self, section: &Section, key: &str, key_file: &str) -> Option<String> {
        let Some(name) = section.find::<String>(key_file) else {
            return self.secret(section, key);
        };
        if section.has(key) {
            self.problem(section, key, format!("given beside {key_file}"), "remove one of the two");
        }
        let credentials = (self.around.env)("CREDENTIALS_DIRECTORY").filter(|_| !name.contains('/'));
        let passed = credentials.map(|dir| Path::new(&dir).join(&name)).filter(|path| path.is_file());
        let path = passed.unwrap_or_else(|| self.around.dir.join(&name));
        let problem = match std::fs::read_to_string(&path) {
            Ok(text) => match text.lines().next().filter(|line| !line.is_empty()) {
                Some(line) => return Some(line.to_string()),
                None => "its first line is empty".into(),
            },
            Err(error) => format!("cannot read {}: {error}", path.display()),
        };
        let remedy = format!(
            "put the {key} on its first line, readable by the daemon; under systemd, LoadCredential= brings it"
        );
        self.problem(section, key_file, problem, remedy);
        None
    }

    fn detector(&mut self, section: &Section) -> Detector {
        let extractor = match section.get::<String>("extractor").as_str() {
            "v1" => Extractor::V1 {
                width: section.get::<u64>("width") as u32,
                height: section.get::<u64>("height") as u32,
                fps: section.get("fps"),
                whole_frame: section.get("whole_frame"),
            },
            file => {
                self.model_file(section, "extractor", &["v1"]);
                Extractor::File(self.around.dir.join(file))
            }
        };
        let stride = section.find::<u64>("stride").map_or(extractor.usual_stride(), |stride| stride as usize);
        let scorer: String = section.get("scorer");
        let scorer = match Method::named(&scorer) {
            Some(method) if method.needs_labels() => {
                let message =
                    format!("{method} is learned from labelled clips, not in place from a camera's life");
                let remedy = format!(
                    "learn it with `sigmawatch learn --scorer {method} --from DIR --out FILE`, and name that file"
                );
                self.problem(section, "scorer", message, remedy);
                Scorer::Learned(Method::default())
            }
            Some(method) => Scorer::Learned(method),
            None => {
                self.model_file(section, "scorer", &Method::NAMES);
                Scorer::File(self.around.dir.join(scorer))
            }
        };
        let threshold = Threshold {
            k: section.get("k"),
            budget: self.budget(section),
            open_n: section.get::<u64>("open_n") as usize,
            open_m: section.get::<u64>("open_m") as usize,
            close_after: section.get("close_after"),
            hysteresis: section.get("hysteresis"),
            baseline: Baseline::named(&section.get::<String>("baseline")).unwrap_or(Baseline::One),
            cool_down: section.get("cool_down"),
            most_alerts: section.get("most_alerts"),
        };
        if threshold.open_n > threshold.open_m {
            let message = format!("{} of the last {} can never be", threshold.open_n, threshold.open_m);
            self.problem(section, "open_n", message, "make open_n at most open_m");
        }
        Detector {
            name: section.get::<String>("name").into(),
            extractor,
            provider: Provider::named(&section.get::<String>("provider")).unwrap_or_default(),
            scorer,
            learning: Learning {
                watch_for: section.get("watch_for"),
                again_every: section.get::<Option<_>>("learn_again_every"),
                start: section.get::<u64>("start") as u8,
                sampler: Sampler::named(&section.get::<String>("sampler")).unwrap_or_default(),
            },
            threshold,
            stride,
        }
    }

    fn budget(&mut self, section: &Section) -> Option<Budget> {
        let written: String = section.get("budget");
        let budget = Budget::parse(&written);
        if budget.is_none() && written != "none" {
            let remedy =
                "write \"1/hour\", \"2/day\", \"1/week\" (at most 12/hour), or \"none\" for mu + k sigma";
            self.problem(section, "budget", "no false-alarm budget", remedy);
        }
        budget
    }

    fn model_file(&mut self, section: &Section, key: &str, built_in: &[&str]) {
        let written: String = section.get(key);
        let path = self.around.dir.join(&written);
        let built_in = built_in.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        if !written.ends_with(".onnx") {
            let message = format!("neither {built_in} nor a model file");
            self.problem(section, key, message, format!("write {built_in} or a path that ends in .onnx"));
        } else if !path.is_file() {
            let message = format!("no such file: {}", path.display());
            self.problem(section, key, message, format!("name a model file that exists, or {built_in}"));
        }
    }
}

/// Name of the verdict that a camera's detectors come to together.
pub const FUSED: &str = "fused";

/// Keys whose values are quoted in messages of this file.
const SHOWN: [&str; 15] = [
    "dir",
    "path",
    "onnxruntime",
    "pipelines",
    "name",
    "source",
    "location",
    "ca",
    "password_file",
    "extractor",
    "scorer",
    "budget",
    "tls_cert",
    "tls_key",
    "expires",
];

/// May stand as a file's name without meaning another folder.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// What `source` may be, for people.
fn descriptions(pipelines: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(pipelines)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".pipeline")?.to_string()))
        .collect();
    names.sort();
    names.insert(0, "synthetic".into());
    format!("choose one of {}", names.join(", "))
}
