//! People, a bicycle and a bag, drawn with a few limbs each.

use super::backdrop::{project, scale};
use super::raster::{Canvas, Colour, Point, chance, mix};
use std::f32::consts::TAU;

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pose {
    Walk,
    Run,
    Stand,
    Crouch,
    Ride,
    /// Not a person: a bag left on the ground.
    Bag,
}

/// Somebody or something at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// Metres to the right, and away from the camera.
    pub x: f32,
    pub z: f32,
    pub pose: Pose,
    /// Where it goes: 1 is right, -1 left; between them also towards or away from the camera.
    pub facing: f32,
    /// Turns of the legs or pedals so far.
    pub turns: f32,
    /// Chooses clothes, height and build.
    pub looks: u64,
    /// Carries the bag.
    pub carries: bool,
}

impl Figure {
    fn height(&self) -> f32 {
        match self.pose {
            Pose::Bag => 0.4,
            Pose::Crouch => 1.15,
            _ => 1.6 + 0.28 * chance(self.looks, [1, 0, 0]),
        }
    }

    /// Left, top, right, bottom in scene units.
    pub(super) fn bounds(&self) -> [f32; 4] {
        let half = match self.pose {
            Pose::Ride => 0.95,
            Pose::Bag => 0.32,
            _ => 0.42,
        };
        let [left, bottom] = project(self.x - half, 0.0, self.z);
        let [right, top] = project(self.x + half, self.height() + 0.1, self.z);
        [left, top, right, bottom]
    }

    /// The sun stands high on the left, behind: shadows fall to the right and towards the camera.
    pub(super) fn draw_shadow(&self, canvas: &mut Canvas) {
        let (s, h) = (scale(self.z), self.height());
        let reach = if self.pose == Pose::Ride { 0.3 } else { 0.11 };
        let end = project(self.x + 0.75 * h, 0.0, self.z - 0.22 * h);
        canvas.capsule(project(self.x, 0.0, self.z), end, reach * s, [44.0, 44.0, 54.0], 0.3);
        canvas.ellipse(project(self.x, 0.0, self.z), [0.3 * s, 0.1 * s], [34.0, 34.0, 42.0], 0.35);
    }

    pub(super) fn draw(&self, canvas: &mut Canvas) {
        match self.pose {
            Pose::Bag => self.draw_bag(canvas, self.x, 0.0),
            Pose::Ride => self.draw_rider(canvas),
            _ => self.draw_person(canvas),
        }
    }

    fn draw_bag(&self, canvas: &mut Canvas, x: f32, up: f32) {
        let s = scale(self.z);
        let at = |dx: f32, dy: f32| project(x + dx, up + dy, self.z);
        canvas.ring(at(0.0, 0.32), 0.12 * s, 0.035 * s, [30.0, 28.0, 30.0]);
        canvas.capsule(at(-0.17, 0.16), at(0.17, 0.16), 0.15 * s, [38.0, 42.0, 62.0], 1.0);
        canvas.capsule(at(-0.16, 0.22), at(0.16, 0.22), 0.03 * s, [176.0, 64.0, 52.0], 1.0);
    }

    /// Coat or shirt, trousers, skin, hair.
    fn clothes(&self) -> [Colour; 4] {
        const TOPS: [Colour; 8] = [
            [58.0, 72.0, 104.0],
            [136.0, 52.0, 50.0],
            [206.0, 198.0, 184.0],
            [62.0, 86.0, 70.0],
            [48.0, 46.0, 50.0],
            [172.0, 138.0, 82.0],
            [96.0, 104.0, 116.0],
            [134.0, 92.0, 116.0],
        ];
        const TROUSERS: [Colour; 4] =
            [[44.0, 48.0, 62.0], [82.0, 76.0, 70.0], [34.0, 34.0, 38.0], [120.0, 110.0, 94.0]];
        let pick = |k: i64, n: usize| (chance(self.looks, [k, 0, 0]) * n as f32) as usize;
        let skin = mix([232.0, 192.0, 164.0], [112.0, 76.0, 56.0], chance(self.looks, [4, 0, 0]));
        let hair = mix([36.0, 28.0, 24.0], [150.0, 112.0, 70.0], chance(self.looks, [5, 0, 0]).powi(2));
        [TOPS[pick(2, TOPS.len())], TROUSERS[pick(3, TROUSERS.len())], skin, hair]
    }

    fn draw_person(&self, canvas: &mut Canvas) {
        let s = scale(self.z);
        let tall = 1.6 + 0.28 * chance(self.looks, [1, 0, 0]);
        let [top, trousers, skin, hair] = self.clothes();
        let (swing, bend, lean) = match self.pose {
            Pose::Run => (0.78, 0.9, 0.16),
            Pose::Walk => (0.42, 0.35, 0.03),
            Pose::Crouch => (0.15, 0.0, 0.35),
            _ => (0.04, 0.0, 0.0),
        };
        let low = if self.pose == Pose::Crouch { 0.55 } else { 1.0 };
        let phase = self.turns * TAU;
        let bob = 0.025 * (2.0 * phase).cos() * swing;
        let at = |dx: f32, up: f32| project(self.x + dx, up, self.z);
        let (side, spread) = (self.facing, 0.075 * (1.0 - self.facing.abs()) + 0.02);
        let hip_up = tall * 0.5 * low + bob;
        let shoulder_up = hip_up + tall * 0.31 * if low < 1.0 { 0.8 } else { 1.0 };
        let shoulder_x = side * lean * tall * 0.5;

        let limb = |canvas: &mut Canvas, points: [Point; 3], thick: f32, colour: Colour| {
            canvas.capsule(points[0], points[1], thick * s, colour, 1.0);
            canvas.capsule(points[1], points[2], thick * 0.82 * s, colour, 1.0);
        };
        let leg = |canvas: &mut Canvas, phase: f32, hip: f32, shade: f32| {
            let angle = swing * phase.sin();
            let lift = bend * phase.cos().max(0.0);
            let (thigh, shin) = (tall * 0.25 * low, tall * 0.25 * low);
            let knee = [
                hip + side * thigh * (angle + 0.5 * lift).sin(),
                hip_up - thigh * (angle + 0.5 * lift).cos(),
            ];
            let low_angle = angle - lift;
            let foot =
                [knee[0] + side * shin * low_angle.sin(), (knee[1] - shin * low_angle.cos()).max(0.03)];
            let colour = trousers.map(|c| c * shade);
            limb(canvas, [at(hip, hip_up), at(knee[0], knee[1]), at(foot[0], foot[1])], 0.075, colour);
            let toe = at(foot[0] + side * 0.13, foot[1]);
            canvas.capsule(at(foot[0], foot[1]), toe, 0.045 * s, [36.0, 32.0, 32.0], 1.0);
        };
        let arm = |canvas: &mut Canvas, phase: f32, offset: f32, shade: f32| {
            let angle = -swing * 0.85 * phase.sin() + lean;
            let forearm = angle + if self.pose == Pose::Run { 1.2 } else { 0.2 };
            let (upper, lower) = (tall * 0.17, tall * 0.16);
            let start = [shoulder_x + offset, shoulder_up - 0.05];
            let elbow = [start[0] + side * upper * angle.sin(), start[1] - upper * angle.cos()];
            let hand = [elbow[0] + side * lower * forearm.sin(), elbow[1] - lower * forearm.cos()];
            let colour = top.map(|c| c * shade);
            let points = [at(start[0], start[1]), at(elbow[0], elbow[1]), at(hand[0], hand[1])];
            limb(canvas, points, 0.055, colour);
            canvas.ellipse(points[2], [0.05 * s, 0.05 * s], skin, 1.0);
        };
        let far = if side >= 0.0 { -1.0 } else { 1.0 };
        arm(canvas, phase + TAU / 2.0, far * spread * 2.2, 0.72);
        leg(canvas, phase + TAU / 2.0, far * spread, 0.78);
        leg(canvas, phase, -far * spread, 1.0);
        canvas.capsule(
            at(0.0, hip_up),
            at(shoulder_x, shoulder_up - 0.06),
            0.15 * s,
            top.map(|c| c * 0.88),
            1.0,
        );
        // The side towards the sun.
        canvas.capsule(
            at(-0.06, hip_up + 0.03),
            at(shoulder_x - 0.06, shoulder_up - 0.07),
            0.06 * s,
            mix(top, [255.0; 3], 0.16),
            0.9,
        );
        arm(canvas, phase, -far * spread * 2.2, 1.0);
        let head = at(shoulder_x + side * 0.02, shoulder_up + tall * 0.105);
        canvas.capsule(at(shoulder_x, shoulder_up - 0.02), head, 0.05 * s, skin.map(|c| c * 0.85), 1.0);
        canvas.ellipse(head, [0.095 * s, 0.12 * s], skin, 1.0);
        let crown = at(shoulder_x - side * 0.015, shoulder_up + tall * 0.105 + 0.045);
        canvas.ellipse(crown, [0.1 * s, 0.085 * s], hair, 1.0);
        if self.carries {
            self.draw_bag(canvas, self.x + side * 0.12, if low < 1.0 { 0.05 } else { 0.42 });
        }
    }

    fn draw_rider(&self, canvas: &mut Canvas) {
        let s = scale(self.z);
        let [top, trousers, skin, _] = self.clothes();
        let d = self.facing.signum();
        let at = |dx: f32, up: f32| project(self.x + d * dx, up, self.z);
        let (steel, tyre) = ([178.0, 52.0, 44.0], [28.0, 28.0, 30.0]);
        for wheel in [-0.52, 0.52] {
            canvas.ring(at(wheel, 0.34), 0.33 * s, 0.055 * s, tyre);
            let spoke = -d * self.turns * 2.4 * TAU;
            for k in 0..3 {
                let a = spoke + k as f32 * TAU / 6.0;
                let (dx, dy) = (0.3 * a.cos(), 0.3 * a.sin());
                canvas.capsule(
                    at(wheel - dx, 0.34 - dy),
                    at(wheel + dx, 0.34 + dy),
                    0.012 * s,
                    [150.0; 3],
                    0.7,
                );
            }
        }
        let (crank, saddle, bar) = ([0.0, 0.32], [-0.2, 0.92], [0.42, 0.98]);
        for (a, b) in [
            (crank, saddle),
            (crank, [0.38, 0.82]),
            ([-0.15, 0.78], [0.38, 0.82]),
            (crank, [-0.52, 0.34]),
            ([-0.15, 0.78], [-0.52, 0.34]),
            ([0.52, 0.34], bar),
        ] {
            canvas.capsule(at(a[0], a[1]), at(b[0], b[1]), 0.028 * s, steel, 1.0);
        }
        let hip = [-0.18, 0.98];
        for (turn, shade) in [(0.5, 0.72), (0.0, 1.0)] {
            let a = -(self.turns + turn) * TAU;
            let foot = [crank[0] + 0.17 * a.cos(), crank[1] + 0.17 * a.sin()];
            let knee = [(hip[0] + foot[0]) / 2.0 + 0.2, (hip[1] + foot[1]) / 2.0 + 0.1];
            let colour = trousers.map(|c| c * shade);
            canvas.capsule(at(hip[0], hip[1]), at(knee[0], knee[1]), 0.08 * s, colour, 1.0);
            canvas.capsule(at(knee[0], knee[1]), at(foot[0], foot[1]), 0.06 * s, colour, 1.0);
        }
        canvas.capsule(at(hip[0], hip[1]), at(0.12, 1.45), 0.14 * s, top, 1.0);
        canvas.capsule(at(0.12, 1.42), at(bar[0], bar[1]), 0.05 * s, top.map(|c| c * 0.9), 1.0);
        canvas.ellipse(at(0.22, 1.66), [0.1 * s, 0.12 * s], skin, 1.0);
        canvas.ellipse(at(0.2, 1.73), [0.12 * s, 0.08 * s], [232.0, 232.0, 236.0], 1.0);
    }
}
