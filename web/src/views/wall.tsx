// The camera wall: every camera's picture, state and score, and the newest alerts beside them.
import { useCell } from "../cell";
import { number, rarity } from "../format";
import { useEffect, useState } from "preact/hooks";
import { AlertRow } from "../parts/alert";
import { Chip } from "../parts/chip";
import { Detect } from "../parts/detect";
import { Picture } from "../parts/picture";
import { Spark } from "../parts/spark";
import { href } from "../router";
import { type Seen, alerts, cameras, listed, mainDetector, trace } from "../state";
import type { Detector } from "../types";

const NEWEST = 12;

export function Wall() {
  const all = [...useCell(cameras).values()];
  const newest = useCell(alerts).slice(0, NEWEST);
  const known = useCell(listed);
  return (
    <div class="wall">
      <section aria-labelledby="cameras-title">
        <h2 id="cameras-title">Cameras</h2>
        <div class="cameras">
          {all.map((seen) => (
            <Card key={seen.data.name} seen={seen} />
          ))}
        </div>
        {known && !all.length && <p class="empty">No camera is configured.</p>}
      </section>
      <section aria-labelledby="alerts-title" class="side">
        <h2 id="alerts-title">Alerts</h2>
        <ol id="alerts" class="alerts">
          {newest.map((event) => (
            <li key={event.id} data-event={event.id}>
              <AlertRow event={event} />
            </li>
          ))}
        </ol>
        {newest.length ? <a href={href(["events"])}>All events</a> : <p class="empty">Nothing unusual so far.</p>}
      </section>
    </div>
  );
}

function Card({ seen }: { seen: Seen }) {
  const { data } = seen;
  const detector = mainDetector(data);
  const open = data.detectors.find((d) => d.open_event);
  return (
    <article class={open ? "camera alarm" : "camera"} data-camera={data.name}>
      <div class="stack">
        <Picture seen={seen} />
        <div class="over">
          <h3 class="name">
            <a href={href(["cameras", data.name])}>{data.name}</a>
          </h3>
          {open?.open_event && (
            <a class="badge" href={href(["events", open.open_event])}>
              ● alert
            </a>
          )}
          <Chip of={data.state} kind="state" />
          {detector && <Chip of={detector.learning.state} kind="mode" />}
        </div>
      </div>
      {(data.problem || !data.healthy) && (
        <p class="problem">{data.problem ?? "the scores are not sound: look at the log"}</p>
      )}
      {data.detectors
        .filter((d) => d.learning.state !== "armed")
        .map((d) => (
          <Learning key={d.name} camera={data.name} detector={d} named={data.detectors.length > 1} />
        ))}
      <Detect camera={data} />
      {detector && (
        <>
          {detector.learning.state !== "learning" && <Numbers camera={data.name} detector={detector} />}
          <a class="chart-link" href={href(["timeline"], { camera: data.name })} aria-label={`timeline of ${data.name}`}>
            <Spark camera={data.name} detector={detector.name} />
          </a>
        </>
      )}
    </article>
  );
}

export function Learning({ camera, detector, named }: { camera: string; detector: Detector; named: boolean }) {
  const { step, progress } = detector.learning;
  return (
    <div class="learning">
      <p class="step">
        {named ? `${detector.name}: ` : ""}
        {step} · {Math.round(progress * 100)} %
      </p>
      <progress max="1" value={progress} aria-label={`learning of ${camera}${named ? `, ${detector.name}` : ""}`} />
    </div>
  );
}

/** The newest score, which the stream tells sooner than the list of cameras. */
function Numbers({ camera, detector }: { camera: string; detector: Detector }) {
  const [, redraw] = useState({});
  const line = trace(camera, detector.name);
  useEffect(() => line.watch(() => redraw({})), [line]);
  const last = line.last();
  const score = last?.score ?? detector.score;
  const limit = last?.threshold ?? detector.threshold?.limit;
  const over = score != null && limit != null && score > limit;
  return (
    <p class="numbers">
      score <b class={over ? "score over-limit" : "score"}>{number(score)}</b>
      {over ? " ▲ over " : " of "}
      <b class="limit">{number(limit)}</b>
      <span class="rarity">{rarity(detector.probability)}</span>
    </p>
  );
}
