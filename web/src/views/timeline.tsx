// The score timeline of a camera's detector: any stretch from a minute to a month, with its events.
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { useCell } from "../cell";
import { day, duration, number, utc, when } from "../format";
import { useAsked, useKeys } from "../hooks";
import { onAlert } from "../live";
import { Chart, type Reading } from "../parts/chart";
import { Chip } from "../parts/chip";
import { QuietChip } from "../parts/quiet";
import { Time } from "../parts/time";
import { type Range, clamp, follows, pan, zoom } from "../range";
import { go, href, route } from "../router";
import { cameras, listed, mainDetector } from "../state";
import type { Camera } from "../types";

const SPANS: [string, number][] = [
  ["1 min", 60],
  ["10 min", 600],
  ["1 h", 3600],
  ["6 h", 6 * 3600],
  ["1 day", 86400],
  ["1 week", 7 * 86400],
  ["1 month", 30 * 86400],
];
const USUAL = 3600;
/** Points asked for: about one for each pixel or two. */
const POINTS = 800;
const MOST_EVENTS = 300;
const LISTED = 30;
/** The address follows the chart when it has come to rest. */
const REST = 200;

const seconds = (): number => Date.now() / 1000;

export function TimelineView() {
  const { query } = useCell(route);
  const all = useCell(cameras);
  const known = useCell(listed);
  const data = (all.get(query.get("camera") ?? "") ?? [...all.values()][0])?.data;
  if (data) return <Shown camera={data} query={query} names={[...all.keys()]} />;
  return <p class="empty">{known ? "No camera is configured." : "Looking…"}</p>;
}

interface Props {
  camera: Camera;
  query: URLSearchParams;
  names: string[];
}

/** The range that the address asks for; without an `end` it goes on to now. */
function rangeOf(query: URLSearchParams, now: number): Range {
  const end = Date.parse(query.get("end") ?? "") / 1000 || now;
  return clamp({ from: end - (Number(query.get("span")) || USUAL), to: end }, now);
}

function Shown({ camera, query, names }: Props) {
  const detector = camera.detectors.find((d) => d.name === query.get("detector")) ?? mainDetector(camera);
  const name = detector?.name ?? "main";
  const asked = query.toString();
  const [range, setRange] = useState<Range>(() => rangeOf(query, seconds()));
  const [reading, read] = useState<Reading | null>(null);
  const [round, again] = useState(0);
  useEffect(() => setRange(rangeOf(query, seconds())), [asked]);

  const show = (to: Record<string, string | null>): void =>
    go(href(["timeline"], { camera: camera.name, detector: name, span: query.get("span"), end: query.get("end"), ...to }), true);
  const settle = ({ from, to }: Range): void =>
    show({ span: String(Math.round(to - from)), end: follows({ from, to }, seconds()) ? null : new Date(to * 1000).toISOString() });
  const [moved, move] = useState<Range | null>(null);
  useEffect(() => {
    if (!moved) return undefined;
    const timer = setTimeout(() => settle(moved), REST);
    return () => clearTimeout(timer);
  }, [moved]);
  const turn = (change: (range: Range, now: number) => Range): void =>
    setRange((before) => {
      const next = change(before, seconds());
      move(next);
      return next;
    });

  // A range that ends now goes on with time.
  const live = !query.get("end");
  const span = range.to - range.from;
  useEffect(() => {
    if (!live) return undefined;
    const timer = setInterval(() => {
      if (document.hidden) return;
      setRange(rangeOf(query, seconds()));
      again((n) => n + 1);
    }, Math.max(2000, (1000 * span) / POINTS));
    return () => clearInterval(timer);
  }, [asked]);
  useEffect(() => {
    const act = (): void => again((n) => n + 1);
    onAlert.add(act);
    return () => void onAlert.delete(act);
  }, []);

  const wanted = rangeOf(query, seconds());
  const after = new Date(wanted.from * 1000).toISOString();
  const before = new Date(wanted.to * 1000).toISOString();
  // Shorter ones have every segment.
  const pieces = span > POINTS ? POINTS : null;
  const keys = [camera.name, name, asked, round];
  const [line] = useAsked(() => api.scores(camera.name, { detector: name, after, before, points: pieces }), keys);
  const [page] = useAsked(() => api.events({ cameras: camera.name, after, before, limit: MOST_EVENTS }), keys);
  const points = line.data?.camera === camera.name && line.data.detector === name ? line.data.points : [];
  const events = (page.data?.events ?? []).filter((e) => e.camera === camera.name);
  const open = (id: string): void => go(href(["events", id]));
  const earlier = (): void => turn((r, now) => pan(r, -0.25, now));
  const later = (): void => turn((r, now) => pan(r, 0.25, now));
  const closer = (): void => turn((r, now) => zoom(r, 0.5, 0.5, now));
  const farther = (): void => turn((r, now) => zoom(r, 2, 0.5, now));
  const toNow = (): void => show({ end: null });
  useKeys({ "+": closer, "=": closer, "-": farther, ArrowLeft: earlier, ArrowRight: later, "0": toNow });

  return (
    <section id="timeline" aria-labelledby="timeline-title">
      <h2 id="timeline-title">Timeline</h2>
      <div class="filters">
        <label class="field">
          Camera
          <select value={camera.name} onChange={(e) => show({ camera: e.currentTarget.value, detector: null })}>
            {names.map((n) => (
              <option key={n}>{n}</option>
            ))}
          </select>
        </label>
        <label class="field">
          Detector
          <select value={name} onChange={(e) => show({ detector: e.currentTarget.value })}>
            {camera.detectors.map((d) => (
              <option key={d.name} value={d.name}>
                {d.name}: {d.method}
              </option>
            ))}
          </select>
        </label>
        <div class="buttons" role="group" aria-label="how long">
          {SPANS.map(([text, long]) => (
            <button
              key={text}
              type="button"
              class="quiet"
              aria-pressed={Math.abs(span - long) < 1}
              onClick={() => turn((r, now) => clamp({ from: r.to - long, to: r.to }, now))}
            >
              {text}
            </button>
          ))}
        </div>
        <div class="buttons" role="group" aria-label="move and zoom">
          <button type="button" class="quiet" onClick={earlier} aria-label="earlier">◂</button>
          <button type="button" class="quiet" onClick={later} aria-label="later">▸</button>
          <button type="button" class="quiet" onClick={closer} aria-label="closer">+</button>
          <button type="button" class="quiet" onClick={farther} aria-label="farther">−</button>
          <button type="button" class="quiet" onClick={toNow} aria-pressed={live}>Now</button>
        </div>
      </div>
      <p class="line dim">
        <span title={utc(range.from * 1000)}>{day(range.from * 1000)}, {when(range.from * 1000, range.from * 1000)}</span>
        <span>{duration(span)}{live ? ", going on" : ""}</span>
        <span class="reading" aria-live="off">
          {reading ? `${when(reading.time * 1000)}: score ${number(reading.score)} of ${number(reading.threshold)}` : ""}
        </span>
      </p>
      <Chart
        points={points}
        events={events}
        range={range}
        label={`scores of ${camera.name}: ${points.length} points and ${events.length} events in ${duration(span)}`}
        onSelect={(r) => turn((_, now) => clamp(r, now))}
        onZoom={(factor, share) => turn((r, now) => zoom(r, factor, share, now))}
        onPan={(share) => turn((r, now) => pan(r, share, now))}
        onEvent={open}
        onRead={read}
      />
      <p class="dim hint">
        Teal is the score, its thicker red parts are above the dashed threshold; flags are events. Drag to look closer,
        wheel or pinch to zoom, <kbd>←</kbd> <kbd>→</kbd> <kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd> by keyboard.
      </p>
      {line.problem && <p class="problem">{line.problem}</p>}
      {page.data?.next && <p class="dim">Only the newest {MOST_EVENTS} events are marked.</p>}
      <ul class="marks" aria-label="events of this time">
        {events.slice(0, LISTED).map((e) => (
          <li key={e.id}>
            <a href={href(["events", e.id])}>
              <Time at={e.start_time} /> score {number(e.top_score)} <Chip of={e.severity} />
              {e.review?.label && <Chip of={e.review.label} />}
              {e.quiet && <QuietChip of={e.quiet} />}
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
