// The clip of an event, with the map over it where wanted.
import { useRef, useState } from "preact/hooks";
import type { Incident } from "../types";
import { Overlay } from "./overlay";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
/** A step of the frame buttons, in seconds. */
const STEP = 1 / 12;

export function Clip({ event, map }: { event: Incident; map: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  const [speed, setSpeed] = useState(1);
  const [broken, setBroken] = useState(false);
  const step = (by: number): void => {
    const v = video.current;
    if (!v) return;
    v.pause();
    v.currentTime = Math.max(0, v.currentTime + by);
  };
  return (
    <section aria-labelledby="clip-title">
      <h3 id="clip-title">Clip</h3>
      <div class="stack still">
        <video
          ref={video}
          src={event.clip ?? undefined}
          controls
          playsInline
          preload="metadata"
          aria-label={`clip of ${event.camera}`}
          onError={() => setBroken(true)}
        />
        {map && event.map && <Overlay map={event.map} limit={event.threshold} />}
      </div>
      {broken && <p class="problem">This browser cannot play the clip; download it and play it elsewhere.</p>}
      <div class="line tools">
        <button type="button" class="quiet" onClick={() => step(-STEP)} aria-label="one frame back">
          ◂|
        </button>
        <button type="button" class="quiet" onClick={() => step(STEP)} aria-label="one frame on">
          |▸
        </button>
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
    </section>
  );
}
