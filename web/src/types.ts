// The wire: the shapes that the API answers with (docs/ref/api.md). Later fields are optional: an older daemon lacks them.

export type LinkState = "connecting" | "live" | "stalled" | "lost" | "backing_off" | "disabled" | "finished";
export type Label = "true_alarm" | "false_alarm" | "unsure";
export type Role = "viewer" | "operator" | "admin";

export interface Camera {
  name: string;
  source: string;
  state: LinkState;
  healthy: boolean;
  problem: string | null;
  codec: string | null;
  width: number;
  height: number;
  fps: number;
  last_frame: string | null;
  last_frame_age_seconds: number | null;
  reconnects: number;
  frames: number;
  detect: Detect;
  places: Places;
  detectors: Detector[];
  links: { latest: string; scores: string; learn: string };
}

/** Whether a camera opens events: `on` is what is wanted, `state` what is so, and why. */
export interface Detect {
  on: boolean;
  state: "on" | "off" | "schedule" | "scene_change";
}

/** Corners in shares of the picture's width and height, from the top left. */
export type Polygon = [x: number, y: number][];

export interface Zone {
  name: string;
  polygon: Polygon;
}

/** Where and when a camera looks; without a schedule it always does. */
export interface Places {
  schedule: string[] | null;
  masks: Polygon[];
  zones: Zone[];
}

export interface Detector {
  name: string;
  method: string;
  alerts: boolean;
  segments: number;
  learning: {
    state: "learning" | "armed" | "relearning";
    progress: number;
    step: string;
    model_sha256: string | null;
    learned_at: string | null;
  };
  threshold: Threshold | null;
  score: number | null;
  probability: number | null;
  map: RegionMap | null;
  open_event: string | null;
}

export interface Threshold {
  limit: number;
  mu: number;
  sigma: number;
  k: number;
  /** The budget of false alarms that it comes from, in words. */
  budget?: string | null;
}

/** Scores by region, row by row from the top left. */
export interface RegionMap {
  rows: number;
  columns: number;
  covers_width: number;
  covers_height: number;
  regions: (number | null)[];
}

export interface Review {
  label: Label | null;
  note: string;
  time: string;
  by: string | null;
}

export interface Factor {
  factor: number;
  percentile: number;
  signal: string | null;
  r: number | null;
  text: string;
}

/** What is missing of a clip. */
export type Lack = "beginning" | "middle" | "end";

export interface ClipDetails {
  /** Arrival of its first picture. */
  start: string;
  seconds: number;
  bytes: number;
  codec: string;
  encoded_here: boolean;
  complete: boolean;
  lacks: Lack[];
}

/** Why nobody is told of an event. */
export type Quiet = "cool_down" | "rate_cap";

/** A segment of normal life that was much like an event. */
export interface Similar {
  time: string;
  distance: number;
  picture: string | null;
}

/** Which frames and features of an event moved. */
export interface Why {
  /** By frame, 0 to 1. */
  frames: number[];
  peak_frame: number;
  peak_time: string | null;
  features: { name: string; direction: string | null; speed: number | null; z: number; text: string }[];
  similar: Similar[];
}

export interface Incident {
  id: string;
  type: "new" | "update" | "end";
  camera: string;
  detector: string;
  start_time: string;
  end_time: string | null;
  last_time: string;
  score: number;
  top_score: number;
  probability: number | null;
  threshold: number;
  mu: number;
  sigma: number;
  k: number;
  budget?: string | null;
  scorer: string;
  model: { name: string; sha256: string };
  segments: { first: number; last: number };
  severity: "low" | "medium" | "high";
  clock_suspect: boolean;
  quiet: Quiet | null;
  top_regions: { row: number; column: number }[];
  zones: string[];
  factors: Factor[];
  map?: RegionMap;
  snapshot: string | null;
  thumbnail: string | null;
  review?: Review | null;
  why?: Why | null;
  clip?: string | null;
  clip_details?: ClipDetails | null;
}

export interface IncidentPage {
  events: Incident[];
  next: string | null;
}

/** One point of a timeline: the highest score of a piece of time, and where there is one the lowest. */
export interface ScorePoint {
  time: string;
  score: number | null;
  threshold: number | null;
  low?: number | null;
}

export interface Timeline {
  camera: string;
  detector: string;
  after: string;
  before: string;
  points: ScorePoint[];
}

/** A score as the stream tells it. */
export interface LiveScore {
  camera: string;
  detector: string;
  time: string;
  score: number | null;
  threshold: number;
  probability: number | null;
  /** Made of damaged data: not judged, and not drawn. */
  damaged: boolean;
}

/** A limit, and the false alarms an hour expected under it, `low` to `high` with 90 % certainty. */
export interface CurvePoint {
  per_hour: number;
  limit: number;
  low: number;
  high: number;
  extrapolated: boolean;
}

/** What is usual in a part of the day; `shared`: in the whole day, since too little of the part was seen. */
export interface Baseline {
  part: string;
  mu: number;
  sigma: number;
  shared: boolean;
}

export interface Calibration {
  camera: string;
  detector: string;
  budget: string | null;
  hours: number;
  blocks: number;
  block_seconds: number;
  seen: { limit: number; per_hour: number }[];
  curve: CurvePoint[];
  asked: CurvePoint | null;
  promise: { text: string; best: string | null; next: string | null };
  /** Empty where the time of day does not count, or too few days were seen. */
  baselines?: Baseline[];
}

/** Who is asking. `login`: people sign in here. */
export interface Me {
  name: string | null;
  role: Role;
  cameras: string[] | null;
  login: boolean;
}

/** A mistake in a configuration. */
export interface ConfigProblem {
  line: number;
  column: number;
  key: string;
  value: string | null;
  message: string;
  allowed: string | null;
  remedy: string;
}

export interface ConfigCheck {
  ok: boolean;
  problems: ConfigProblem[];
  warnings: ConfigProblem[];
}

/** What reading the configuration again has changed. */
export interface Reloaded {
  added: string[];
  changed: string[];
  removed: string[];
  unchanged: string[];
  /** Keys whose change waits for a restart. */
  needs_restart: string[];
  warnings: ConfigProblem[];
}

/** How a sink stands. */
export interface SinkStatus {
  name: string;
  kind: string;
  state: "ok" | "failing";
  /** Since the daemon started. */
  delivered: number;
  waiting: number;
  failing_since: string | null;
  last_error: string | null;
  dead_letters: number;
}

/** What a sink would not take. */
export interface DeadLetter {
  delivery: string;
  topic: string;
  camera: string;
  time: string;
  died: string;
  why: string;
  body: unknown;
}

/** What a setting would have done; `open`: an alarm opens with so many of so many segments. */
export interface Trial {
  k: number | null;
  budget: string | null;
  open: [number, number];
  threshold: number;
  extrapolated: boolean;
  alarms: number;
  alarms_per_day: number;
  true_kept: number;
  true_missed: string[];
  false_kept: number;
  false_gone: string[];
}

export interface BacktestAsked {
  detector: string;
  after?: string;
  k?: number[];
  budget?: string[];
  debounce?: [number, number][];
}

export interface Backtest {
  hours: number;
  segments: number;
  true_alarms: number;
  false_alarms: number;
  took_ms: number;
  in_force: Trial;
  rows: Trial[];
  notes: string[];
}

/** What a review would change. */
export interface Preview {
  threshold: { now: number; then: number };
  would_vanish: Incident[];
  would_appear: { start_time: string; end_time: string; top_score: number }[];
  text: string;
}
