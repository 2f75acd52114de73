//! Every route and what it answers; `docs/ref/api.md` describes them, and a test compares the two.

use super::backtest::{BacktestBody, BacktestDto, backtest};
use super::calibration::{CalibrationDto, CalibrationQuery};
use super::check;
use super::clip::clip;
use super::dto::{
    CameraDto, DetectBody, EventDto, EventsDto, EventsQuery, LearnQuery, LoginBody, MeDto, PictureQuery,
    ReadyDto, ReviewBody, ScoresDto, ScoresQuery, SnapshotQuery,
};
use super::guard::{Guard, guard};
use super::login::{login, logout, me};
use super::openapi::{self, Described, Doc};
use super::page;
use super::preview::{PreviewBody, PreviewDto, preview};
use super::problem::Problem;
use super::reload::{self, Reloaded};
use super::serve::Shared;
use super::stream::stream;
use super::why::{self, SimilarQuery};
use super::{CameraStatus, DetectorStatus, LearnRefused, LinkState, switch_detection};
use super::{health, sinks};
use crate::access::{self, Caller};
use crate::alert::{self, Change};
use crate::base::{CameraName, Timestamp};
use crate::store::{EventFilter, step_for};
use crate::threshold::{Outlook, Rule};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::handler::Handler;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, Router, get, post};
use axum::{Extension, Json};
use serde_json::Value;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const DEFAULT_PICTURE_WIDTH: u32 = 960;
const MAX_PICTURE_WIDTH: u32 = 3840;
const DEFAULT_EVENTS: usize = 50;
const MAX_EVENTS: usize = 500;
/// Bytes of a request's body: what people write, never a file.
const MAX_BODY: usize = 64 << 10;
const MAX_POINTS: usize = 10_000;
/// Characters of a review's note.
const MAX_NOTE: usize = 2000;
const DEFAULT_TIMELINE: Duration = Duration::from_secs(3600);
/// Tells when a picture was taken.
const PICTURE_TIME: HeaderName = HeaderName::from_static("x-picture-time");

pub(super) type Api = State<Arc<Shared>>;
pub(super) type Queried<T> = Result<Query<T>, QueryRejection>;

/// Every route, with its description. Each must have its line in [`access::TABLE`].
#[rustfmt::skip]
fn routes() -> Routes {
    let of = Doc::of;
    Routes::default()
        .get("/", page::index, of("The page").media("text/html"))
        .get("/assets/{file}", page::asset, of("A part of the page").media("application/octet-stream"))
        .get("/docs", docs, of("This list").media("text/html"))
        .get("/healthz", healthz, of("The process lives").media("text/plain"))
        .get("/readyz", readyz, of("Whether models are loaded, and cameras well").json::<ReadyDto>().errors(&[503]))
        .get("/metrics", metrics, of("Prometheus text").media("text/plain"))
        .post("/api/login", login, of("Begins a session").body::<LoginBody>().json::<MeDto>().errors(&[401, 409, 429, 503]))
        .post("/api/logout", logout, of("Ends the session").status(204))
        .get("/api/me", me, of("Who is asking").json::<MeDto>())
        .get("/api/openapi.json", openapi_json, of("The OpenAPI document").json::<Value>())
        .get("/api/cameras", cameras, of("Every camera, in the configuration's order").json::<Vec<CameraDto>>())
        .get("/api/cameras/{name}", camera, of("One camera").json::<CameraDto>())
        .get("/api/cameras/{name}/latest.jpg", latest, of("The newest picture").query::<PictureQuery>().media("image/jpeg"))
        .get("/api/cameras/{name}/scores", scores, of("Score timeline").query::<ScoresQuery>().json::<ScoresDto>())
        .get("/api/cameras/{name}/calibration", calibration, of("What can be promised of a detector").query::<CalibrationQuery>().json::<CalibrationDto>().errors(&[409]))
        .post("/api/cameras/{name}/backtest", backtest, of("What other settings would have done").body::<BacktestBody>().json::<BacktestDto>().errors(&[409]))
        .post("/api/cameras/{name}/learn", learn, of("Learning again has begun").query::<LearnQuery>().status(202).json::<CameraDto>().errors(&[409]))
        .post("/api/cameras/{name}/detect", detect, of("The camera, which now opens events or does not").body::<DetectBody>().json::<CameraDto>())
        .get("/api/events", events, of("Events, newest first").query::<EventsQuery>().json::<EventsDto>())
        .get("/api/events/{id}", event, of("One event with its map").json::<EventDto>())
        .get("/api/events/{id}/snapshot.jpg", snapshot, of("The event's picture").query::<SnapshotQuery>().media("image/jpeg"))
        .get("/api/events/{id}/thumbnail.jpg", thumbnail, of("The event's picture, small").media("image/jpeg"))
        .get("/api/events/{id}/similar.jpg", why::similar, of("A moment of normal life that was like the event, small").query::<SimilarQuery>().media("image/jpeg"))
        .get("/api/events/{id}/clip.mp4", clip, of("The event's clip, whole or in ranges").media("video/mp4").errors(&[416]))
        .post("/api/events/{id}/review", review, of("The event with its review").body::<ReviewBody>().json::<EventDto>())
        .post("/api/events/{id}/review/preview", preview, of("What a review would change").body::<PreviewBody>().json::<PreviewDto>().errors(&[409]))
        .get("/api/stream", stream, of("Server-sent events").media("text/event-stream").errors(&[400, 503]))
        .get("/api/store", health::store, of("How the store fares").json::<health::StoreDto>())
        .get("/api/sinks", sinks::sinks, of("Where alerts are delivered").json::<Vec<sinks::SinkStatus>>())
        .get("/api/sinks/{name}/dead", sinks::dead, of("What a sink would not take").json::<Vec<sinks::DeadLetterDto>>())
        .post("/api/sinks/{name}/dead/retry", sinks::retry, of("Another attempt at these").status(202).json::<sinks::RetryDto>())
        .get("/api/config", config, of("The configuration in force, without secrets").json::<Value>())
        .post("/api/config/check", check::check, of("What is wrong with a configuration").body::<check::CheckBody>().json::<check::CheckDto>())
        .post("/api/config/reload", reload::reload, of("What the configuration, read again, has changed").json::<Reloaded>().errors(&[409, 503]).refused::<check::CheckDto>(422))
        .get("/api/config/schema.json", config_schema, of("JSON schema of the configuration").json::<Value>())
}

/// The OpenAPI document.
pub fn openapi() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(&routes().described));
    &DOCUMENT
}

async fn openapi_json() -> Json<&'static Value> {
    Json(openapi())
}

async fn docs() -> Html<String> {
    Html(openapi::page(openapi()))
}

async fn config_schema() -> Json<Value> {
    Json(crate::config::schema())
}

/// Collects routes, and takes only those that the table of rights knows.
#[derive(Default)]
struct Routes {
    router: Router<Arc<Shared>>,
    described: Vec<Described>,
}

impl Routes {
    fn get<H: Handler<T, Arc<Shared>>, T: 'static>(self, path: &'static str, handler: H, doc: Doc) -> Self {
        self.add("GET", path, get(handler), doc)
    }

    fn post<H: Handler<T, Arc<Shared>>, T: 'static>(self, path: &'static str, handler: H, doc: Doc) -> Self {
        self.add("POST", path, post(handler), doc)
    }

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        handler: MethodRouter<Arc<Shared>>,
        doc: Doc,
    ) -> Self {
        assert!(access::rule(method, path).is_some(), "{method} {path} has no line in access::TABLE");
        self.described.push((method, path, doc));
        Self { router: self.router.route(path, handler), described: self.described }
    }
}

pub fn router(shared: Arc<Shared>, guarded: Guard) -> Router {
    (routes().router)
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state((guarded, shared.clone()), guard))
        .with_state(shared)
}

async fn no_route() -> Problem {
    Problem::not_found("nothing is here; the API begins at /api/cameras and /api/events")
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(api): Api) -> Response {
    let cameras = &api.parts.cameras;
    let list = cameras.list();
    // A recording that was given up is finished, too, and says why.
    let well = |c: &&CameraStatus| {
        c.healthy
            && c.problem.is_none()
            && matches!(c.link, LinkState::Live | LinkState::Finished | LinkState::Disabled)
    };
    let store_well = api.parts.store.health().trouble.is_none();
    let cameras_well = list.iter().filter(well).count();
    let (code, status) = match (cameras.ready(), cameras_well == list.len()) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        (true, true) if store_well => (StatusCode::OK, "healthy"),
        (true, _) => (StatusCode::OK, "degraded"),
    };
    (code, Json(ReadyDto { status, cameras: list.len(), cameras_well, store_well })).into_response()
}

async fn metrics(State(api): Api) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.parts.metrics.render())
}

async fn cameras(State(api): Api, Extension(caller): Extension<Caller>) -> Json<Vec<CameraDto>> {
    let list = api.parts.cameras.list();
    Json(list.iter().filter(|status| caller.sees(&status.name)).map(CameraDto::from).collect())
}

async fn camera(State(api): Api, Path(name): Path<String>) -> Result<Json<CameraDto>, Problem> {
    Ok(Json(CameraDto::from(&status(&api, &name)?)))
}

pub(super) fn status(api: &Shared, name: &str) -> Result<CameraStatus, Problem> {
    api.parts.cameras.get(name).ok_or_else(|| Problem::no_camera(name))
}

async fn latest(
    State(api): Api,
    Path(name): Path<String>,
    query: Queried<PictureQuery>,
) -> Result<Response, Problem> {
    let width = query?.width.unwrap_or(DEFAULT_PICTURE_WIDTH);
    if !(16..=MAX_PICTURE_WIDTH).contains(&width) {
        return Err(Problem::bad_request(format!("width is from 16 to {MAX_PICTURE_WIDTH} pixels")));
    }
    status(&api, &name)?;
    blocking(move || {
        let picture = api
            .parts
            .cameras
            .picture(&name, width)
            .ok_or_else(|| Problem::not_found(format!("camera `{name}` has given no picture yet")))?;
        let bytes = alert::jpeg(&picture).map_err(|e| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the picture is damaged: {e}"))
        })?;
        Ok((
            [(header::CONTENT_TYPE, "image/jpeg".to_owned()), (PICTURE_TIME, picture.wall.to_string())],
            bytes,
        )
            .into_response())
    })
    .await
}

async fn scores(
    State(api): Api,
    Path(name): Path<String>,
    query: Queried<ScoresQuery>,
) -> Result<Json<ScoresDto>, Problem> {
    let Query(query) = query?;
    let status = status(&api, &name)?;
    let (camera, detector) = (&status.name, &detector(&status, query.detector.as_deref())?.name);
    let (camera, detector) = (camera.clone(), detector.clone());
    let before = query.before.unwrap_or_else(|| api.parts.clock.now());
    let after = query.after.unwrap_or_else(|| before.checked_sub(DEFAULT_TIMELINE).unwrap_or(Timestamp::MIN));
    if after >= before {
        return Err(Problem::bad_request("`after` must be earlier than `before`"));
    }
    let step = match (query.step, query.points) {
        (None, None) => None,
        (Some(_), Some(_)) => return Err(Problem::bad_request("give `step` or `points`, not both")),
        (None, Some(points)) if (2..=MAX_POINTS).contains(&points) => Some(step_for(after, before, points)),
        (None, Some(_)) => return Err(Problem::bad_request(format!("`points` is from 2 to {MAX_POINTS}"))),
        (Some(s), None) => Some(
            Duration::try_from_secs_f64(s)
                .ok()
                .filter(|s| !s.is_zero())
                .ok_or_else(|| Problem::bad_request("`step` is a number of seconds greater than 0"))?,
        ),
    };
    blocking(move || {
        let points = api.parts.store.scores(&name, &detector, after, before, step, MAX_POINTS)?;
        Ok(Json(ScoresDto { camera, detector, after, before, step: step.map(|s| s.as_secs_f64()), points }))
    })
    .await
}

/// The detector of that name, or the camera's first one that opens events.
pub(super) fn detector<'a>(
    status: &'a CameraStatus,
    name: Option<&str>,
) -> Result<&'a DetectorStatus, LearnRefused> {
    let wanted = |d: &&DetectorStatus| name.map_or(d.alerts, |name| *d.name == *name);
    status.detectors.iter().find(wanted).ok_or(LearnRefused::NoSuchDetector)
}

async fn calibration(
    State(api): Api,
    Path(name): Path<String>,
    query: Queried<CalibrationQuery>,
) -> Result<Json<CalibrationDto>, Problem> {
    let Query(query) = query?;
    let status = status(&api, &name)?;
    let detector = detector(&status, query.detector.as_deref())?;
    let nothing_yet = || Arc::new(Outlook::of(&[], &Rule::default(), None));
    let outlook = detector.outlook.clone().unwrap_or_else(nothing_yet);
    let budget = detector.threshold.and_then(|threshold| threshold.budget);
    Ok(Json(CalibrationDto::of(status.name.clone(), detector.name.clone(), budget, &outlook)))
}

async fn learn(
    State(api): Api,
    Path(name): Path<String>,
    query: Queried<LearnQuery>,
) -> Result<(StatusCode, Json<CameraDto>), Problem> {
    let Query(query) = query?;
    status(&api, &name)?;
    blocking(move || {
        api.parts.cameras.learn(&name, query.detector.as_deref())?;
        Ok((StatusCode::ACCEPTED, Json(CameraDto::from(&status(&api, &name)?))))
    })
    .await
}

async fn detect(
    State(api): Api,
    Path(name): Path<String>,
    body: Result<Json<DetectBody>, JsonRejection>,
) -> Result<Json<CameraDto>, Problem> {
    let Json(DetectBody { on }) = body?;
    status(&api, &name)?;
    blocking(move || {
        switch_detection(&*api.parts.cameras, &api.parts.store, &name, on)?;
        let status = status(&api, &name)?;
        api.parts.bus.camera(&status);
        Ok(Json(CameraDto::from(&status)))
    })
    .await
}

async fn events(
    State(api): Api,
    Extension(caller): Extension<Caller>,
    query: Queried<EventsQuery>,
) -> Result<Json<EventsDto>, Problem> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(DEFAULT_EVENTS);
    if !(1..=MAX_EVENTS).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` is from 1 to {MAX_EVENTS}")));
    }
    let asked = query.cameras.as_deref().unwrap_or_default().split(',').filter(|c| !c.is_empty());
    let mut cameras: Vec<CameraName> = asked.map(CameraName::from).collect();
    if let Some(own) = &caller.cameras {
        match cameras.is_empty() {
            true => cameras = own.to_vec(),
            false => cameras.retain(|camera| caller.sees(camera)),
        }
        // An empty list would mean all.
        if cameras.is_empty() {
            return Ok(Json(EventsDto { events: Vec::new(), next: None }));
        }
    }
    let filter = EventFilter {
        cameras,
        after: query.after,
        before: query.before,
        min_score: query.min_score,
        max_score: query.max_score,
        in_progress: query.in_progress,
        reviewed: query.reviewed,
        label: query.label,
        cursor: query.cursor,
    };
    blocking(move || {
        let page = api.parts.store.events(&filter, limit)?;
        Ok(Json(EventsDto { events: page.events.iter().map(EventDto::listed).collect(), next: page.next }))
    })
    .await
}

async fn event(State(api): Api, Path(id): Path<String>) -> Result<Json<EventDto>, Problem> {
    blocking(move || {
        let event = api.parts.store.event(&id)?.ok_or_else(|| Problem::no_event(&id))?;
        Ok(Json(EventDto::full(&event)))
    })
    .await
}

async fn review(
    State(api): Api,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Result<Json<ReviewBody>, JsonRejection>,
) -> Result<Json<EventDto>, Problem> {
    let Json(ReviewBody { label, note }) = body?;
    if note.chars().count() > MAX_NOTE {
        return Err(Problem::bad_request(format!("`note` has {MAX_NOTE} characters at most")));
    }
    blocking(move || {
        let _in_order = api.parts.store.in_order();
        let reviewed = api.parts.store.review(&id, label, note.trim(), caller.name.as_deref())?;
        let event = reviewed.ok_or_else(|| Problem::no_event(&id))?;
        api.parts.bus.alert(Change::Update, &event);
        Ok(Json(EventDto::full(&event)))
    })
    .await
}

async fn snapshot(
    State(api): Api,
    Path(id): Path<String>,
    query: Queried<SnapshotQuery>,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    blocking(move || {
        let kept = api.parts.store.snapshot(&id)?;
        let event = if query.map.unwrap_or(true) { api.parts.store.event(&id)? } else { None };
        let (Some(bytes), Some(event)) = (&kept, event) else { return picture(&id, kept) };
        let map = alert::Map {
            grid: event.grid,
            covers: event.covers,
            regions: &event.regions,
            threshold: event.threshold as f32,
        };
        let drawn = alert::with_map(bytes, &map).map_err(|e| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the picture is damaged: {e}"))
        })?;
        picture(&id, Some(drawn))
    })
    .await
}

async fn thumbnail(State(api): Api, Path(id): Path<String>) -> Result<Response, Problem> {
    blocking(move || picture(&id, api.parts.store.thumbnail(&id)?)).await
}

pub(super) fn picture(id: &str, bytes: Option<Vec<u8>>) -> Result<Response, Problem> {
    let bytes =
        bytes.ok_or_else(|| Problem::not_found(format!("event `{id}` is not there or has no picture")))?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response())
}

async fn config(State(api): Api) -> Json<serde_json::Value> {
    Json(api.parts.configuration.in_force())
}

/// Runs what reads the disk or works for long beside the server's own threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the request failed: {e}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_line_of_the_table_has_its_route() {
        let lines = access::TABLE.iter().filter(|rule| rule.method != "MQTT");
        let routed: BTreeSet<_> =
            routes().described.iter().map(|(method, path, _)| (*method, *path)).collect();
        assert_eq!(lines.map(|rule| (rule.method, rule.path)).collect::<BTreeSet<_>>(), routed);
    }
}
