// The last minutes of scores of one detector: what a spark line draws.
import type { LiveScore, ScorePoint } from "./types";

/** Seconds that a trace keeps. */
export const KEPT = 600;

export interface Dot {
  /** Seconds since 1970. */
  t: number;
  score: number;
  threshold: number | null;
}

function dot(point: ScorePoint | LiveScore): Dot | null {
  const t = Date.parse(point.time) / 1000;
  if (point.score == null || !Number.isFinite(t)) return null;
  return { t, score: point.score, threshold: point.threshold };
}

export class Trace {
  dots: Dot[] = [];
  private readonly watchers = new Set<() => void>();

  /** Puts what the store knows before what the stream has told since. */
  fill(points: ScorePoint[]): void {
    const known = points.map(dot).filter((d): d is Dot => d != null);
    const last = known.at(-1)?.t ?? -Infinity;
    this.dots = [...known, ...this.dots.filter((d) => d.t > last)];
    this.tell();
  }

  add(score: LiveScore): void {
    const next = dot(score);
    if (!next) return;
    this.dots.push(next);
    const begin = next.t - KEPT;
    const first = this.dots.findIndex((d) => d.t >= begin);
    if (first > 0) this.dots.splice(0, first);
    this.tell();
  }

  last(): Dot | undefined {
    return this.dots.at(-1);
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  private tell(): void {
    for (const watcher of this.watchers) watcher();
  }
}

/** A gap in time longer than this is a gap in the line. */
export function gapOf(times: number[], least = 4): number {
  const steps = times.slice(1).map((t, i) => t - (times[i] ?? t)).sort((a, b) => a - b);
  return Math.max(least, 3 * (steps[steps.length >> 1] ?? 1));
}
