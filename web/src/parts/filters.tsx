// The filters of the event list, kept in the address.
import { useCell } from "../cell";
import { fromLocalInput, toLocalInput } from "../format";
import { go, href, route } from "../router";
import { cameras } from "../state";
import type { Incident } from "../types";
import { LABELS } from "./chip";

export interface Filter {
  cameras: string | null;
  after: string | null;
  before: string | null;
  min_score: string | null;
  in_progress: string | null;
  reviewed: string | null;
  label: string | null;
}

const KEYS = ["cameras", "after", "before", "min_score", "in_progress", "reviewed", "label"] as const;

export function filterOf(query: URLSearchParams): Filter {
  return Object.fromEntries(KEYS.map((key) => [key, query.get(key)])) as unknown as Filter;
}

/** Whether an event that has just come belongs into a list with this filter. */
export function fits(event: Incident, f: Filter): boolean {
  const last = event.end_time ?? event.last_time;
  return (
    (!f.cameras || f.cameras.split(",").includes(event.camera)) &&
    (!f.after || Date.parse(last) >= Date.parse(f.after)) &&
    (!f.before || Date.parse(event.start_time) < Date.parse(f.before)) &&
    (!f.min_score || event.top_score >= Number(f.min_score)) &&
    (!f.in_progress || (f.in_progress === "true") === !event.end_time) &&
    (!f.reviewed || (f.reviewed === "true") === !!event.review) &&
    (!f.label || event.review?.label === f.label)
  );
}

export function Filters({ filter }: { filter: Filter }) {
  const names = [...useCell(cameras).keys()];
  const set = (key: keyof Filter, value: string | null): void =>
    go(href(route.get().path, { ...filter, [key]: value || null }), true);
  const choice = (key: keyof Filter, name: string, options: [string, string][]) => (
    <label class="field">
      {name}
      <select name={key} value={filter[key] ?? ""} onChange={(e) => set(key, e.currentTarget.value)}>
        <option value="">any</option>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
  const time = (key: "after" | "before", name: string) => (
    <label class="field">
      {name}
      <input
        type="datetime-local"
        name={key}
        value={toLocalInput(filter[key])}
        onChange={(e) => set(key, fromLocalInput(e.currentTarget.value))}
      />
    </label>
  );
  return (
    <form class="filters" aria-label="filters" onSubmit={(e) => e.preventDefault()}>
      {choice("cameras", "Camera", names.map((n) => [n, n]))}
      {time("after", "From")}
      {time("before", "To")}
      <label class="field">
        Score from
        <input
          type="number"
          name="min_score"
          step="any"
          value={filter.min_score ?? ""}
          onChange={(e) => set("min_score", e.currentTarget.value)}
        />
      </label>
      {choice("in_progress", "State", [
        ["true", "going on"],
        ["false", "over"],
      ])}
      {choice("reviewed", "Reviewed", [
        ["true", "yes"],
        ["false", "no"],
      ])}
      {choice("label", "Label", LABELS.map((l) => [l.label, l.text]))}
      {Object.values(filter).some(Boolean) && (
        <button type="button" class="quiet" onClick={() => go(href(route.get().path), true)}>
          Clear
        </button>
      )}
    </form>
  );
}
