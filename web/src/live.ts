// Keeps the state fresh: the stream of server-sent events, and a look at the cameras every two seconds.
import * as api from "./api";
import { alerts, cameras, link, mainDetector, me, seen, tell, trace } from "./state";
import { KEPT } from "./trace";
import type { Camera, Incident, LiveScore } from "./types";

const STATUS_EVERY = 2000;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;

let stream: EventSource | null = null;
let pause = FIRST_PAUSE;
let again: ReturnType<typeof setTimeout> | undefined;
let polling: ReturnType<typeof setTimeout> | undefined;

/** Called with each alert that the stream tells of. */
export const onAlert = new Set<(event: Incident) => void>();

async function look(): Promise<void> {
  const before = new Set(cameras.get().keys());
  try {
    const list = await api.cameras();
    seen(list, true);
    for (const camera of list) if (!before.has(camera.name)) void fillTrace(camera);
  } catch {
    // The pictures' veils say that nothing is heard.
  }
}

/** The last minutes of the scores that a wall card draws. */
export async function fillTrace(camera: Camera, detector = mainDetector(camera)?.name): Promise<void> {
  if (!detector) return;
  const after = new Date(Date.now() - KEPT * 1000).toISOString();
  const line = await api.scores(camera.name, { detector, after, step: 1 }).catch(() => null);
  if (line) trace(camera.name, detector).fill(line.points);
}

async function catchUp(): Promise<void> {
  const page = await api.events({ limit: 30 }).catch(() => null);
  if (page) tell(page.events);
  for (const { data } of cameras.get().values()) void fillTrace(data);
}

function listen(): void {
  stream?.close();
  const now = new EventSource("/api/stream");
  stream = now;
  const on = <T>(topic: string, act: (data: T) => void): void =>
    now.addEventListener(topic, (message) => act(JSON.parse((message as MessageEvent<string>).data) as T));
  on<LiveScore>("score", (score) => {
    if (!score.damaged) trace(score.camera, score.detector).add(score);
  });
  on<Camera>("camera.state", (camera) => seen([camera], false));
  for (const topic of ["alert.new", "alert.update", "alert.end"])
    on<Incident>(topic, (event) => {
      // The stream does not repeat what reviewers said.
      const known = alerts.get().find((e) => e.id === event.id);
      const whole = { ...event, review: event.review ?? known?.review ?? null };
      tell([whole]);
      for (const act of onAlert) act(whole);
    });
  now.onopen = () => {
    pause = FIRST_PAUSE;
    link.set("connected");
    void catchUp();
  };
  now.onerror = () => {
    link.set("connection lost");
    // Browsers come back by themselves after a broken connection, but not after an answer that is none.
    if (now.readyState !== EventSource.CLOSED || stream !== now) return;
    clearTimeout(again);
    again = setTimeout(listen, pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  };
}

/** Starts for whoever is signed in now. */
export function startLive(): void {
  const round = async (): Promise<void> => {
    if (!document.hidden) await look();
    clearTimeout(polling);
    if (me.get()) polling = setTimeout(round, STATUS_EVERY);
  };
  void round();
  listen();
}

export function stopLive(): void {
  clearTimeout(polling);
  clearTimeout(again);
  stream?.close();
  stream = null;
  link.set("connecting");
}
