// One event: its picture with the map, its clip, why it was raised, and what people say of it.
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { useCell } from "../cell";
import { useAsked, useKeys } from "../hooks";
import { onAlert } from "../live";
import { newest } from "../parts/alert";
import { Chip } from "../parts/chip";
import { Clip } from "../parts/clip";
import { Outlines } from "../parts/outlines";
import { Overlay } from "../parts/overlay";
import { ClockChip, QuietChip } from "../parts/quiet";
import { ReviewForm } from "../parts/review";
import { Time } from "../parts/time";
import { WhyView } from "../parts/why";
import { go, href } from "../router";
import { cameras, leafed } from "../state";
import type { Incident } from "../types";

export function EventView({ id }: { id: string }) {
  const [asked, again] = useAsked(() => api.event(id), [id]);
  const [event, set] = useState<Incident | null>(null);
  useEffect(() => set(asked.data), [asked.data]);
  useEffect(() => {
    const act = (news: Incident): void => void (news.id === id && again());
    onAlert.add(act);
    return () => void onAlert.delete(act);
  }, [id]);
  if (event?.id === id) return <Shown event={event} onReview={(now) => set({ ...event, review: now.review ?? null })} />;
  return asked.problem ? <p class="problem">{asked.problem}</p> : <p class="empty">Looking…</p>;
}

function Shown({ event, onReview }: { event: Incident; onReview: (event: Incident) => void }) {
  const [map, setMap] = useState(true);
  const places = useCell(cameras).get(event.camera)?.data.places;
  const zones = places?.zones.filter((zone) => event.zones.includes(zone.name)) ?? [];
  const ids = useCell(leafed);
  const at = ids.indexOf(event.id);
  const [newer, older] = [at > 0 ? ids[at - 1] : undefined, at >= 0 ? ids[at + 1] : undefined];
  useKeys({
    j: () => older && go(href(["events", older])),
    k: () => newer && go(href(["events", newer])),
    n: () => document.getElementById("note")?.focus(),
    m: () => setMap((on) => !on),
    Escape: ({ target }) =>
      target instanceof HTMLTextAreaElement ? target.blur() : history.length > 1 ? history.back() : go(href(["events"])),
  });
  const picture = newest(event, "snapshot");
  return (
    <article id="event" aria-labelledby="event-title">
      <nav class="line" aria-label="events">
        <a href={href(["events"])}>All events</a>
        {newer && (
          <a href={href(["events", newer])}>
            Newer <kbd>k</kbd>
          </a>
        )}
        {older && (
          <a href={href(["events", older])}>
            Older <kbd>j</kbd>
          </a>
        )}
      </nav>
      <h2 id="event-title" class="title">
        {event.camera}, <Time at={event.start_time} /> <Chip of={event.severity} />
        {event.review?.label && <Chip of={event.review.label} />}
        {event.quiet && <QuietChip of={event.quiet} />}
        {event.clock_suspect && <ClockChip />}
        {event.zones.map((zone) => (
          <span key={zone} class="chip zone">
            {zone}
          </span>
        ))}
      </h2>
      <div class="event">
        <div class="media">
          {picture ? (
            <div class="stack still">
              <img
                id="snapshot"
                src={`${picture}&map=false`}
                alt={`snapshot of ${event.camera}`}
              />
              {map && event.map && <Overlay map={event.map} limit={event.threshold} />}
              {map && <Outlines zones={zones} />}
            </div>
          ) : (
            <p class="empty">There is no picture of it.</p>
          )}
          {(picture || event.clip) && event.map && (
            <label class="inline">
              <input id="map" type="checkbox" checked={map} onChange={(e) => setMap(e.currentTarget.checked)} /> Map of
              unusual regions <kbd>m</kbd>
            </label>
          )}
          {event.clip && <Clip event={event} map={map} />}
        </div>
        <div class="about">
          <ReviewForm event={event} onReview={onReview} />
          <WhyView event={event} />
          <p>
            <a href={aroundOf(event)}>On the timeline</a>
          </p>
        </div>
      </div>
    </article>
  );
}

/** The timeline with the event in its middle. */
function aroundOf(event: Incident): string {
  const begin = Date.parse(event.start_time);
  const long = Math.max(600, 4 * ((Date.parse(event.end_time ?? event.last_time) - begin) / 1000));
  const end = new Date(Math.min(Date.now(), begin + long * 700)).toISOString();
  return href(["timeline"], { camera: event.camera, detector: event.detector, span: String(Math.round(long)), end });
}
