// Why an event is one: its frames, its features in words, what of normal life was most like it, and the numbers.
import { duration, lasted, made, number, rarity } from "../format";
import { href } from "../router";
import type { Incident, Similar, Why } from "../types";
import { Facts } from "./facts";
import { quietText } from "./quiet";
import { Time } from "./time";

export function WhyView({ event }: { event: Incident }) {
  const { first, last } = event.segments;
  const { why } = event;
  const reasons = [...(why?.features.map((f) => f.text) ?? []), ...event.factors.map((f) => f.text)];
  return (
    <section aria-labelledby="why-title" class="why-view">
      <h3 id="why-title">Why</h3>
      {reasons.length > 0 && (
        <ul class="reasons">
          {reasons.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
      {why && why.frames.length > 0 && <Frames why={why} />}
      {why && why.similar.length > 0 && <MostAlike event={event} similar={why.similar} />}
      <Facts
        wide
        of={[
          ["Highest score", number(event.top_score)],
          ["Threshold in force", `${number(event.threshold)} = ${made(event)}`],
          ["Rarity", rarity(event.probability)],
          ["Severity", event.severity],
          event.quiet && ["Quiet", quietText(event.quiet)],
          event.zones.length > 0 && ["Zones", event.zones.join(", ")],
          ["Began", <Time at={event.start_time} />],
          ["Lasted", event.end_time ? lasted(event.start_time, event.end_time) : `goes on, last seen ${ago(event)}`],
          ["Strangest regions", event.top_regions.map((r) => `row ${r.row + 1}, column ${r.column + 1}`).join("; ")],
          ["Detector", event.detector],
          ["Scorer", event.scorer],
          ["Segments", `${first} to ${last}`],
          ["Model", <span class="hash">{`${event.model.name} ${event.model.sha256}`}</span>],
          ["Event", <span class="hash">{event.id}</span>],
        ]}
      />
    </section>
  );
}

const ago = (event: Incident): string => `${duration((Date.now() - Date.parse(event.last_time)) / 1000)} ago`;

const HIGH = 48;
const STEP = 20;

/** How much moved in the strangest regions from frame to frame, the most marked. */
function Frames({ why: { frames, peak_frame, peak_time } }: { why: Why }) {
  const label = `movement in each of the ${frames.length} frames, most in frame ${peak_frame + 1}`;
  return (
    <figure class="frames">
      <svg viewBox={`0 0 ${frames.length * STEP} ${HIGH}`} preserveAspectRatio="none" role="img" aria-label={label}>
        {frames.map((share, i) => {
          const high = Math.max(2, share * HIGH);
          const kind = i === peak_frame ? "peak" : "bar";
          return <rect key={i} class={kind} x={i * STEP + 2} y={HIGH - high} width={STEP - 4} height={high} />;
        })}
      </svg>
      <figcaption class="dim">
        Movement in the strangest regions, frame by frame: most in frame {peak_frame + 1} of {frames.length}
        {peak_time && (
          <>
            {" "}
            (<Time at={peak_time} />)
          </>
        )}
      </figcaption>
    </figure>
  );
}

function MostAlike({ event, similar }: { event: Incident; similar: Similar[] }) {
  return (
    <figure class="similar">
      <figcaption>Normal life that was most like it there</figcaption>
      <ol>
        {similar.map((one) => (
          <li key={one.time}>
            {one.picture ? (
              <img src={one.picture} alt={`normal life at ${event.camera}, ${one.time}`} loading="lazy" />
            ) : (
              <span class="no-picture">no picture</span>
            )}
            <a href={around(event, one.time)}>
              <Time at={one.time} />
            </a>
            <span class="dim">{number(one.distance)} σ away</span>
          </li>
        ))}
      </ol>
    </figure>
  );
}

/** The ten minutes of the timeline around a moment. */
function around({ camera, detector }: Incident, time: string): string {
  const end = new Date(Math.min(Date.now(), Date.parse(time) + 300_000)).toISOString();
  return href(["timeline"], { camera, detector, span: "600", end });
}
