// What the page knows of the daemon: cameras, scores, alerts, who is asking. Filled by live.ts.
import { Cell } from "./cell";
import { Trace } from "./trace";
import type { Camera, Detector, Incident, Me, Role } from "./types";

/** A camera, and when the daemon said so (performance time). */
export interface Seen {
  data: Camera;
  at: number;
}

export const cameras = new Cell<ReadonlyMap<string, Seen>>(new Map());
/** True once the daemon has listed its cameras. */
export const listed = new Cell(false);
/** Newest alerts by id, newest first. */
export const alerts = new Cell<readonly Incident[]>([]);
export const link = new Cell<"connecting" | "connected" | "connection lost">("connecting");
export const me = new Cell<Me | null>(null);
/** Ids of the list that was last looked at, for going on from one event to the next. */
export const leafed = new Cell<readonly string[]>([]);

const MOST_ALERTS = 60;
const traces = new Map<string, Trace>();

export function trace(camera: string, detector: string): Trace {
  const key = `${camera}/${detector}`;
  let found = traces.get(key);
  if (!found) traces.set(key, (found = new Trace()));
  return found;
}

export function seen(list: Camera[], whole: boolean): void {
  const at = performance.now();
  cameras.update((before) => {
    const now = new Map(whole ? [] : before);
    for (const data of list) now.set(data.name, { data, at });
    return now;
  });
  if (whole) listed.set(true);
}

/** Puts newer content of events where the old is, and new events in their place. */
export function merge(before: readonly Incident[], news: readonly Incident[]): Incident[] {
  const all = new Map(before.map((e) => [e.id, e]));
  for (const one of news) all.set(one.id, one);
  return [...all.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
}

export function tell(news: readonly Incident[]): void {
  alerts.update((before) => merge(before, news).slice(0, MOST_ALERTS));
}

/** The detector whose verdict opens events. */
export function mainDetector(camera: Camera): Detector | undefined {
  return camera.detectors.find((d) => d.alerts) ?? camera.detectors[0];
}

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Whether who is asking may do what needs `role`. */
export function may(role: Role, who = me.get()): boolean {
  return who != null && RANK[who.role] >= RANK[role];
}
