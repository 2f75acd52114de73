// Saying what an event was: three buttons that first show what it would change, a note, and the same by keyboard.
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api";
import { useKeys } from "../hooks";
import { alerts, merge, may } from "../state";
import type { Incident, Label } from "../types";
import { LABELS } from "./chip";
import { PreviewView } from "./preview";
import { Time } from "./time";
import { complain, say } from "./toast";

const refuse = (): void => say("viewers may not review events", true);

/** Stores a review and gives the event with it; nothing where it failed, which is said. */
export async function giveReview(event: Incident, label: Label | null, note: string): Promise<Incident | null> {
  if (!may("operator")) {
    refuse();
    return null;
  }
  try {
    const now = await api.review(event.id, label, note);
    alerts.update((all) => (all.some((e) => e.id === now.id) ? merge(all, [now]) : all));
    const what = label?.replace("_", " ") ?? (note ? "noted" : "not reviewed");
    say(`${event.camera}: ${what}`);
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

/** In an event's own view, where there is time to look at what a review does: once shows it, again stores it. */
export function ReviewForm({ event, onReview }: Props) {
  const { review } = event;
  const [note, setNote] = useState(review?.note ?? "");
  const [shown, show] = useState<Label | null>(null);
  useEffect(() => setNote(review?.note ?? ""), [event.id, review?.note]);
  useEffect(() => show(null), [event.id]);
  const give = async (label: Label | null): Promise<void> => {
    const now = await giveReview(event, label, note);
    if (!now) return;
    show(null);
    onReview(now);
  };
  const takeBack = async (): Promise<void> => {
    const now = await giveReview(event, null, "");
    if (now) onReview(now);
  };
  const choose = (label: Label): void => (label === shown ? void give(label) : show(label));
  const step = (label: Label) => (): void => (may("operator") ? choose(label) : refuse());
  const keys = { t: step("true_alarm"), f: step("false_alarm"), u: step("unsure") };
  // A button or a link that has the focus keeps its own Enter.
  const enter = (press: KeyboardEvent): void => {
    const own = (press.target as HTMLElement).closest("a, button, summary, video");
    if (own) (own as HTMLElement).click();
    else if (shown) void give(shown);
  };
  const leave = ({ target }: KeyboardEvent): void =>
    target instanceof HTMLTextAreaElement ? target.blur() : show(null);
  // Before the view's own Escape, which goes back: a child's keys come first.
  useKeys(shown ? { ...keys, Enter: enter, Escape: leave } : keys);
  if (!may("operator")) return null;
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
            class={`label ${label}${label === shown ? " shown" : ""}`}
            aria-pressed={review?.label === label}
            aria-expanded={label === shown}
            aria-keyshortcuts={key}
            onClick={() => choose(label)}
          >
            {review?.label === label ? "● " : ""}
            {text} <kbd>{key}</kbd>
          </button>
        ))}
      </div>
      {shown && (
        <PreviewView
          key={`${event.id} ${shown}`}
          event={event}
          label={shown}
          onSave={() => void give(shown)}
          onCancel={() => show(null)}
        />
      )}
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
        {review && (
          <button type="button" class="quiet take-back" onClick={() => void takeBack()}>
            Take it back
          </button>
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
