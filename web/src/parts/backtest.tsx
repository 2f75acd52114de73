// What other settings would have done over the scores that are kept: a form, a plot, a table.
import { useState } from "preact/hooks";
import * as api from "../api";
import { number } from "../format";
import { useAsked } from "../hooks";
import { href } from "../router";
import type { Backtest, Detector, Trial } from "../types";
import { BacktestPlot } from "./backtest-plot";
import { Time } from "./time";

const DAY = 86_400_000;
/** The daemon's own span is the newest week of the model in force. */
const SPANS: [text: string, days: number | null][] = [
  ["what this model saw, a week at most", null],
  ["the last day", 1],
  ["the last three days", 3],
  ["the last 30 days", 30],
];

/** Numbers, or words, between commas; nothing for nothing. */
export function listed(text: string): string[] | undefined {
  const parts = text.split(",").map((part) => part.trim());
  const given = parts.filter(Boolean);
  return given.length ? given : undefined;
}

/** `2 of 3, 3/5` as pairs. */
export function openings(text: string): [number, number][] | undefined {
  return listed(text)?.map((part) => {
    const [n = NaN, m = NaN] = part.split(/\s*(?:of|\/)\s*/).map(Number);
    return [n, m];
  });
}

/** What was tried: `k 3` or `1/day`. */
export const settingOf = ({ k, budget }: Trial): string => budget ?? (k == null ? "k unknown" : `k ${Number(k.toFixed(2))}`);

export const openingOf = ({ open: [n, m] }: Trial): string => `${n} of ${m}`;

/** Whether a row is the setting in force itself. */
export const isInForce = (row: Trial, now: Trial): boolean =>
  openingOf(row) === openingOf(now) && row.budget === now.budget && Math.abs(row.threshold - now.threshold) < 1e-9;

export function BacktestView({ camera, detector }: { camera: string; detector: Detector }) {
  const [days, setDays] = useState<number | null>(null);
  const [k, setK] = useState("");
  const [budget, setBudget] = useState("");
  const [debounce, setDebounce] = useState("");
  const [found, set] = useState<Backtest | null>(null);
  const [problem, say] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const run = async (): Promise<void> => {
    setBusy(true);
    say(null);
    try {
      set(
        await api.backtest(camera, {
          detector: detector.name,
          after: days ? new Date(Date.now() - days * DAY).toISOString() : undefined,
          k: listed(k)?.map(Number),
          budget: listed(budget),
          debounce: openings(debounce),
        }),
      );
    } catch (failure) {
      say((failure as Error).message);
    }
    setBusy(false);
  };
  const field = (name: string, label: string, hint: string, value: string, put: (text: string) => void) => (
    <label class="field">
      {label}
      <input name={name} placeholder={hint} value={value} onInput={(e) => put(e.currentTarget.value)} />
    </label>
  );
  return (
    <section class="backtest" aria-labelledby="backtest-title">
      <h3 id="backtest-title">Try other settings</h3>
      <form
        onSubmit={(submit) => {
          submit.preventDefault();
          void run();
        }}
      >
        <div class="filters">
          <label class="field">
            Over
            <select name="span" value={String(days ?? "")} onChange={(e) => setDays(Number(e.currentTarget.value) || null)}>
              {SPANS.map(([text, value]) => (
                <option key={text} value={String(value ?? "")}>
                  {text}
                </option>
              ))}
            </select>
          </label>
          {field("k", "k", "2, 3, 4.5", k, setK)}
          {field("budget", "Budgets", "1/day, 2/week", budget, setBudget)}
          {field("debounce", "Opens with", "2 of 3, 3 of 5", debounce, setDebounce)}
          <button type="submit" disabled={busy}>
            {busy ? "Trying…" : "Try"}
          </button>
        </div>
        <p class="dim">
          Nothing is changed, and nothing decoded again: the scores that are kept are judged anew. What is left empty is tried in
          a useful spread.
        </p>
      </form>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {found && <Result found={found} />}
    </section>
  );
}

function Result({ found }: { found: Backtest }) {
  const { in_force: now, rows } = found;
  const [chosen, choose] = useState(openingOf(now));
  const all = [...new Set([openingOf(now), ...rows.map(openingOf)])];
  const opening = all.includes(chosen) ? chosen : all[0]!;
  const shown = rows.filter((row) => openingOf(row) === opening && !isInForce(row, now));
  return (
    <div class="result">
      <p class="seen">
        {number(found.hours)} hours and {found.segments.toLocaleString("en")} scores judged in {found.took_ms} ms;{" "}
        {found.true_alarms} of their events reviewed as true alarms, {found.false_alarms} as false.
      </p>
      {found.notes.map((note) => (
        <p key={note} class="note-line">
          {note}
        </p>
      ))}
      <div class="buttons" role="group" aria-label="an alarm opens with so many of so many segments">
        {all.map((text) => (
          <button key={text} type="button" class="quiet" aria-pressed={text === opening} onClick={() => choose(text)}>
            {text}
            {text === openingOf(now) ? " (in force)" : ""}
          </button>
        ))}
      </div>
      <BacktestPlot rows={shown} now={now} />
      <div class="scroll" role="region" aria-label="settings and their alarms" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Setting</th>
              <th scope="col">Limit</th>
              <th scope="col">Alarms a day</th>
              <th scope="col">True alarms</th>
              <th scope="col">False alarms</th>
            </tr>
          </thead>
          <tbody>
            <Row row={now} current />
            {shown.map((row) => (
              <Row key={`${settingOf(row)} ${row.threshold}`} row={row} />
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Row({ row, current = false }: { row: Trial; current?: boolean }) {
  return (
    <tr class={current ? "in-force" : undefined} aria-current={current ? "true" : undefined}>
      <th scope="row">
        {settingOf(row)}
        {current && <span class="chip calm">in force, {openingOf(row)}</span>}
        {row.extrapolated && <span class="dim"> by the tail's shape</span>}
      </th>
      <td>{number(row.threshold)}</td>
      <td>
        {number(row.alarms_per_day)} <span class="dim">({row.alarms.toLocaleString("en")})</span>
      </td>
      <td>
        {row.true_kept} raised <Ids ids={row.true_missed} what="missed" bad />
      </td>
      <td>
        {row.false_kept} raised <Ids ids={row.false_gone} what="gone" />
      </td>
    </tr>
  );
}

const MOST = 20;

/** Events that a setting would have missed: links, once somebody asks for them. */
function Ids({ ids, what, bad = false }: { ids: string[]; what: string; bad?: boolean }) {
  const [open, setOpen] = useState(false);
  if (!ids.length) return <span class="dim">0 {what}</span>;
  return (
    <details class={bad ? "ids bad" : "ids"} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>
        {ids.length} {what}
      </summary>
      {open && (
        <ul>
          {ids.slice(0, MOST).map((id) => (
            <li key={id}>
              <EventLink id={id} />
            </li>
          ))}
          {ids.length > MOST && <li class="dim">and {ids.length - MOST} more</li>}
        </ul>
      )}
    </details>
  );
}

function EventLink({ id }: { id: string }) {
  const [asked] = useAsked(() => api.event(id), [id]);
  return <a href={href(["events", id])}>{asked.data ? <Time at={asked.data.start_time} /> : id}</a>;
}
