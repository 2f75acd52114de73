// The keys, as a dialog that `?` opens.
import { useEffect, useRef } from "preact/hooks";

const KEYS: [string, string][] = [
  ["j, k", "next and previous event"],
  ["Enter", "open the event"],
  ["t, f, u", "it was a true alarm, a false alarm, or one cannot say; in an event, once shows what that would change"],
  ["again, or Enter", "in an event: store that review"],
  ["n", "write a note"],
  ["m", "show or hide the map of regions, or a camera's masks and zones"],
  ["p, comma, dot, b", "clip: play or pause, a frame back, a frame on, to the event's beginning"],
  ["Esc", "back"],
  ["+, -", "timeline: look closer, look from farther away"],
  ["←, →", "timeline: earlier, later"],
  ["0", "timeline: back to now"],
  ["g then c, t, e, d, s", "cameras, timeline, events, deliveries, settings"],
  ["?", "this help"],
];

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} id="help" aria-labelledby="help-title" onClose={onClose}>
      <form method="dialog">
        <button class="close" aria-label="Close">
          ×
        </button>
      </form>
      <h2 id="help-title">Keys</h2>
      <dl class="keys">
        {KEYS.map(([keys, text]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </dialog>
  );
}
