// Saying what an event was: three buttons, a note, and the same by keyboard.
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api";
import { alerts, merge, may } from "../state";
import type { Incident, Label } from "../types";
import { LABELS } from "./chip";
import { Time } from "./time";
import { complain, say } from "./toast";

/** Stores a review and gives the event with it; nothing where it failed, which is said. */
export async function giveReview(event: Incident, label: Label | null, note: string): Promise<Incident | null> {
  if (!may("operator")) {
    say("viewers may not review events", true);
    return null;
  }
  try {
    const now = await api.review(event.id, label, note);
    alerts.update((all) => (all.some((e) => e.id === now.id) ? merge(all, [now]) : all));
    say(label ? `${event.camera}: ${label.replace("_", " ")}` : `${event.camera}: noted`);
    return now;
  } catch (failure) {
    complain(failure);
    return null;
  }
}

interface Props {
  event: Incident;
  /** Takes the event with its new review. */
  onReview: (event: Incident) => void;
}

export function ReviewForm({ event, onReview }: Props) {
  const { review } = event;
  const [note, setNote] = useState(review?.note ?? "");
  useEffect(() => setNote(review?.note ?? ""), [event.id, review?.note]);
  const give = async (label: Label | null): Promise<void> => {
    const now = await giveReview(event, label, note);
    if (now) onReview(now);
  };
  const changed = note !== (review?.note ?? "");
  return (
    <form
      class="review"
      aria-label="review"
      onSubmit={(submit) => {
        submit.preventDefault();
        void give(review?.label ?? null);
      }}
    >
      <div class="labels" role="group" aria-label="what it was">
        {LABELS.map(({ label, key, text }) => (
          <button
            key={label}
            type="button"
            class={`label ${label}`}
            aria-pressed={review?.label === label}
            aria-keyshortcuts={key}
            onClick={() => void give(label)}
          >
            {review?.label === label ? "● " : ""}
            {text} <kbd>{key}</kbd>
          </button>
        ))}
      </div>
      <label class="field">
        <span class="caption">
          Note <kbd>n</kbd>
        </span>
        <textarea id="note" rows={2} maxLength={2000} value={note} onInput={(e) => setNote(e.currentTarget.value)} />
      </label>
      <div class="line">
        <button type="submit" class="quiet" disabled={!changed}>
          Keep the note
        </button>
        {review && (
          <span class="dim">
            reviewed <Time at={review.time} />
            {review.by ? ` by ${review.by}` : ""}
          </span>
        )}
      </div>
    </form>
  );
}

/** Asks for a note to an event of a list. */
export function NoteDialog({ event, onClose }: { event: Incident; onClose: (now: Incident | null) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const given = useRef<Incident | null>(null);
  const [note, setNote] = useState(event.review?.note ?? "");
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="note" aria-labelledby="note-title" onClose={() => onClose(given.current)}>
      <form
        onSubmit={(submit) => {
          submit.preventDefault();
          void giveReview(event, event.review?.label ?? null, note).then((now) => {
            given.current = now;
            // Closed first: nothing behind an open dialog can take the focus.
            if (now) dialog.current?.close();
          });
        }}
      >
        <h2 id="note-title">Note to {event.camera}</h2>
        <label class="field">
          Note
          <textarea rows={3} maxLength={2000} value={note} onInput={(e) => setNote(e.currentTarget.value)} />
        </label>
        <div class="line">
          <button type="submit">Keep</button>
          <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
        </div>
      </form>
    </dialog>
  );
}
