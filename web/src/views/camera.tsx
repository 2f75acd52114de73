// One camera: its picture, what it learns and has learned, and its newest events.
import { useState } from "preact/hooks";
import * as api from "../api";
import { useCell } from "../cell";
import { DASH, duration, made, number } from "../format";
import { hours } from "../hours";
import { useAsked, useKeys } from "../hooks";
import { AlertRow } from "../parts/alert";
import { BacktestView } from "../parts/backtest";
import { CalibrationView } from "../parts/calibration";
import { Chip } from "../parts/chip";
import { Detect } from "../parts/detect";
import { Facts } from "../parts/facts";
import { Outlines } from "../parts/outlines";
import { Picture } from "../parts/picture";
import { Time } from "../parts/time";
import { complain, say } from "../parts/toast";
import { href } from "../router";
import { cameras, listed, mainDetector, may, merge, seen } from "../state";
import type { Camera, Detector } from "../types";
import { Learning } from "./wall";

const NEWEST = 6;

export function CameraView({ name }: { name: string }) {
  const sight = useCell(cameras).get(name);
  const known = useCell(listed);
  if (sight) return <Shown key={name} sight={sight} />;
  return known ? <p class="problem">No camera is named {name}.</p> : <p class="empty">Looking…</p>;
}

function Shown({ sight }: { sight: { data: Camera; at: number } }) {
  const { data } = sight;
  const [chosen, choose] = useState<string | null>(null);
  const [outlined, outline] = useState(true);
  const { masks, zones, schedule } = data.places;
  useKeys({ m: () => outline((on) => !on) });
  const detector = data.detectors.find((d) => d.name === chosen) ?? mainDetector(data);
  const count = data.detectors.filter((d) => d.open_event).length;
  const [events] = useAsked(() => api.events({ cameras: data.name, limit: NEWEST }), [data.name, count]);
  return (
    <article id="camera" data-camera={data.name} aria-labelledby="camera-title">
      <h2 id="camera-title" class="title">
        {data.name} <Chip of={data.state} kind="state" />
      </h2>
      {(data.problem || !data.healthy) && (
        <p class="problem">{data.problem ?? "the scores are not sound: look at the log"}</p>
      )}
      <div class="event">
        <div class="media">
          <div class="stack">
            <Picture seen={sight} detector={detector?.name} />
            {outlined && <Outlines masks={masks} zones={zones} />}
          </div>
          {masks.length + zones.length > 0 && (
            <label class="inline">
              <input id="outlined" type="checkbox" checked={outlined} onChange={(e) => outline(e.currentTarget.checked)} />{" "}
              Masks and zones <kbd>m</kbd>
            </label>
          )}
          <Detect camera={data} />
          <Facts
            wide
            of={[
              ["Stream", data.width ? `${data.width}×${data.height} ${data.codec ?? ""} ${data.fps.toFixed(1)} fps` : DASH],
              ["Last frame", data.last_frame ? <Time at={data.last_frame} /> : DASH],
              ["Age of it", data.last_frame_age_seconds == null ? DASH : duration(data.last_frame_age_seconds)],
              ["Frames", data.frames.toLocaleString("en")],
              ["Reconnects", String(data.reconnects)],
              ["Opens events", hours(schedule)],
              ["Source", <span class="hash">{data.source}</span>],
            ]}
          />
        </div>
        <div class="about">
          {data.detectors.length > 1 && detector && (
            <label class="field">
              Detector
              <select
                class="detector"
                value={detector.name}
                onChange={(e) => choose(e.currentTarget.value)}
              >
                {data.detectors.map((d) => (
                  <option key={d.name} value={d.name}>
                    {d.name}: {d.method}
                  </option>
                ))}
              </select>
            </label>
          )}
          {detector && <DetectorAbout camera={data} detector={detector} />}
        </div>
      </div>
      {detector && may("operator") && <BacktestView key={detector.name} camera={data.name} detector={detector} />}
      <section aria-labelledby="newest-title">
        <h3 id="newest-title">Newest events</h3>
        <ol class="alerts grid">
          {merge([], events.data?.events ?? []).map((e) => (
            <li key={e.id} data-event={e.id}>
              <AlertRow event={e} />
            </li>
          ))}
        </ol>
        {events.data?.events.length === 0 && <p class="empty">Nothing unusual so far.</p>}
        <a href={href(["events"], { cameras: data.name })}>All of its events</a>
      </section>
    </article>
  );
}

function DetectorAbout({ camera, detector }: { camera: Camera; detector: Detector }) {
  const { learning, threshold } = detector;
  const several = camera.detectors.length > 1;
  return (
    <section aria-labelledby="detector-title">
      <h3 id="detector-title">
        Detector {detector.name} <Chip of={learning.state} kind="mode" />
      </h3>
      {learning.state !== "armed" && <Learning camera={camera.name} detector={detector} named={several} />}
      <Facts
        wide
        of={[
          ["Method", detector.method],
          ["Score", number(detector.score)],
          ["Threshold", number(threshold?.limit)],
          threshold && ["Made of", made(threshold)],
          ["Opens events", detector.alerts ? "yes" : "no: its verdict is fused with others'"],
          ["Segments", detector.segments.toLocaleString("en")],
          ["Learned", learning.learned_at ? <Time at={learning.learned_at} /> : DASH],
          ["Model", <span class="hash model">{learning.model_sha256 ?? "none yet"}</span>],
        ]}
      />
      <CalibrationView camera={camera.name} detector={detector} />
      <p class="line">
        <a href={href(["timeline"], { camera: camera.name, detector: detector.name })}>Timeline</a>
        {may("operator") && <LearnAgain camera={camera} detector={detector} />}
      </p>
    </section>
  );
}

function LearnAgain({ camera, detector }: { camera: Camera; detector: Detector }) {
  const [sure, ask] = useState(false);
  // What is fused of several is learned by all of them.
  const one = camera.detectors.length > 1 && !detector.method.includes(" and ") ? detector.name : null;
  const learn = async (): Promise<void> => {
    ask(false);
    try {
      seen([await api.learn(camera.name, one)], false);
      say(`${camera.name} learns again; the old model watches until the new one is ready`);
    } catch (failure) {
      complain(failure);
    }
  };
  if (sure)
    return (
      <span class="line">
        What it sees from now on becomes normal.
        <button type="button" class="learn" onClick={() => void learn()}>
          Yes, learn again
        </button>
        <button type="button" class="quiet" onClick={() => ask(false)}>
          No
        </button>
      </span>
    );
  return (
    <button type="button" class="quiet learn" disabled={detector.learning.state !== "armed"} onClick={() => ask(true)}>
      Learn again
    </button>
  );
}
