// The clip of an event: a player with the map over it, and what the clip is, in words.
import { useEffect, useRef, useState } from "preact/hooks";
import { clock, duration, size } from "../format";
import { useKeys } from "../hooks";
import type { ClipDetails, Incident, Lack } from "../types";
import { Overlay } from "./overlay";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
/** A step of the frame buttons, in seconds. */
const STEP = 1 / 12;

const LACKS: Record<Lack, string> = {
  beginning: "its beginning is missing: the camera had just connected, or its memory did not reach back so far",
  middle: "a part in its middle is missing: the camera was away, or the disk too slow",
  end: "its end is missing: the event was longer than a clip may be, or the camera was lost",
};

/** What a clip is, and what it lacks. */
export function clipText(clip: ClipDetails): string[] {
  const whose = clip.encoded_here
    ? `encoded here (${clip.codec}), small, since the camera sends neither H.264 nor H.265`
    : `the camera's own video (${clip.codec}), untouched`;
  const what = `${duration(clip.seconds)} from ${clock(clip.start)}, ${size(clip.bytes)}: ${whose}`;
  return [what, ...(clip.complete ? ["nothing is missing"] : clip.lacks.map((lack) => LACKS[lack]))];
}

/** Seconds into the clip at which its event begins and ends. */
export function within({ start_time, last_time }: Incident, clip: ClipDetails): [number, number] {
  const at = (time: string): number => (Date.parse(time) - Date.parse(clip.start)) / 1000;
  const held = (seconds: number): number => Math.min(clip.seconds, Math.max(0, seconds));
  return [held(at(start_time)), held(at(last_time))];
}

export function Clip({ event, map }: { event: Incident; map: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  const [speed, setSpeed] = useState(1);
  const [broken, setBroken] = useState(false);
  const [at, setAt] = useState(0);
  const details = event.clip_details;
  const span = details ? within(event, details) : null;
  const step = (by: number): void => {
    const v = video.current;
    if (!v) return;
    v.pause();
    v.currentTime = Math.max(0, v.currentTime + by);
  };
  const play = (): void => {
    const v = video.current;
    if (v) void (v.paused ? v.play() : v.pause());
  };
  const toEvent = (): void => {
    if (video.current && span) video.current.currentTime = span[0];
  };
  useKeys({ p: play, ",": () => step(-STEP), ".": () => step(STEP), b: toEvent });
  useEffect(() => setBroken(false), [event.clip]);
  // The map is of the event: before and after it there is little to it.
  const during = !span || (at >= span[0] - 0.1 && at <= span[1] + 0.1);
  return (
    <section aria-labelledby="clip-title" class="clip">
      <h3 id="clip-title">Clip</h3>
      <div class="stack still">
        <video
          ref={video}
          src={event.clip ?? undefined}
          controls
          muted
          playsInline
          preload="auto"
          aria-label={`clip of ${event.camera}`}
          onError={() => setBroken(true)}
          onTimeUpdate={(e) => setAt(e.currentTarget.currentTime)}
        />
        {map && event.map && (
          <div class={during ? "over-clip" : "over-clip faint"}>
            <Overlay map={event.map} limit={event.threshold} />
          </div>
        )}
      </div>
      {details && span && <Where at={at} span={span} long={details.seconds} />}
      {broken && (
        <p class="problem">
          This browser cannot play the clip{details ? ` (${details.codec})` : ""}; download it and play it elsewhere.
        </p>
      )}
      <div class="line tools">
        <button type="button" class="quiet" onClick={play} aria-keyshortcuts="p">
          Play <kbd>p</kbd>
        </button>
        <button type="button" class="quiet" onClick={() => step(-STEP)} aria-label="one frame back">
          ◂| <kbd>,</kbd>
        </button>
        <button type="button" class="quiet" onClick={() => step(STEP)} aria-label="one frame on">
          |▸ <kbd>.</kbd>
        </button>
        {span && (
          <button type="button" class="quiet to-event" onClick={toEvent} aria-keyshortcuts="b">
            To its beginning <kbd>b</kbd>
          </button>
        )}
        <label class="inline">
          Speed{" "}
          <select
            value={String(speed)}
            onChange={(e) => {
              const chosen = Number(e.currentTarget.value);
              setSpeed(chosen);
              if (video.current) video.current.playbackRate = chosen;
            }}
          >
            {SPEEDS.map((s) => (
              <option key={s} value={String(s)}>
                {s}×
              </option>
            ))}
          </select>
        </label>
        <a href={event.clip ?? undefined} download={`${event.camera}-${event.id}.mp4`}>
          Download
        </a>
      </div>
      {details && (
        <ul class={details.complete ? "clip-details" : "clip-details lacking"}>
          {clipText(details).map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** Which part of the clip is the event, and where the player is. */
function Where({ at, span: [begin, end], long }: { at: number; span: [number, number]; long: number }) {
  const share = (seconds: number): number => (1000 * seconds) / long;
  const label = `the event is from ${duration(begin)} to ${duration(end)} of the clip's ${duration(long)}`;
  return (
    <svg class="where" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect class="all" x="0" y="4" width="1000" height="4" />
      <rect class="event" x={share(begin)} y="2" width={Math.max(6, share(end - begin))} height="8" />
      <rect class="now" x={Math.min(996, share(at))} y="0" width="4" height="12" />
    </svg>
  );
}
