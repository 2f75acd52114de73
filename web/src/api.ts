// Asking the daemon: one function for every request, so that every failure is told in its own words.
import { Cell } from "./cell";
import type {
  Backtest,
  BacktestAsked,
  Calibration,
  Camera,
  ConfigCheck,
  DeadLetter,
  Incident,
  IncidentPage,
  Label,
  Me,
  Preview,
  Reloaded,
  SinkStatus,
  Timeline,
} from "./types";

const PATIENCE = 8000;

/** When the daemon last answered, in performance time. */
export const reached = new Cell(0);
/** Raised when an answer says that one must sign in. */
export const locked = new Cell(false);

export class Failure extends Error {
  constructor(
    readonly status: number,
    detail: string,
    /** The whole answer. */
    readonly answer: unknown = null,
  ) {
    super(detail);
  }
}

export async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE), ...options });
  } catch {
    throw new Failure(0, "the daemon does not answer");
  }
  reached.set(performance.now());
  if (!answer.ok) {
    if (answer.status === 401) locked.set(true);
    const problem = (await answer.json().catch(() => ({}))) as { detail?: string };
    throw new Failure(answer.status, problem.detail ?? answer.statusText, problem);
  }
  return answer;
}

async function read<T>(path: string, options?: RequestInit): Promise<T> {
  return (await (await ask(path, options)).json()) as T;
}

function post<T>(path: string, body?: unknown): Promise<T> {
  const json = { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return read<T>(path, { method: "POST", ...(body === undefined ? {} : json) });
}

export type Query = Record<string, string | number | boolean | null | undefined>;

/** `?a=1&b=2`, without what is not set. */
export function query(values: Query): string {
  const set = Object.entries(values).filter(([, v]) => v != null && v !== "");
  const text = new URLSearchParams(set.map(([k, v]) => [k, String(v)])).toString();
  return text && `?${text}`;
}

const at = encodeURIComponent;

export const cameras = (): Promise<Camera[]> => read("/api/cameras");
export const events = (filter: Query): Promise<IncidentPage> => read(`/api/events${query(filter)}`);
export const event = (id: string): Promise<Incident> => read(`/api/events/${at(id)}`);
export const review = (id: string, label: Label | null, note: string): Promise<Incident> =>
  post(`/api/events/${at(id)}/review`, { label, note });
export const preview = (id: string, label: Label): Promise<Preview> =>
  post(`/api/events/${at(id)}/review/preview`, { label });
export const backtest = (camera: string, asked: BacktestAsked): Promise<Backtest> =>
  post(`/api/cameras/${at(camera)}/backtest`, asked);
export const scores = (camera: string, asked: Query): Promise<Timeline> =>
  read(`/api/cameras/${at(camera)}/scores${query(asked)}`);
export const calibration = (camera: string, detector: string): Promise<Calibration> =>
  read(`/api/cameras/${at(camera)}/calibration${query({ detector })}`);
export const learn = (camera: string, detector: string | null): Promise<Camera> =>
  post(`/api/cameras/${at(camera)}/learn${query({ detector })}`);
export const detect = (camera: string, on: boolean): Promise<Camera> =>
  post(`/api/cameras/${at(camera)}/detect`, { on });
export const sinks = (): Promise<SinkStatus[]> => read("/api/sinks");
export const dead = (sink: string): Promise<DeadLetter[]> => read(`/api/sinks/${at(sink)}/dead`);
export const retry = (sink: string): Promise<{ retried: number }> => post(`/api/sinks/${at(sink)}/dead/retry`);
export const config = (): Promise<unknown> => read("/api/config");
export const checkConfig = (text: string): Promise<ConfigCheck> =>
  post("/api/config/check", { text });

/** Has the configuration read again; gives what that changed, or what is wrong with it. */
export async function reloadConfig(): Promise<Reloaded | ConfigCheck> {
  try {
    // Cameras that go are waited for.
    return await read<Reloaded>("/api/config/reload", { method: "POST", signal: AbortSignal.timeout(60_000) });
  } catch (failure) {
    if (failure instanceof Failure && failure.status === 422) return failure.answer as ConfigCheck;
    throw failure;
  }
}
export const logIn = (name: string, password: string): Promise<Response> =>
  ask("/api/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name, password }),
  });
export const logOut = (): Promise<Response> => ask("/api/logout", { method: "POST" });

/** Who is asking; `null` where one must sign in first. */
export async function me(): Promise<Me | null> {
  try {
    return await read<Me>("/api/me");
  } catch (failure) {
    if (failure instanceof Failure && failure.status === 401) return null;
    // A daemon without users lets everybody do everything.
    if (failure instanceof Failure && failure.status === 404)
      return { name: null, role: "admin", cameras: null, login: false };
    throw failure;
  }
}
