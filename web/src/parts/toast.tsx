// Short messages at the foot of the page, read out by screen readers.
import { Cell, useCell } from "../cell";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

const toasts = new Cell<readonly Toast[]>([]);
const SHOWN_FOR = 6000;
let count = 0;

export function say(text: string, bad = false): void {
  const id = ++count;
  toasts.update((all) => [...all.slice(-2), { id, text, bad }]);
  setTimeout(() => toasts.update((all) => all.filter((t) => t.id !== id)), SHOWN_FOR);
}

/** Says why something failed. */
export const complain = (failure: unknown): void => say((failure as Error).message, true);

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {useCell(toasts).map((t) => (
        <p key={t.id} class={t.bad ? "toast bad" : "toast"}>
          {t.bad ? "⚠ " : ""}
          {t.text}
        </p>
      ))}
    </div>
  );
}
