// The list of events: filters, pages, and review by keyboard.
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api";
import { useCell } from "../cell";
import { useKeys } from "../hooks";
import { onAlert } from "../live";
import { AlertRow } from "../parts/alert";
import { type Filter, Filters, filterOf, fits } from "../parts/filters";
import { NoteDialog, giveReview } from "../parts/review";
import { route } from "../router";
import { leafed, may, merge } from "../state";
import type { Incident, Label } from "../types";

const PAGE = 40;

interface List {
  events: readonly Incident[];
  next: string | null;
  problem: string | null;
  loading: boolean;
}

const EMPTY: List = { events: [], next: null, problem: null, loading: true };

function useEvents(filter: Filter): [List, () => void, (news: Incident) => void] {
  const [list, set] = useState<List>(EMPTY);
  const asked = JSON.stringify(filter);
  const current = useRef(asked);
  current.current = asked;
  const load = async (cursor: string | null): Promise<void> => {
    set((l) => ({ ...l, loading: true }));
    try {
      const page = await api.events({ ...filter, limit: PAGE, cursor });
      if (current.current !== asked) return;
      set((l) => ({
        events: cursor ? merge(l.events, page.events) : page.events,
        next: page.next,
        problem: null,
        loading: false,
      }));
    } catch (failure) {
      if (current.current === asked) set((l) => ({ ...l, problem: (failure as Error).message, loading: false }));
    }
  };
  const put = (news: Incident): void =>
    set((l) =>
      l.events.some((e) => e.id === news.id) || fits(news, filter) ? { ...l, events: merge(l.events, [news]) } : l,
    );
  useEffect(() => {
    void load(null);
    onAlert.add(put);
    return () => void onAlert.delete(put);
  }, [asked]);
  return [list, () => void load(list.next), put];
}

export function Events() {
  const filter = filterOf(useCell(route).query);
  const [list, more, put] = useEvents(filter);
  const [chosen, choose] = useState<string | null>(null);
  const [noting, note] = useState<Incident | null>(null);
  const rows = useRef<HTMLOListElement>(null);
  const { events } = list;
  useEffect(() => leafed.set(events.map((e) => e.id)), [events]);

  const focus = (id: string): void =>
    rows.current?.querySelector<HTMLElement>(`[data-event="${CSS.escape(id)}"] a`)?.focus();
  const move = (by: number): void => {
    const at = events.findIndex((e) => e.id === chosen);
    const next = events[at < 0 ? 0 : Math.max(0, Math.min(events.length - 1, at + by))];
    if (next) focus(next.id);
    if (at + by >= events.length - 1 && list.next && !list.loading) more();
  };
  const one = (): Incident | undefined => events.find((e) => e.id === chosen);
  const give = (label: Label): void => {
    const event = one();
    if (event) void giveReview(event, label, event.review?.note ?? "").then((now) => now && put(now));
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    t: () => give("true_alarm"),
    f: () => give("false_alarm"),
    u: () => give("unsure"),
    n: () => may("operator") && note(one() ?? null),
  });

  return (
    <section aria-labelledby="events-title">
      <h2 id="events-title">Events</h2>
      <Filters filter={filter} />
      <p class="dim hint">
        <kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> opens, <kbd>t</kbd> true, <kbd>f</kbd> false, <kbd>u</kbd>{" "}
        unsure, <kbd>n</kbd> note
      </p>
      <ol ref={rows} class="alerts grid" id="events">
        {events.map((event) => (
          <li key={event.id} data-event={event.id}>
            <AlertRow event={event} chosen={event.id === chosen} onFocus={() => choose(event.id)} />
          </li>
        ))}
      </ol>
      {list.problem && <p class="problem">{list.problem}</p>}
      {!events.length && !list.problem && (
        <p class="empty">{list.loading ? "Looking…" : "No event fits these filters."}</p>
      )}
      {list.next && (
        <button type="button" class="quiet" onClick={more} disabled={list.loading}>
          Older events
        </button>
      )}
      {noting && (
        <NoteDialog
          event={noting}
          onClose={(now) => {
            if (now) put(now);
            note(null);
            focus(noting.id);
          }}
        />
      )}
    </section>
  );
}
