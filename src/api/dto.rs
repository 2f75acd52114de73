//! The wire: every JSON shape that leaves the daemon, and every query that comes in.

use super::why::WhyDto;
use super::{CameraStatus, DetectState, DetectorStatus, LearningState, LinkState, PictureStatus, Places};
use crate::alert::{Change, Clip, Event, Label, Lack, Quiet, Review, Severity};
use crate::base::{CameraName, DetectorName, Timestamp};
use crate::config::{Budget, Role};
use crate::score::Reason;
use crate::store::ScorePoint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A camera. Ages and rates are as of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CameraDto {
    pub name: CameraName,
    pub source: String,
    pub state: LinkState,
    pub healthy: bool,
    /// Why it is not live or not healthy, with a remedy; null when all is well.
    pub problem: Option<String>,
    /// Whether the picture can be believed, while frames arrive.
    pub picture: PictureStatus,
    pub codec: Option<String>,
    pub width: u32,
    pub height: u32,
    /// Analysed frames a second, measured.
    pub fps: f64,
    pub last_frame: Option<Timestamp>,
    pub last_frame_age_seconds: Option<f64>,
    pub reconnects: u64,
    pub frames: u64,
    /// Whether it opens events.
    pub detect: DetectDto,
    /// Where and when it looks.
    pub places: Places,
    /// In the configuration's order; the fused one, if there is one, comes last.
    pub detectors: Vec<DetectorDto>,
    pub links: CameraLinks,
}

/// Whether a camera opens events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct DetectDto {
    /// It is wanted.
    pub on: bool,
    /// `on`, or why it does not now.
    pub state: DetectState,
}

/// A detector of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DetectorDto {
    pub name: DetectorName,
    /// For people, for example `v1+diffusion`.
    pub method: String,
    /// Opens events. One whose verdict is fused with others' does not.
    pub alerts: bool,
    /// Segments that it was given.
    pub segments: u64,
    pub learning: LearningDto,
    pub threshold: Option<ThresholdDto>,
    /// Newest score; null before the first, or when it is not finite.
    pub score: Option<f32>,
    /// How likely normal life gives a score as high: comparable between detectors.
    pub probability: Option<f64>,
    pub map: Option<MapDto>,
    /// Id of the event that is open now.
    pub open_event: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CameraLinks {
    pub latest: String,
    pub scores: String,
    pub calibration: String,
    pub learn: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LearningDto {
    pub state: LearningState,
    /// 0 to 1.
    pub progress: f64,
    pub step: String,
    pub model_sha256: Option<String>,
    pub learned_at: Option<Timestamp>,
}

/// `limit = mu + k sigma`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct ThresholdDto {
    pub limit: f64,
    pub mu: f64,
    pub sigma: f64,
    pub k: f64,
    /// The limit is the one that keeps this budget, and k what it comes to; null: k is as configured.
    pub budget: Option<Budget>,
}

/// Scores by region, row by row from the top left.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MapDto {
    pub rows: usize,
    pub columns: usize,
    /// Share of the picture's width and height, from the top left, that the grid lies over.
    pub covers_width: f64,
    pub covers_height: f64,
    pub regions: Vec<f32>,
}

impl From<&CameraStatus> for CameraDto {
    fn from(s: &CameraStatus) -> Self {
        Self {
            name: s.name.clone(),
            source: s.source.clone(),
            state: s.link,
            healthy: s.healthy,
            problem: s.problem.clone(),
            picture: s.picture,
            codec: s.stream.codec.clone(),
            width: s.stream.width,
            height: s.stream.height,
            fps: s.fps,
            last_frame: s.last_frame,
            last_frame_age_seconds: s.last_frame_age,
            reconnects: s.reconnects,
            frames: s.frames,
            detect: DetectDto { on: s.detect.on, state: s.detect.state },
            places: Places::clone(&s.places),
            detectors: s.detectors.iter().map(DetectorDto::from).collect(),
            links: CameraLinks {
                latest: format!("/api/cameras/{}/latest.jpg", s.name),
                scores: format!("/api/cameras/{}/scores", s.name),
                calibration: format!("/api/cameras/{}/calibration", s.name),
                learn: format!("/api/cameras/{}/learn", s.name),
            },
        }
    }
}

impl From<&DetectorStatus> for DetectorDto {
    fn from(s: &DetectorStatus) -> Self {
        Self {
            name: s.name.clone(),
            method: s.method.clone(),
            alerts: s.alerts,
            segments: s.segments,
            learning: LearningDto {
                state: s.learning.state,
                progress: s.learning.progress,
                step: s.learning.step.clone(),
                model_sha256: s.learning.model_sha256.clone(),
                learned_at: s.learning.learned_at,
            },
            threshold: s.threshold.map(|t| ThresholdDto {
                limit: t.limit(),
                mu: t.mu,
                sigma: t.sigma,
                k: t.k,
                budget: t.budget,
            }),
            score: s.last_score.filter(|v| v.is_finite()),
            probability: s.probability.filter(|p| p.is_finite()),
            map: s.grid.map(|g| MapDto {
                rows: g.rows,
                columns: g.cols,
                covers_width: s.covers.width,
                covers_height: s.covers.height,
                regions: s.regions.clone(),
            }),
            open_event: s.open_event.clone(),
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EventDto {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Change,
    pub camera: CameraName,
    pub detector: DetectorName,
    pub start_time: Timestamp,
    /// Null while open.
    pub end_time: Option<Timestamp>,
    /// Last time it was above the threshold.
    pub last_time: Timestamp,
    pub score: f32,
    pub top_score: f32,
    /// How likely normal life gives a score as high as `top_score`; null where that is not known.
    pub probability: Option<f64>,
    pub threshold: f64,
    pub mu: f64,
    pub sigma: f64,
    pub k: f64,
    /// The limit was the one that keeps this budget.
    pub budget: Option<Budget>,
    pub scorer: String,
    pub model: ModelDto,
    pub segments: SegmentsDto,
    pub severity: Severity,
    /// The wall clock was set while it lasted or shortly before: its times may be wrong.
    pub clock_suspect: bool,
    /// Why it is announced to nobody: `cool_down` or `rate_cap`; null where it is announced.
    pub quiet: Option<Quiet>,
    /// Strangest regions, strangest first.
    pub top_regions: Vec<RegionDto>,
    /// Names of the zones that hold the strangest regions.
    pub zones: Vec<String>,
    /// Learned factors that moved most in the strangest region, most first; empty where the scorer has none.
    pub factors: Vec<FactorDto>,
    /// Which frames and features moved, and what normal life was most like it; null where that is not known.
    pub why: Option<WhyDto>,
    /// Only where one event was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<MapDto>,
    /// What a person made of it; null where nobody did.
    pub review: Option<Review>,
    /// Null where there is no picture (yet).
    pub snapshot: Option<String>,
    pub thumbnail: Option<String>,
    /// Null where there is no clip (yet).
    pub clip: Option<String>,
    pub clip_details: Option<ClipDto>,
    /// False where the alert is told before it is on disk, since the store cannot be written; told again when it is.
    pub stored: bool,
}

/// What is known of a clip.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ClipDto {
    /// Arrival of its first picture.
    pub start: Timestamp,
    pub seconds: f64,
    pub bytes: u64,
    /// `H.264` or `H.265`; not every browser plays the latter.
    pub codec: String,
    /// Encoded here, small, since the camera sends neither; otherwise the camera's own video.
    pub encoded_here: bool,
    /// Nothing of what was asked for is missing.
    pub complete: bool,
    /// What is missing.
    pub lacks: Vec<Lack>,
}

impl From<&Clip> for ClipDto {
    fn from(clip: &Clip) -> Self {
        Self {
            start: clip.start,
            seconds: clip.seconds,
            bytes: clip.bytes,
            codec: clip.codec.clone(),
            encoded_here: clip.encoded_here,
            complete: clip.lacks.is_empty(),
            lacks: clip.lacks.clone(),
        }
    }
}

/// A learned factor that moved.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FactorDto {
    pub factor: usize,
    /// Per cent of normal life's segments in which it contributed less.
    pub percentile: f64,
    /// What goes with it in normal life, and how well (Pearson's r); null where nothing does.
    pub signal: Option<String>,
    pub r: Option<f64>,
    /// The same in words.
    pub text: String,
}

impl From<&Reason> for FactorDto {
    fn from(reason: &Reason) -> Self {
        Self {
            factor: reason.factor,
            percentile: reason.percentile,
            signal: reason.goes_with.as_ref().map(|c| c.signal.clone()),
            r: reason.goes_with.as_ref().map(|c| c.r),
            text: reason.to_string(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModelDto {
    pub name: String,
    pub sha256: String,
}

/// First and last segment above the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct SegmentsDto {
    pub first: u64,
    pub last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct RegionDto {
    pub row: usize,
    pub column: usize,
}

impl EventDto {
    /// Without the map, for lists and streams.
    pub fn brief(event: &Event, kind: Change) -> Self {
        let media = |name| event.has_snapshot.then(|| format!("/api/events/{}/{name}", event.id));
        Self {
            id: event.id.clone(),
            kind,
            camera: event.camera.clone(),
            detector: event.detector.clone(),
            start_time: event.start_time,
            end_time: event.end_time,
            last_time: event.last_time,
            score: event.score,
            top_score: event.top_score,
            probability: event.probability,
            threshold: event.threshold,
            mu: event.mu,
            sigma: event.sigma,
            k: event.k,
            budget: event.budget,
            scorer: event.scorer.clone(),
            model: ModelDto { name: event.model.name.clone(), sha256: event.model.sha256.clone() },
            segments: SegmentsDto { first: event.first_segment, last: event.last_segment },
            severity: event.severity,
            clock_suspect: event.clock_suspect,
            quiet: event.quiet,
            top_regions: event
                .top_regions
                .iter()
                .map(|(row, column)| RegionDto { row: *row, column: *column })
                .collect(),
            zones: event.zones.clone(),
            factors: event.factors.iter().map(FactorDto::from).collect(),
            why: event.why.as_ref().map(|why| WhyDto::of(&event.id, why)),
            map: None,
            review: event.review.clone(),
            snapshot: media("snapshot.jpg"),
            thumbnail: media("thumbnail.jpg"),
            clip: event.clip.as_ref().map(|_| format!("/api/events/{}/clip.mp4", event.id)),
            clip_details: event.clip.as_ref().map(ClipDto::from),
            stored: true,
        }
    }

    /// Without the map; `new` while open, `end` when over.
    pub fn listed(event: &Event) -> Self {
        Self::brief(event, if event.end_time.is_some() { Change::End } else { Change::New })
    }

    /// With the map.
    pub fn full(event: &Event) -> Self {
        let map = MapDto {
            rows: event.grid.rows,
            columns: event.grid.cols,
            covers_width: event.covers.width,
            covers_height: event.covers.height,
            regions: event.regions.clone(),
        };
        Self { map: Some(map), ..Self::listed(event) }
    }
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EventsDto {
    /// Newest first.
    pub events: Vec<EventDto>,
    /// `cursor` of the next page; null at the end.
    pub next: Option<String>,
}

/// The score of one segment, as the stream tells it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScoreDto {
    pub camera: CameraName,
    pub detector: DetectorName,
    pub time: Timestamp,
    /// Null when it is not finite.
    pub score: f64,
    pub threshold: f64,
    /// How likely normal life gives a score as high.
    pub probability: f64,
    /// It is made of damaged or incomplete data: it raises no alert, and is not kept.
    pub damaged: bool,
}

/// A stretch of a camera's score timeline.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScoresDto {
    pub camera: CameraName,
    pub detector: DetectorName,
    pub after: Timestamp,
    pub before: Timestamp,
    /// Length of the pieces of time of which each gives its highest score; null: every segment.
    pub step: Option<f64>,
    /// Oldest first.
    pub points: Vec<ScorePoint>,
}

/// Whether the daemon does its work.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ReadyDto {
    pub status: &'static str,
    pub cameras: usize,
    /// Those that deliver frames and are healthy, or have been played to their end.
    pub cameras_well: usize,
    /// The store takes what is written to it.
    pub store_well: bool,
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MeDto {
    /// Null where nobody needs to log in.
    pub name: Option<String>,
    pub role: Role,
    /// The only cameras that this user sees; null: all.
    pub cameras: Option<Vec<CameraName>>,
    /// Whether the daemon has users at all.
    pub login: bool,
}

/// Body of `/api/login`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    pub name: String,
    pub password: String,
}

/// Query of `/api/cameras/{name}/latest.jpg`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PictureQuery {
    pub width: Option<u32>,
}

/// Query of `/api/events/{id}/snapshot.jpg`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotQuery {
    /// With the map drawn over it, unless told otherwise.
    pub map: Option<bool>,
    /// Means nothing: another address makes a browser ask again.
    #[serde(rename = "v")]
    pub _version: Option<String>,
}

/// Query of `/api/cameras/{name}/scores`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoresQuery {
    /// The camera's first one that opens events, where nothing is said.
    pub detector: Option<String>,
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
    /// Seconds.
    pub step: Option<f64>,
    /// Instead of `step`: at most so many points.
    pub points: Option<usize>,
}

/// Query of `/api/cameras/{name}/learn`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnQuery {
    pub detector: Option<String>,
}

/// Body of `/api/cameras/{name}/detect`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectBody {
    pub on: bool,
}

/// Query of `/api/events`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Names, separated by commas.
    pub cameras: Option<String>,
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
    pub min_score: Option<f64>,
    pub max_score: Option<f64>,
    pub in_progress: Option<bool>,
    pub reviewed: Option<bool>,
    pub label: Option<Label>,
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

/// Body of `POST /api/events/{id}/review`. Neither label nor note takes a review back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    #[serde(default)]
    pub label: Option<Label>,
    #[serde(default)]
    pub note: String,
}
