// Whether a camera opens events, in words, and the switch for it where somebody may turn it.
import { useState } from "preact/hooks";
import * as api from "../api";
import { hours } from "../hours";
import { may, seen } from "../state";
import type { Camera } from "../types";
import { complain, say } from "./toast";

/** Whether a camera opens events now, and why not. */
export function detectText({ detect, places, detectors }: Camera): string {
  switch (detect.state) {
    case "on":
      if (detectors.every((d) => !d.alerts || d.learning.state === "learning")) return "opens events once it has learned";
      return places.schedule ? "opens events, by its schedule" : "opens events";
    case "off":
      return "opens no events: switched off by hand";
    case "schedule":
      return `opens no events now, by its schedule: ${hours(places.schedule)}`;
    case "scene_change":
      return "opens no events while the whole picture changes";
  }
}

export function Detect({ camera }: { camera: Camera }) {
  const [busy, setBusy] = useState(false);
  const { name, detect } = camera;
  const turn = async (): Promise<void> => {
    setBusy(true);
    try {
      const now = await api.detect(name, !detect.on);
      seen([now], false);
      say(`${name} ${detectText(now)}`);
    } catch (failure) {
      complain(failure);
    }
    setBusy(false);
  };
  return (
    <p class={`detect ${detect.state}`}>
      {may("operator") && (
        <button
          type="button"
          role="switch"
          class="switch"
          aria-checked={detect.on}
          aria-label={`events of ${name}`}
          disabled={busy}
          onClick={() => void turn()}
        >
          {detect.on ? "on" : "off"}
        </button>
      )}
      <span class="detect-text">{detectText(camera)}</span>
    </p>
  );
}
