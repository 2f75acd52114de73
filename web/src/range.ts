// The stretch of time that a timeline shows: from a minute to a month, never past now.

/** Seconds since 1970. */
export interface Range {
  from: number;
  to: number;
}

export const SHORTEST = 60;
export const LONGEST = 31 * 86400;

export function clamp({ from, to }: Range, now: number): Range {
  const span = Math.min(LONGEST, Math.max(SHORTEST, to - from));
  const middle = (from + to) / 2;
  const end = Math.min(now, middle + span / 2);
  return { from: end - span, to: end };
}

/** `factor` below 1 looks closer; what is at `share` (0 to 1) of the width stays where it is. */
export function zoom(range: Range, factor: number, share: number, now: number): Range {
  const span = range.to - range.from;
  const wanted = Math.min(LONGEST, Math.max(SHORTEST, span * factor));
  const fixed = range.from + share * span;
  return clamp({ from: fixed - share * wanted, to: fixed + (1 - share) * wanted }, now);
}

/** Moves by a share of what is shown; positive is later. */
export function pan(range: Range, share: number, now: number): Range {
  const by = share * (range.to - range.from);
  return clamp({ from: range.from + by, to: range.to + by }, now);
}

/** Whether a range ends now, so that it moves on with time. */
export function follows(range: Range, now: number): boolean {
  return range.to >= now - Math.max(2, (range.to - range.from) * 0.01);
}

/** A date and time for an axis whose marks are `step` seconds apart. */
export function mark(t: number, step: number): string {
  const at = new Date(t * 1000);
  const two = (n: number): string => String(n).padStart(2, "0");
  const date = at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  if (step >= 86400) return date;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (step < 60) return `${time}:${two(at.getSeconds())}`;
  return time === "00:00" ? date : time;
}
