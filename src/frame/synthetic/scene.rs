//! Who is on the plaza at a moment: everyday walkers, and the incidents of the script with their truth.

use super::backdrop::{half_width, share};
use super::figure::{Figure, Pose};
use super::raster::chance;

/// Pictures a second that the plaza's camera takes.
pub const FPS: u64 = 10;
/// Seconds of nothing but normal life, and between the starts of incidents after them.
const QUIET: f64 = 120.0;
const EVERY: f64 = 40.0;

/// A one-way stream of walkers: distance, direction, seconds between them.
const LANES: [(f32, f32, f64); 6] = [
    (11.0, 1.0, 8.0),
    (14.5, -1.0, 7.0),
    (19.0, 1.0, 6.5),
    (24.5, -1.0, 7.0),
    (31.2, 1.0, 8.0),
    (33.5, -1.0, 8.0),
];
/// Paths that lead towards the camera (-1) and away from it (1): metres to the right when far, when near.
const PATHS: [(f32, f32, f32, f64); 2] = [(-9.0, -2.6, -1.0, 17.0), (6.5, 3.4, 1.0, 19.0)];
const PATH_FAR: f32 = 49.0;
const PATH_NEAR: f32 = 7.2;

/// What is out of the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    Cyclist,
    WrongWayRunner,
    Loiterer,
    DroppedBag,
}

/// Ground truth of one incident, at one frame.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Truth {
    pub kind: IncidentKind,
    /// Half-open span of frame indices.
    pub from: u64,
    pub to: u64,
    /// Where, as shares of the picture: left, top, right, bottom in `0..=1`.
    pub region: [f32; 4],
}

/// The plaza's life: a pure function of the seed and the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    pub seed: u64,
}

/// One entry of the script.
#[derive(Debug, Clone, Copy)]
struct Incident {
    index: u64,
    kind: IncidentKind,
    start: f64,
    /// Seconds from the first to the last frame of the truth.
    length: f64,
    /// Direction, distance, metres a second, and where it happens.
    way: f32,
    z: f32,
    speed: f32,
    x: f32,
}

impl Scene {
    /// Everybody there, farthest first.
    pub(super) fn figures(&self, frame: u64) -> Vec<Figure> {
        let t = frame as f64 / FPS as f64;
        let mut all = vec![];
        for (lane, walk) in LANES.iter().enumerate() {
            self.walkers(lane as i64, *walk, t, &mut all);
        }
        for (path, walk) in PATHS.iter().enumerate() {
            self.strollers(100 + path as i64, *walk, t, &mut all);
        }
        for incident in self.incidents_near(t) {
            all.extend(self.actors(&incident, t));
        }
        all.sort_by(|a, b| b.z.total_cmp(&a.z));
        all
    }

    /// Incidents going on at a frame, with where they are.
    pub(super) fn truth(&self, frame: u64) -> Vec<Truth> {
        let t = frame as f64 / FPS as f64;
        self.incidents_near(t)
            .filter_map(|incident| {
                let (from, to) = incident.span();
                let boxes = self.actors(&incident, t).iter().map(Figure::bounds).collect::<Vec<_>>();
                let all = boxes
                    .into_iter()
                    .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])?;
                let region = share(all);
                let seen = region[2] > region[0] && region[3] > region[1];
                ((from..to).contains(&frame) && seen).then_some(Truth {
                    kind: incident.kind,
                    from,
                    to,
                    region,
                })
            })
            .collect()
    }

    /// The incidents whose actors may be about at `t`.
    fn incidents_near(&self, t: f64) -> impl Iterator<Item = Incident> + '_ {
        let newest = ((t + 20.0 - QUIET) / EVERY).floor().max(-1.0) as i64;
        ((newest - 2).max(0)..=newest).map(|i| self.incident(i as u64))
    }

    fn incident(&self, index: u64) -> Incident {
        let r = |k| chance(self.seed, [index as i64, k, 40]);
        let either = if r(0) < 0.5 { -1.0 } else { 1.0 };
        let start = QUIET + EVERY * index as f64;
        let (kind, way, z, speed, x) = match index % 4 {
            0 => (IncidentKind::Cyclist, either, 16.0 + 3.0 * r(1), 4.2 + 0.8 * r(2), 0.0),
            // Against the stream of the second lane.
            1 => (IncidentKind::WrongWayRunner, 1.0, 14.3 + 0.6 * r(1), 3.2 + 0.5 * r(2), 0.0),
            2 => (IncidentKind::Loiterer, either, 21.2 + 0.8 * r(1), 1.4, 4.0 * (r(3) - 0.5)),
            _ => (IncidentKind::DroppedBag, either, 16.4 + 0.6 * r(1), 1.4, 3.0 * (r(3) - 0.5)),
        };
        let length = match kind {
            IncidentKind::Cyclist | IncidentKind::WrongWayRunner => {
                f64::from(2.0 * (half_width(z) + 0.5) / speed)
            }
            IncidentKind::Loiterer => 20.0,
            IncidentKind::DroppedBag => 28.0,
        };
        Incident { index, kind, start, length, way, z, speed, x }
    }

    fn walkers(&self, lane: i64, (z, way, spacing): (f32, f32, f64), t: f64, all: &mut Vec<Figure>) {
        let reach = half_width(z) + 1.5;
        let newest = (t / spacing).floor() as i64;
        // The slowest needs this long to cross.
        let crossing = (f64::from(2.0 * reach) / 0.95 / spacing).ceil() as i64 + 1;
        for k in newest - crossing..=newest {
            let r = |i| chance(self.seed, [lane, k, i]);
            let entered = (k as f64 + 0.7 * f64::from(r(0))) * spacing;
            let speed = 0.95 + 0.6 * r(1);
            let gone = (t - entered) as f32 * speed;
            if (0.0..2.0 * reach).contains(&gone) {
                let weave = 0.22 * (0.35 * gone + 6.0 * r(2)).sin();
                all.push(Figure {
                    x: way * (gone - reach),
                    z: z + 0.9 * (r(3) - 0.5) + weave,
                    pose: Pose::Walk,
                    facing: way,
                    turns: gone / 1.4 + r(4),
                    looks: self.looks(lane, k),
                    carries: false,
                });
            }
        }
    }

    fn strollers(
        &self,
        path: i64,
        (far, near, way, spacing): (f32, f32, f32, f64),
        t: f64,
        all: &mut Vec<Figure>,
    ) {
        let length = PATH_FAR - PATH_NEAR;
        let newest = (t / spacing).floor() as i64;
        for k in newest - (f64::from(length) / 1.0 / spacing).ceil() as i64 - 1..=newest {
            let r = |i| chance(self.seed, [path, k, i]);
            let entered = (k as f64 + 0.7 * f64::from(r(0))) * spacing;
            let gone = (t - entered) as f32 * (1.0 + 0.5 * r(1));
            if (0.0..length).contains(&gone) {
                let z = if way > 0.0 { PATH_NEAR + gone } else { PATH_FAR - gone };
                let share = (z - PATH_NEAR) / length;
                all.push(Figure {
                    x: near + (far - near) * share + 0.8 * (r(2) - 0.5),
                    z,
                    pose: Pose::Walk,
                    facing: 0.3 * way * (far - near).signum(),
                    turns: gone / 1.4 + r(4),
                    looks: self.looks(path, k),
                    carries: false,
                });
            }
        }
    }

    fn looks(&self, lane: i64, k: i64) -> u64 {
        (f64::from(chance(self.seed, [lane, k, 77])) * 1e9) as u64
    }

    /// Whom an incident puts on the plaza at `t`.
    fn actors(&self, i: &Incident, t: f64) -> Vec<Figure> {
        let since = (t - i.start) as f32;
        let base = Figure {
            x: i.x,
            z: i.z,
            pose: Pose::Walk,
            facing: i.way,
            turns: 0.0,
            looks: self.looks(900, i.index as i64),
            carries: false,
        };
        let crossing = || {
            let gone = since * i.speed;
            let reach = half_width(i.z) + 0.5;
            ((-1.5..2.0 * reach + 1.5).contains(&gone)).then_some((i.way * (gone - reach), gone))
        };
        match i.kind {
            IncidentKind::Cyclist => crossing()
                .map(|(x, gone)| Figure { x, pose: Pose::Ride, turns: gone / 4.5, ..base })
                .into_iter()
                .collect(),
            IncidentKind::WrongWayRunner => crossing()
                .map(|(x, gone)| Figure { x, pose: Pose::Run, turns: gone / 2.3, ..base })
                .into_iter()
                .collect(),
            IncidentKind::Loiterer => vec![loiterer(base, i, since)],
            IncidentKind::DroppedBag => bag_and_bearer(base, i, since),
        }
    }
}

impl Incident {
    fn span(&self) -> (u64, u64) {
        let frames = |t: f64| (t * FPS as f64).round() as u64;
        (frames(self.start), frames(self.start + self.length))
    }
}

/// Comes, paces about and looks around where nobody else stops, and goes on.
fn loiterer(base: Figure, i: &Incident, since: f32) -> Figure {
    let stay = i.length as f32;
    if since < 0.0 || since > stay {
        let gone = if since < 0.0 { since } else { since - stay } * i.speed;
        return Figure { x: i.x + i.way * gone, turns: gone / 1.4, ..base };
    }
    // Back and forth over a metre, with a pause at each end.
    let swing = (since * std::f32::consts::TAU / 5.0).sin();
    let x = i.x
        + i.way
            * 0.75
            * swing.signum()
            * swing.abs().sqrt()
            * (since / 0.5).min(1.0)
            * ((stay - since) / 0.5).min(1.0);
    let turning = (since * std::f32::consts::TAU / 5.0).cos();
    let pose = if turning.abs() > 0.35 { Pose::Walk } else { Pose::Stand };
    Figure { x, pose, facing: i.way * turning.signum(), turns: since * 0.9, ..base }
}

/// Somebody stops, puts a bag down and hurries away; later comes back for it.
fn bag_and_bearer(base: Figure, i: &Incident, since: f32) -> Vec<Figure> {
    const DOWN: f32 = 2.5;
    let stay = i.length as f32;
    let bag = Figure { x: i.x + i.way * 0.35, z: i.z - 0.15, pose: Pose::Bag, ..base };
    let crouch = Figure { pose: Pose::Crouch, ..base };
    let left = half_width(i.z) + 1.5;
    if since < 0.0 {
        vec![Figure { x: i.x + i.way * i.speed * since, turns: i.speed * since / 1.4, carries: true, ..base }]
    } else if since < DOWN {
        vec![Figure { carries: since < DOWN / 2.0, ..crouch }]
            .into_iter()
            .chain((since >= DOWN / 2.0).then_some(bag))
            .collect()
    } else if since < stay - DOWN {
        let hurried = (since - DOWN) * 2.9;
        let back = (stay - DOWN - since) * 1.6;
        let bearer = if i.x.abs() + hurried < 2.0 * left {
            Some(Figure {
                x: i.x - i.way * hurried,
                pose: Pose::Run,
                facing: -i.way,
                turns: hurried / 2.3,
                ..base
            })
        } else if i.x.abs() + back < left {
            Some(Figure { x: i.x - i.way * back, turns: -back / 1.4, ..base })
        } else {
            None
        };
        bearer.into_iter().chain([bag]).collect()
    } else if since < stay {
        vec![Figure { carries: since > stay - DOWN / 2.0, ..crouch }]
            .into_iter()
            .chain((since <= stay - DOWN / 2.0).then_some(bag))
            .collect()
    } else {
        let gone = (since - stay) * i.speed;
        vec![Figure { x: i.x + i.way * gone, turns: gone / 1.4, carries: true, ..base }]
    }
}
