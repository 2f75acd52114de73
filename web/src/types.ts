// The wire: the shapes that the API answers with (docs/ref/api.md). Later fields are optional: an older daemon lacks them.

export type LinkState = "connecting" | "live" | "stalled" | "backing_off" | "finished";
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
  detectors: Detector[];
  links: { latest: string; scores: string; learn: string };
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
  top_regions: { row: number; column: number }[];
  factors: Factor[];
  map?: RegionMap;
  snapshot: string | null;
  thumbnail: string | null;
  review?: Review | null;
  clip?: string | null;
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
}

/** A limit, and the false alarms an hour expected under it, `low` to `high` with 90 % certainty. */
export interface CurvePoint {
  per_hour: number;
  limit: number;
  low: number;
  high: number;
  extrapolated: boolean;
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
