// The calibration curve: false alarms an hour by the limit, what was seen and what can be promised.
import * as api from "../api";
import { DASH, number } from "../format";
import { useAsked } from "../hooks";
import type { Baseline, Calibration, CurvePoint, Detector } from "../types";

const WIDE = 460;
const HIGH = 220;
const LEFT = 74;
const BOTTOM = 26;
/** Lines of the scale, in false alarms an hour. */
const RATES: [string, number][] = [
  ["12 an hour", 12],
  ["1 an hour", 1],
  ["1 a day", 1 / 24],
  ["1 a week", 1 / 168],
];

export function CalibrationView({ camera, detector }: { camera: string; detector: Detector }) {
  const keys = [camera, detector.name, detector.learning.model_sha256, detector.threshold?.limit];
  const [asked] = useAsked(() => api.calibration(camera, detector.name), keys);
  const c = asked.data;
  // An older daemon does not calibrate by budget.
  if (asked.absent || !c) return null;
  return (
    <section class="calibration" aria-labelledby="calibration-title">
      <h3 id="calibration-title">Calibration</h3>
      <p class="promise">{c.promise.text}</p>
      {c.curve.length > 0 && (
        <>
          <Curve calibration={c} limit={detector.threshold?.limit ?? null} />
          <details>
            <summary>As a table</summary>
            <Table curve={c.curve} />
          </details>
        </>
      )}
      {c.baselines?.length ? <Baselines of={c.baselines} /> : null}
    </section>
  );
}

/** What is usual when: scores are compared with their own part of the day. */
function Baselines({ of }: { of: Baseline[] }) {
  return (
    <details class="baselines">
      <summary>What is usual at which time of day</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">μ</th>
            <th scope="col">σ</th>
            <th scope="col">Rests on</th>
          </tr>
        </thead>
        <tbody>
          {of.map(({ part, mu, sigma, shared }) => (
            <tr key={part}>
              <td>{part}</td>
              <td>{number(mu)}</td>
              <td>{number(sigma)}</td>
              <td>{shared ? "the whole day, so far" : "this time"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

/** A rate in the unit that suits it. */
export function rate(perHour: number): string {
  if (!(perHour > 0)) return "0";
  if (perHour >= 0.9) return `${number(perHour)} an hour`;
  if (perHour * 24 >= 0.9) return `${number(perHour * 24)} a day`;
  return `${number(perHour * 168)} a week`;
}

function Curve({ calibration: { curve, seen, asked, budget }, limit }: { calibration: Calibration; limit: number | null }) {
  const limits = [...curve.map((p) => p.limit), ...seen.map((p) => p.limit), ...(limit == null ? [] : [limit])];
  const [from, to] = [Math.min(...limits), Math.max(...limits)];
  const [most, least] = [Math.log(20), Math.log(1 / 400)];
  const x = (v: number): number => LEFT + ((v - from) / (to - from || 1)) * (WIDE - LEFT - 12);
  const y = (r: number): number => {
    const share = (Math.log(Math.max(r, 1e-9)) - least) / (most - least);
    return (1 - Math.min(1, Math.max(0, share))) * (HIGH - BOTTOM);
  };
  const line = (points: CurvePoint[]): string => points.map((p) => `${x(p.limit)},${y(p.per_hour)}`).join(" ");
  const band = [
    ...curve.map((p) => `${x(p.limit)},${y(p.high)}`),
    ...curve.map((p) => `${x(p.limit)},${y(p.low)}`).reverse(),
  ].join(" ");
  // The part that rests on the tail's shape begins where the other ends.
  const first = curve.findIndex((p) => p.extrapolated);
  const known = first < 0 ? curve : curve.slice(0, first);
  const guessed = first < 0 ? [] : curve.slice(Math.max(0, first - 1));
  const label = `expected false alarms by the limit, from ${rate(curve[0]!.per_hour)} at ${number(curve[0]!.limit)} to ${rate(curve.at(-1)!.per_hour)} at ${number(curve.at(-1)!.limit)}`;
  return (
    <>
      <svg viewBox={`0 0 ${WIDE} ${HIGH}`} role="img" aria-label={label}>
        {RATES.map(([text, r]) => (
          <g key={text}>
            <line class="grid" x1={LEFT} x2={WIDE} y1={y(r)} y2={y(r)} />
            <text x={LEFT - 6} y={y(r) + 4} text-anchor="end">
              {text}
            </text>
          </g>
        ))}
        {[from, (from + to) / 2, to].map((v, i) => (
          <text key={i} x={x(v)} y={HIGH - 8} text-anchor={i === 0 ? "start" : i === 1 ? "middle" : "end"}>
            {number(v)}
          </text>
        ))}
        <polygon class="band" points={band} />
        {seen.map((p, i) => (
          <circle key={i} class="seen" cx={x(p.limit)} cy={y(p.per_hour)} r="2" />
        ))}
        <polyline class="curve" points={line(known)} />
        <polyline class="curve guessed" points={line(guessed)} />
        {limit != null && <line class="limit" x1={x(limit)} x2={x(limit)} y1="0" y2={HIGH - BOTTOM} />}
        {asked && <circle class="asked" cx={x(asked.limit)} cy={y(asked.per_hour)} r="5" />}
      </svg>
      <p class="dim">
        By the limit (below): dots were seen, the line is expected, dashed where it rests on the tail's shape, the band holds
        90 %; the dashed upright is the threshold in force{budget ? `, the ring the budget ${budget}` : ""}.
      </p>
    </>
  );
}

function Table({ curve }: { curve: CurvePoint[] }) {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Limit</th>
          <th scope="col">Expected</th>
          <th scope="col">90 % between</th>
          <th scope="col">Rests on</th>
        </tr>
      </thead>
      <tbody>
        {curve.map((p, i) => (
          <tr key={i}>
            <td>{number(p.limit)}</td>
            <td>{rate(p.per_hour)}</td>
            <td>{Number.isFinite(p.high) ? `${rate(p.low)} and ${rate(p.high)}` : DASH}</td>
            <td>{p.extrapolated ? "the tail's shape" : "what was seen"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
