//! The one table of who may do what: every route of the API and every command that comes by MQTT.
//!
//! What is not in the table cannot be done: the router refuses to be built with a route that has no line here, and
//! [`allows`] refuses what it does not find. A test tries every line with every kind of caller.

use super::Caller;
use crate::config::Role;

/// What somebody must be to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nobody in particular: also who has not logged in.
    Nobody,
    /// A user of this role or a higher one.
    Role(Role),
}

/// What a user who is limited to some cameras gets of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it: it is about no camera.
    Daemon,
    /// It is about the camera `{name}` of the path: refused where that is another's.
    Camera,
    /// It is about the event `{id}` of the path: refused where the event is of another's camera.
    Event,
    /// It is about several cameras: others' are left out of the answer.
    Listed,
    /// It is about every camera at once: refused.
    AllCameras,
}

/// One thing that can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `GET` (which HEAD counts as), `POST` or `MQTT`.
    pub method: &'static str,
    /// As the router writes it, or the command's topic below the prefix.
    pub path: &'static str,
    pub need: Need,
    pub scope: Scope,
}

const ANYBODY: Need = Need::Nobody;
const VIEWER: Need = Need::Role(Role::Viewer);
const OPERATOR: Need = Need::Role(Role::Operator);
const ADMIN: Need = Need::Role(Role::Admin);

const fn get(path: &'static str, need: Need, scope: Scope) -> Rule {
    Rule { method: "GET", path, need, scope }
}

const fn post(path: &'static str, need: Need, scope: Scope) -> Rule {
    Rule { method: "POST", path, need, scope }
}

/// Everything that can be done, and by whom.
pub const TABLE: &[Rule] = &[
    // The page itself holds nothing of anybody's; what it shows comes from the routes below.
    get("/", ANYBODY, Scope::Daemon),
    get("/assets/{file}", ANYBODY, Scope::Daemon),
    get("/docs", ANYBODY, Scope::Daemon),
    get("/api/openapi.json", ANYBODY, Scope::Daemon),
    get("/api/config/schema.json", ANYBODY, Scope::Daemon),
    // For watchdogs and load balancers, which have no users. They say nothing of any camera.
    get("/healthz", ANYBODY, Scope::Daemon),
    get("/readyz", ANYBODY, Scope::Daemon),
    post("/api/login", ANYBODY, Scope::Daemon),
    post("/api/logout", ANYBODY, Scope::Daemon),
    get("/api/me", VIEWER, Scope::Daemon),
    // Its samples are of every camera.
    get("/metrics", VIEWER, Scope::AllCameras),
    get("/api/config", ADMIN, Scope::AllCameras),
    // It says which files there are.
    post("/api/config/check", ADMIN, Scope::AllCameras),
    post("/api/config/reload", ADMIN, Scope::AllCameras),
    get("/api/cameras", VIEWER, Scope::Listed),
    get("/api/cameras/{name}", VIEWER, Scope::Camera),
    get("/api/cameras/{name}/latest.jpg", VIEWER, Scope::Camera),
    get("/api/cameras/{name}/scores", VIEWER, Scope::Camera),
    get("/api/cameras/{name}/calibration", VIEWER, Scope::Camera),
    // It reads much.
    post("/api/cameras/{name}/backtest", OPERATOR, Scope::Camera),
    post("/api/cameras/{name}/learn", OPERATOR, Scope::Camera),
    post("/api/cameras/{name}/detect", OPERATOR, Scope::Camera),
    get("/api/events", VIEWER, Scope::Listed),
    get("/api/events/{id}", VIEWER, Scope::Event),
    get("/api/events/{id}/snapshot.jpg", VIEWER, Scope::Event),
    get("/api/events/{id}/thumbnail.jpg", VIEWER, Scope::Event),
    get("/api/events/{id}/similar.jpg", VIEWER, Scope::Event),
    get("/api/events/{id}/clip.mp4", VIEWER, Scope::Event),
    post("/api/events/{id}/review", OPERATOR, Scope::Event),
    post("/api/events/{id}/review/preview", OPERATOR, Scope::Event),
    get("/api/stream", VIEWER, Scope::Listed),
    // Letters of every camera.
    get("/api/store", VIEWER, Scope::AllCameras),
    get("/api/sinks", VIEWER, Scope::AllCameras),
    get("/api/sinks/{name}/dead", OPERATOR, Scope::AllCameras),
    post("/api/sinks/{name}/dead/retry", OPERATOR, Scope::AllCameras),
];

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("nothing of this kind can be done")]
    NoRule,
    #[error("this needs a login: POST /api/login, or a token in the Authorization header")]
    Unknown,
    #[error("this needs the role {needed}, and you are {has}")]
    Role { needed: Role, has: Role },
    #[error("this is about cameras that are not among yours")]
    Camera,
}

/// The table's line for a method (HEAD as GET) and a path as the router writes it.
pub fn rule(method: &str, path: &str) -> Option<&'static Rule> {
    let method = if method == "HEAD" { "GET" } else { method };
    TABLE.iter().find(|rule| rule.method == method && rule.path == path)
}

/// Whether `caller` (`None`: somebody unknown) may do it.
///
/// `camera` is the camera that it is about: the caller finds it for [`Scope::Camera`] and [`Scope::Event`], for
/// which `None` is refused to whoever is limited to some cameras. What is [`Scope::Listed`] is allowed, and the
/// one who answers leaves out what [`Caller::sees`] denies.
///
/// # Errors
/// Why not.
pub fn allows(rule: &Rule, caller: Option<&Caller>, camera: Option<&str>) -> Result<(), Refusal> {
    let Need::Role(needed) = rule.need else { return Ok(()) };
    let caller = caller.ok_or(Refusal::Unknown)?;
    if caller.role < needed {
        return Err(Refusal::Role { needed, has: caller.role });
    }
    let in_sight = match rule.scope {
        Scope::Daemon | Scope::Listed => true,
        Scope::AllCameras => caller.cameras.is_none(),
        Scope::Camera | Scope::Event => match camera {
            Some(camera) => caller.sees(camera),
            None => caller.cameras.is_none(),
        },
    };
    if in_sight { Ok(()) } else { Err(Refusal::Camera) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn caller(role: Role, cameras: Option<&[&str]>) -> Caller {
        let cameras = cameras.map(|names| names.iter().map(|name| (*name).into()).collect());
        Caller { name: Some("somebody".into()), role, cameras }
    }

    #[test]
    fn every_line_is_there_once_and_its_scope_fits_its_path() {
        let mut seen = BTreeSet::new();
        for rule in TABLE {
            assert!(seen.insert((rule.method, rule.path)), "{rule:?} twice");
            let expected = [("{name}", Scope::Camera), ("{id}", Scope::Event)];
            for (part, scope) in expected {
                if rule.path.contains(part) && rule.path.starts_with("/api/cameras")
                    || rule.path.contains(part) && rule.path.starts_with("/api/events")
                {
                    assert_eq!(rule.scope, scope, "{rule:?}");
                }
            }
            let changes = rule.method != "GET" && !rule.path.starts_with("/api/log");
            assert!(!changes || matches!(rule.need, Need::Role(Role::Operator | Role::Admin)), "{rule:?}");
        }
    }

    #[test]
    fn a_higher_role_may_what_a_lower_one_may_and_nobody_may_what_has_no_line() {
        let learn = rule("POST", "/api/cameras/{name}/learn").expect("in the table");
        let denied = |role, cameras| allows(learn, Some(&caller(role, cameras)), Some("gate")).err();
        assert_eq!(allows(learn, None, Some("gate")), Err(Refusal::Unknown));
        let too_low = Refusal::Role { needed: Role::Operator, has: Role::Viewer };
        assert_eq!(denied(Role::Viewer, None), Some(too_low));
        assert_eq!(denied(Role::Operator, None), None);
        assert_eq!(denied(Role::Admin, Some(&["gate"])), None);
        assert_eq!(denied(Role::Admin, Some(&["yard"])), Some(Refusal::Camera));
        assert_eq!(rule("HEAD", "/api/events"), rule("GET", "/api/events"));
        assert_eq!(rule("DELETE", "/api/events"), None);
    }

    #[test]
    fn whoever_is_limited_gets_nothing_whose_camera_is_not_known() {
        let limited = caller(Role::Admin, Some(&["gate"]));
        for rule in TABLE.iter().filter(|rule| matches!(rule.scope, Scope::Event | Scope::AllCameras)) {
            assert_eq!(allows(rule, Some(&limited), None), Err(Refusal::Camera), "{rule:?}");
        }
    }
}
