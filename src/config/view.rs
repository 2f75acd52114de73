//! The configuration in force as JSON, laid out as `config.toml`, without secrets.

use super::location::redacted;
use super::units::{format_duration, format_size};
use super::{Camera, Config, Detector, Extractor, Fusion, Scorer, Secret, Sink, Source, To, User};
use serde_json::{Value, json};

impl Config {
    /// What `/api/config` and `check --json` show: every value in force, defaults included; users and
    /// passwords masked, hosts and paths left visible.
    pub fn redacted(&self) -> Value {
        json!({
            "http": {
                "listen": self.http.listen.to_string(),
                "hosts": self.http.hosts,
                "tls_cert": self.http.tls.as_ref().map(|tls| &tls.cert),
                "tls_key": self.http.tls.as_ref().map(|tls| &tls.key),
            },
            "user": self.users.iter().map(user).collect::<Vec<_>>(),
            "store": {
                "dir": self.store.dir,
                "keep": format_duration(self.store.keep),
                "keep_reviewed": format_duration(self.store.keep_reviewed),
                "max_size": format_size(self.store.max_size),
                "min_free": format_size(self.store.min_free),
            },
            "runtime": {
                "onnxruntime": self.runtime.onnxruntime,
                "pipelines": self.runtime.pipelines,
                "workers": self.runtime.workers,
                "timezone": self.runtime.timezone.iana_name().unwrap_or("the system's"),
            },
            "camera": self.cameras.iter().map(camera).collect::<Vec<_>>(),
            "sink": self.sinks.iter().map(sink).collect::<Vec<_>>(),
        })
    }
}

fn user(user: &User) -> Value {
    json!({
        "name": user.name,
        "role": user.role,
        "password_hash": user.password_hash.as_ref().map(|_| "***"),
        "token_hash": user.token_hash.as_ref().map(|_| "***"),
        "expires": user.expires,
        "cameras": user.cameras,
    })
}

fn camera(camera: &Camera) -> Value {
    let mut view = match &camera.source {
        Source::Synthetic(scene) => json!({
            "source": "synthetic",
            "seed": scene.seed,
            "real_time": !scene.as_fast_as_possible,
        }),
        Source::Gst(gst) => json!({
            "source": gst.pipeline,
            "location": redacted(&gst.location),
            "user": gst.user.as_ref().map(|_| "***"),
            "password": gst.password.as_ref().map(|_| "***"),
            "ca": gst.ca,
            "transport": gst.transport,
            "live": gst.live,
            "real_time": gst.real_time,
            "isolate": gst.isolate,
        }),
    };
    view["name"] = json!(&*camera.name);
    view["hold"] = json!(format_duration(camera.hold));
    view["clips"] = json!(camera.clips.is_some());
    if let Some(clips) = camera.clips {
        view["clip_before"] = json!(format_duration(clips.before));
        view["clip_after"] = json!(format_duration(clips.after));
        view["clip_longest"] = json!(format_duration(clips.longest));
        view["clip_memory"] = json!(format_size(clips.memory as u64));
    }
    view["stall_after"] = json!(format_duration(camera.stall_after));
    view["detector"] = camera.detectors.iter().map(detector).collect();
    view["fusion"] = match camera.fusion {
        Fusion::None => json!("none"),
        Fusion::All(rule) => json!(rule),
    };
    view["enabled"] = json!(camera.enabled);
    view["detect"] = json!(camera.detect);
    view["schedule"] = match &camera.schedule {
        None => json!("always"),
        Some(schedule) => schedule.spans().collect(),
    };
    view["scene_change"] = json!(camera.scene_change);
    view["masks"] = json!(camera.masks);
    view["zones"] = camera.zones.iter().map(|(name, polygon)| (name.clone(), json!(polygon))).collect();
    view
}

fn sink(sink: &Sink) -> Value {
    let wants = &sink.wants;
    let changes = [("new", wants.new), ("update", wants.update), ("end", wants.end)];
    let masked = |secret: &Option<Secret>| secret.as_ref().map(|_| "***");
    let mut view = match &sink.to {
        To::Webhook(hook) => json!({
            "url": format!("{}/***", hook.host()),
            "secret": masked(&hook.secret),
            "token": masked(&hook.token),
            "user": masked(&hook.user),
            "password": masked(&hook.password),
            "template": hook.template.as_ref().map(|_| "(given)"),
            "content_type": hook.content_type,
            "timeout": format_duration(hook.timeout),
            "ca_file": hook.ca.as_ref().map(|_| "(given)"),
        }),
        To::Mqtt(broker) => json!({
            "url": format!("{}://{}:{}", if broker.tls { "mqtts" } else { "mqtt" }, broker.host, broker.port),
            "user": masked(&broker.user),
            "password": masked(&broker.password),
            "client_id": broker.client_id,
            "prefix": broker.prefix,
            "qos": broker.qos,
            "discovery": broker.discovery.as_deref().unwrap_or("none"),
            "scores": broker.scores,
            "commands": broker.commands,
            "timeout": format_duration(broker.timeout),
            "ca_file": broker.ca.as_ref().map(|_| "(given)"),
        }),
        To::Email(mail) => json!({
            "server": format!("{}:{}", mail.host, mail.port),
            "tls": mail.tls,
            "user": masked(&mail.user),
            "password": masked(&mail.password),
            "from": mail.from,
            "to": mail.to,
            "at_most_every": format_duration(mail.at_most_every),
            "timeout": format_duration(mail.timeout),
            "ca_file": mail.ca.as_ref().map(|_| "(given)"),
        }),
        To::Jsonl(file) => json!({
            "path": file.path,
            "max_size": file.max_size >> 20,
            "keep_files": file.keep_files,
        }),
    };
    view["name"] = json!(sink.name);
    view["kind"] = json!(sink.to.kind());
    view["cameras"] = json!(wants.cameras);
    view["min_severity"] = json!(wants.min_severity);
    view["changes"] = changes.iter().filter(|(_, wanted)| *wanted).map(|(change, _)| json!(change)).collect();
    view["camera_states"] = json!(wants.camera_states);
    view["give_up_after"] = json!(format_duration(sink.give_up_after));
    view
}

fn detector(detector: &Detector) -> Value {
    let mut view = match &detector.extractor {
        Extractor::V1 { width, height, fps, whole_frame } => json!({
            "extractor": "v1",
            "width": width,
            "height": height,
            "fps": fps,
            "whole_frame": whole_frame,
        }),
        Extractor::File(path) => json!({ "extractor": path }),
    };
    view["provider"] = json!(detector.provider);
    view["scorer"] = match &detector.scorer {
        Scorer::Learned(method) => json!(method),
        Scorer::File(path) => json!(path),
    };
    view["name"] = json!(detector.name);
    view["stride"] = json!(detector.stride);
    view["start"] = json!(detector.learning.start);
    view["sampler"] = json!(detector.learning.sampler);
    view["watch_for"] = json!(format_duration(detector.learning.watch_for));
    view["learn_again_every"] =
        json!(detector.learning.again_every.map_or_else(|| "never".to_string(), format_duration));
    view["k"] = json!(detector.threshold.k);
    view["budget"] = json!(detector.threshold.budget.map_or_else(|| "none".to_string(), |b| b.to_string()));
    view["open_n"] = json!(detector.threshold.open_n);
    view["open_m"] = json!(detector.threshold.open_m);
    view["close_after"] = json!(format_duration(detector.threshold.close_after));
    view["hysteresis"] = json!(detector.threshold.hysteresis);
    view["baseline"] = json!(detector.threshold.baseline.name());
    view["cool_down"] = json!(format_duration(detector.threshold.cool_down));
    view["most_alerts"] = detector.threshold.most_alerts.map_or(json!("none"), |rate| json!(rate));
    view
}
