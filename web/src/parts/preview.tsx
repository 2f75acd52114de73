// What a review would change, before it is stored: the threshold, and the past events that would vanish or appear.
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { duration, number } from "../format";
import { href } from "../router";
import type { Incident, Label, Preview } from "../types";
import { LABELS } from "./chip";
import { Time } from "./time";

interface Props {
  event: Incident;
  label: Label;
  onSave: () => void;
  onCancel: () => void;
}

/** The buttons come with the answer: they must not move away from under a hand. */
export function PreviewView({ event, label, onSave, onCancel }: Props) {
  const [preview, set] = useState<Preview | null>(null);
  const [problem, say] = useState<string | null>(null);
  useEffect(() => {
    let over = false;
    api.preview(event.id, label).then(
      (found) => over || set(found),
      (failure: Error) => over || say(failure.message),
    );
    return () => {
      over = true;
    };
  }, [event.id, label]);
  const { text, key } = LABELS.find((l) => l.label === label)!;
  return (
    <section class="preview" aria-labelledby="preview-title">
      <h4 id="preview-title">{text}: what it would change</h4>
      <div aria-live="polite">
        {problem && <p class="problem">It cannot be told: {problem}</p>}
        {!preview && !problem && <p class="dim">Looking…</p>}
        {preview && <Found preview={preview} />}
      </div>
      {(preview || problem) && (
        <div class="line">
          <button type="button" class="save" onClick={onSave}>
            Save <kbd>Enter</kbd> <kbd>{key}</kbd>
          </button>
          <button type="button" class="quiet cancel" onClick={onCancel}>
            Cancel <kbd>Esc</kbd>
          </button>
        </div>
      )}
    </section>
  );
}

function Found({ preview: { threshold, would_vanish, would_appear, text } }: { preview: Preview }) {
  const same = number(threshold.now) === number(threshold.then);
  return (
    <>
      <p class="threshold-change">
        Threshold <b>{number(threshold.now)}</b>
        {same ? " stays" : <> → <b>{number(threshold.then)}</b></>}
      </p>
      <p class="dim">{text}</p>
      {would_vanish.length > 0 && (
        <>
          <h5>Would not have been raised ({would_vanish.length})</h5>
          <ul class="marks vanish">
            {would_vanish.map((e) => (
              <li key={e.id}>
                <a href={href(["events", e.id])}>
                  <Time at={e.start_time} /> score {number(e.top_score)}
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
      {would_appear.length > 0 && (
        <>
          <h5>Would have been raised ({would_appear.length})</h5>
          <ul class="marks appear">
            {would_appear.map((e) => (
              <li key={e.start_time}>
                <Time at={e.start_time} />, {duration((Date.parse(e.end_time) - Date.parse(e.start_time)) / 1000)}, score{" "}
                {number(e.top_score)}
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}
