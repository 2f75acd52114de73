// Points of a timeline as the columns that uPlot draws, with holes where there was nothing.
import { gapOf } from "../trace";
import type { ScorePoint } from "../types";

type Column = (number | null)[];

export interface Columns {
  time: number[];
  score: Column;
  low: Column;
  threshold: Column;
  /** The score where it or a neighbour is above the threshold. */
  over: Column;
}

export function columns(points: ScorePoint[]): Columns {
  const made: Columns = { time: [], score: [], low: [], threshold: [], over: [] };
  const times = points.map((p) => Date.parse(p.time) / 1000);
  const gap = gapOf(times, 0);
  const above = points.map((p) => p.score != null && p.threshold != null && p.score > p.threshold);
  points.forEach((point, i) => {
    const t = times[i]!;
    const before = times[i - 1];
    if (before != null && t - before > gap) {
      made.time.push((t + before) / 2);
      for (const column of [made.score, made.low, made.threshold, made.over]) column.push(null);
    }
    made.time.push(t);
    made.score.push(point.score);
    made.low.push(point.low ?? point.score);
    made.threshold.push(point.threshold);
    made.over.push(above[i] || above[i - 1] || above[i + 1] ? point.score : null);
  });
  return made;
}
