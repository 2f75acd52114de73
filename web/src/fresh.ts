// Whether a picture may look live. A picture that is not of now must never look as if it were.
import { duration } from "./format";
import type { LinkState } from "./types";

/** Seconds without a new frame, or without an answer, after which a picture is veiled. */
export const STALE_AFTER = 5;

/** Times are performance time in milliseconds. */
export interface Sight {
  state: LinkState;
  /** Age of the last frame when the daemon answered, in seconds. */
  age: number | null;
  answered: number;
  /** When the daemon last answered anything. */
  reached: number;
  /** When the picture that is shown last changed; null before the first. */
  changed: number | null;
}

export interface Freshness {
  stale: boolean;
  /** Seconds since the newest frame. */
  age: number | null;
  /** Said over a picture that is not live. */
  veil: string;
}

const STATES: Record<LinkState, string> = {
  connecting: "connecting",
  live: "",
  stalled: "stalled",
  lost: "connection lost",
  backing_off: "reconnecting",
  disabled: "disabled",
  finished: "played to its end",
};

export function freshness(sight: Sight, now: number): Freshness {
  const since = (t: number): number => (now - t) / 1000;
  const frame = sight.age == null ? null : sight.age + since(sight.answered);
  // A daemon that says "live" and gives the same picture again is not believed.
  const shown = sight.changed == null ? null : since(sight.changed);
  const age = frame == null ? shown : Math.max(frame, shown ?? 0);
  const silent = since(Math.max(sight.reached, sight.answered)) > STALE_AFTER;
  const stale = sight.state !== "live" || frame == null || shown == null || age == null || age > STALE_AFTER || silent;
  // Frames come, and yet there is nothing to look at.
  const none = age == null || (sight.state === "live" && shown == null);
  const parts = [
    silent ? "the daemon does not answer" : STATES[sight.state],
    sight.state === "finished" ? "" : none ? "no picture yet" : `no picture for ${duration(age)}`,
  ];
  return { stale, age, veil: parts.filter(Boolean).join(": ") };
}
