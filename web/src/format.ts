// Numbers, times and durations as people read them.

export const DASH = "–";

export function number(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return DASH;
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}

/** What a threshold is made of. */
export function made(t: { mu: number; sigma: number; k: number; budget?: string | null }): string {
  return `μ ${number(t.mu)} + ${Number(t.k.toFixed(2))} σ ${number(t.sigma)}${t.budget ? ` (${t.budget})` : ""}`;
}

export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Bytes, as 1.4 MB. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Rarer than this nobody can know it to be. */
const RAREST = 1e9;

/** How often normal life gives a score as high. */
export function rarity(probability: number | null | undefined): string {
  if (probability == null || !Number.isFinite(probability)) return DASH;
  if (probability > 0.01) return "usual";
  if (probability <= 0) return "never seen";
  const one = 1 / probability;
  const words = Number(Math.min(one, RAREST).toPrecision(2)).toLocaleString("en");
  return one > RAREST ? `rarer than 1 in ${words}` : `1 in ${words}`;
}

export const short = (sha: string | null | undefined): string => (sha ? sha.slice(0, 10) : DASH);

const two = (n: number): string => String(n).padStart(2, "0");

/** Time of day here, such as 17:04:31. */
export function clock(time: string | number): string {
  const t = new Date(time);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

export function day(time: string | number): string {
  return new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

/** The time of day alone where it is today's. */
export function when(time: string | number, now = Date.now()): string {
  return day(time) === day(now) ? clock(time) : `${day(time)}, ${clock(time)}`;
}

/** For tooltips: 2026-11-22 16:04:31 UTC. */
export function utc(time: string | number): string {
  return `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** What an `<input type="datetime-local">` takes, in local time; nothing for nothing. */
export function toLocalInput(iso: string | null): string {
  if (!iso || Number.isNaN(Date.parse(iso))) return "";
  const t = new Date(iso);
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}T${two(t.getHours())}:${two(t.getMinutes())}`;
}

export function fromLocalInput(text: string): string | null {
  const t = Date.parse(text);
  return Number.isNaN(t) ? null : new Date(t).toISOString();
}

/** How long something lasted, `now` where it goes on. */
export function lasted(start: string, end: string | null): string {
  return end ? duration((Date.parse(end) - Date.parse(start)) / 1000) : "now";
}
