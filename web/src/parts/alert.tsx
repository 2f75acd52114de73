// One event as a row of a list: picture, camera, time, score, what people said of it.
import { DASH, lasted, number, short } from "../format";
import { href } from "../router";
import type { Incident } from "../types";
import { Chip } from "./chip";
import { ClockChip, QuietChip } from "./quiet";
import { Time } from "./time";

/** A stranger moment replaces the picture under the same address. */
export function newest(event: Incident, picture: "thumbnail" | "snapshot"): string | null {
  const link = event[picture];
  return link && `${link}${link.includes("?") ? "&" : "?"}v=${Date.parse(event.last_time)}`;
}

interface Props {
  event: Incident;
  chosen?: boolean;
  onFocus?: () => void;
}

export function AlertRow({ event, chosen = false, onFocus }: Props) {
  const picture = newest(event, "thumbnail");
  const open = !event.end_time;
  return (
    <a
      class={`alert${open ? " open" : ""}${chosen ? " chosen" : ""}`}
      href={href(["events", event.id])}
      aria-current={chosen ? "true" : undefined}
      onFocus={onFocus}
    >
      <span class="thumb">
        {picture && <img src={picture} alt={`what was unusual at ${event.camera}`} loading="lazy" />}
      </span>
      <span class="what">
        <span class="line">
          <b class="camera-name">{event.camera}</b>
          {event.detector !== "main" && <span class="detector-name">{event.detector}</span>}
          <Chip of={event.severity} kind="severity" />
        </span>
        <span class="line">
          <Time at={event.start_time} /> · {open ? <b class="going-on">goes on</b> : lasted(event.start_time, event.end_time)}
        </span>
        <span class="numbers">
          score {number(event.top_score)} over {number(event.threshold)}
        </span>
        {(event.quiet || event.clock_suspect || event.zones.length > 0) && (
          <span class="line small">
            {event.zones.map((zone) => (
              <span key={zone} class="chip zone">
                {zone}
              </span>
            ))}
            {event.quiet && <QuietChip of={event.quiet} />}
            {event.clock_suspect && <ClockChip />}
          </span>
        )}
        <span class="line small">
          <span class="hash">
            {event.scorer || DASH} {short(event.model.sha256)}
          </span>
          {event.review && <Chip of={event.review.label ?? "reviewed"} kind="label" />}
        </span>
      </span>
    </a>
  );
}
