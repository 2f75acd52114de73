// The chart of a timeline: scores, the threshold with the band above it, and events as bars to choose from.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { useWidth } from "../hooks";
import { type Range, mark } from "../range";
import type { Incident, ScorePoint } from "../types";
import { listenFor } from "./gestures";
import { columns } from "./rows";

const SCORE = "#4fd1c5";
const OVER = "#ff6b4a";
const LIMIT = "#f5b84f";
const DIM = "#8497a6";
const GRID = "#1b2530";
const HIGH = 300;
/** How far from a bar a click may be, in pixels. */
const NEAR = 8;

export interface Reading {
  time: number;
  score: number | null;
  threshold: number | null;
}

interface Props {
  points: ScorePoint[];
  events: readonly Incident[];
  range: Range;
  label: string;
  onSelect: (range: Range) => void;
  onZoom: (factor: number, share: number) => void;
  onPan: (share: number) => void;
  onEvent: (id: string) => void;
  onRead: (reading: Reading | null) => void;
}

export function Chart(props: Props) {
  const [box, width] = useWidth<HTMLDivElement>();
  const latest = useRef(props);
  latest.current = props;
  const plot = useRef<uPlot | null>(null);
  useEffect(() => {
    if (!width || !box.current) return;
    if (plot.current) return plot.current.setSize({ width, height: HIGH });
    plot.current = new uPlot(optionsFor(latest, width), dataOf(props.points), box.current);
    listen(plot.current, latest);
  }, [width]);
  useEffect(() => () => plot.current?.destroy(), []);
  useEffect(() => plot.current?.setData(dataOf(props.points)), [props.points]);
  useEffect(() => plot.current?.setScale("x", { min: props.range.from, max: props.range.to }), [
    props.range.from,
    props.range.to,
  ]);
  useEffect(() => plot.current?.redraw(), [props.events]);
  return <div ref={box} class="plot" role="img" aria-label={props.label} />;
}

function dataOf(points: ScorePoint[]): uPlot.AlignedData {
  const c = columns(points);
  return [c.time, c.score, c.low, c.threshold, c.over];
}

function optionsFor(latest: { current: Props }, width: number): uPlot.Options {
  const axis = { stroke: DIM, grid: { stroke: GRID, width: 1 }, ticks: { stroke: GRID, width: 1 } };
  const line = { points: { show: false }, spanGaps: false };
  return {
    width,
    height: HIGH,
    legend: { show: false },
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 }, y: false },
    scales: {
      x: { time: true, range: () => [latest.current.range.from, latest.current.range.to] },
      y: { range: (_u, min, max) => padded(min, max) },
    },
    axes: [
      { ...axis, space: 76, values: (_u, at, _i, _s, step) => at.map((t) => mark(t, step)) },
      { ...axis, size: 46 },
    ],
    series: [
      {},
      { ...line, label: "score", stroke: SCORE, width: 1.5 },
      { ...line, label: "lowest", stroke: "rgba(79, 209, 197, .35)", width: 1 },
      { ...line, label: "threshold", stroke: LIMIT, width: 1.5, dash: [6, 4] },
      { ...line, label: "over", stroke: OVER, width: 2.2 },
    ],
    bands: [{ series: [1, 2], fill: "rgba(79, 209, 197, .16)" }],
    hooks: {
      drawClear: [(u) => drawBand(u), (u) => drawEvents(u, latest.current.events)],
      setSelect: [
        (u) => {
          const { left, width: wide } = u.select;
          if (wide < NEAR) return;
          const [from, to] = [u.posToVal(left, "x"), u.posToVal(left + wide, "x")];
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          latest.current.onSelect({ from, to });
        },
      ],
      setCursor: [(u) => read(u, latest.current)],
    },
  };
}

function padded(min: number | null, max: number | null): [number, number] {
  if (min == null || max == null || !Number.isFinite(min)) return [0, 1];
  const room = (max - min || 1) * 0.08;
  return [min - room, max + room];
}

/** Everything above the threshold is tinted: there the alarms are. */
function drawBand(u: uPlot): void {
  const [times, , , limits] = u.data as unknown as (number | null)[][];
  if (!times?.length || !limits) return;
  const { left, top, width, height } = u.bbox;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(left, top, width, height);
  u.ctx.clip();
  u.ctx.fillStyle = "rgba(255, 107, 74, .07)";
  // One path: pieces filled one by one would show where they meet.
  u.ctx.beginPath();
  for (let i = 0; i < times.length; i++) {
    const limit = limits[i];
    if (limit == null) continue;
    const x = u.valToPos(times[i]!, "x", true);
    const end = i + 1 < times.length ? u.valToPos(times[i + 1]!, "x", true) : left + width;
    const y = u.valToPos(limit, "y", true);
    u.ctx.rect(x, top, end - x, Math.max(0, y - top));
  }
  u.ctx.fill();
  u.ctx.restore();
}

/** Left and right of an event's bar, in pixels of the chart. */
function span(u: uPlot, event: Incident, canvas: boolean): [number, number] {
  const begin = u.valToPos(Date.parse(event.start_time) / 1000, "x", canvas);
  const end = u.valToPos(Date.parse(event.end_time ?? new Date().toISOString()) / 1000, "x", canvas);
  return [begin, Math.max(end, begin + 3)];
}

function drawEvents(u: uPlot, events: readonly Incident[]): void {
  const { left, top, width, height } = u.bbox;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(left, top, width, height);
  u.ctx.clip();
  for (const event of events) {
    const [begin, end] = span(u, event, true);
    u.ctx.fillStyle = "rgba(255, 107, 74, .18)";
    u.ctx.fillRect(begin, top, end - begin, height);
    // A flag at the top: the higher the severity, the taller.
    const tall = { low: 8, medium: 14, high: 20 }[event.severity] * devicePixelRatio;
    u.ctx.fillStyle = OVER;
    u.ctx.fillRect(begin, top, 2 * devicePixelRatio, tall);
    u.ctx.fillRect(begin, top, Math.max(end - begin, 8 * devicePixelRatio), 4 * devicePixelRatio);
  }
  u.ctx.restore();
}

function eventAt(u: uPlot, x: number, events: readonly Incident[]): Incident | undefined {
  const far = (event: Incident): number => {
    const [begin, end] = span(u, event, false);
    return Math.max(0, begin - x, x - end);
  };
  return events.filter((e) => far(e) <= NEAR).sort((a, b) => far(a) - far(b))[0];
}

function read(u: uPlot, { onRead, events }: Props): void {
  const { idx, left = -1 } = u.cursor;
  u.over.style.cursor = left >= 0 && eventAt(u, left, events) ? "pointer" : "crosshair";
  const at = idx == null ? undefined : u.data[0][idx];
  if (at == null || left < 0) return onRead(null);
  onRead({ time: at, score: u.data[1]?.[idx!] ?? null, threshold: u.data[3]?.[idx!] ?? null });
}

function listen(u: uPlot, latest: { current: Props }): void {
  listenFor(u.over, {
    zoom: (factor, share) => latest.current.onZoom(factor, share),
    pan: (share) => latest.current.onPan(share),
    tap: (x) => {
      const event = eventAt(u, x, latest.current.events);
      if (event) latest.current.onEvent(event.id);
    },
  });
}
