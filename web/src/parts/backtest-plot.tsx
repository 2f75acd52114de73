// Alarms a day by the limit: a line through every k, a ring for every budget, the setting in force marked.
import { number } from "../format";
import type { Trial } from "../types";
import { settingOf } from "./backtest";

const WIDE = 460;
const HIGH = 200;
const LEFT = 40;
const BOTTOM = 26;
const TOP = 24;
/** Room for what is written beside the last point. */
const RIGHT = 56;

export function BacktestPlot({ rows, now }: { rows: Trial[]; now: Trial }) {
  const all = [...rows, now];
  const limits = all.map((row) => row.threshold).filter(Number.isFinite);
  const [from, to] = [Math.min(...limits), Math.max(...limits)];
  const most = Math.max(1, ...all.map((row) => row.alarms_per_day));
  const x = (limit: number): number => LEFT + 8 + ((limit - from) / (to - from || 1)) * (WIDE - LEFT - RIGHT);
  // A day without an alarm has its place too.
  const y = (rate: number): number => HIGH - BOTTOM - (Math.log1p(rate) / Math.log1p(most)) * (HIGH - BOTTOM - TOP);
  const marks = [0, 1, 10, 100, 1000, 10_000].filter((mark) => mark <= most);
  const sorted = rows.filter((row) => Number.isFinite(row.threshold)).sort((a, b) => a.threshold - b.threshold);
  const ks = sorted.filter((row) => !row.budget);
  const words = [...ks, ...sorted.filter((row) => row.budget)].map((row) => `${settingOf(row)} ${number(row.alarms_per_day)}`);
  const label = `alarms a day: in force ${number(now.alarms_per_day)}; ${words.join(", ")}`;
  return (
    <figure>
      <svg viewBox={`0 0 ${WIDE} ${HIGH}`} role="img" aria-label={label}>
        {marks.map((mark) => (
          <g key={mark}>
            <line class="grid" x1={LEFT} x2={WIDE} y1={y(mark)} y2={y(mark)} />
            <text x={LEFT - 6} y={y(mark) + 4} text-anchor="end">
              {mark}
            </text>
          </g>
        ))}
        <polyline class="curve" points={ks.map((row) => `${x(row.threshold)},${y(row.alarms_per_day)}`).join(" ")} />
        {sorted.map((row, i) => (
          <g key={i}>
            <circle
              class={row.budget ? "budget" : "k"}
              cx={x(row.threshold)}
              cy={y(row.alarms_per_day)}
              r={row.budget ? 5 : 3.5}
            />
            <text x={x(row.threshold) + 7} y={y(row.alarms_per_day) + (row.budget ? 13 : -7)}>
              {settingOf(row)}
            </text>
          </g>
        ))}
        <line class="limit" x1={x(now.threshold)} x2={x(now.threshold)} y1={TOP} y2={HIGH - BOTTOM} />
        <circle class="now" cx={x(now.threshold)} cy={y(now.alarms_per_day)} r="5" />
        <text x={LEFT + 8} y={HIGH - 6}>
          {number(from)}
        </text>
        <text x={x(to)} y={HIGH - 6} text-anchor="end">
          {number(to)}
        </text>
      </svg>
      <figcaption class="dim">
        Alarms a day (left) by the limit (below): dots are k, rings are budgets, the filled one on the dashed upright is in force.
      </figcaption>
    </figure>
  );
}
