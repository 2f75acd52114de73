// Wheel, fingers and clicks on a chart, told as zooming, moving and choosing.

export interface Gestures {
  /** `factor` below 1 looks closer; `share` of the width stays where it is. */
  zoom: (factor: number, share: number) => void;
  /** Moves by a share of the width. */
  pan: (share: number) => void;
  /** A click at so many pixels from the left. */
  tap: (x: number) => void;
}

const STEP = 1.25;
/** A press that moves less than this is a click. */
const SLACK = 5;

export function listenFor(element: HTMLElement, act: Gestures): void {
  const share = (x: number): number => {
    const box = element.getBoundingClientRect();
    return Math.min(1, Math.max(0, (x - box.left) / box.width));
  };
  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
        act.pan((event.deltaX || event.deltaY) / 1000);
      else act.zoom(event.deltaY > 0 ? STEP : 1 / STEP, share(event.clientX));
    },
    { passive: false },
  );

  // One finger moves, two look closer; the mouse's drag is the chart's own selection.
  const fingers = new Map<number, number>();
  let pressed: number | null = null;
  element.addEventListener("pointerdown", (event) => {
    pressed = event.clientX;
    if (event.pointerType === "touch") fingers.set(event.pointerId, event.clientX);
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (before == null) return;
    if (fingers.size === 1) {
      act.pan(share(before) - share(event.clientX));
    } else {
      const other = [...fingers].find(([id]) => id !== event.pointerId)![1];
      const [was, is] = [Math.abs(before - other), Math.abs(event.clientX - other)];
      if (was > 10 && is > 10) act.zoom(was / is, share((event.clientX + other) / 2));
    }
    fingers.set(event.pointerId, event.clientX);
  });
  const lift = (event: PointerEvent): void => void fingers.delete(event.pointerId);
  element.addEventListener("pointercancel", lift);
  element.addEventListener("pointerup", (event) => {
    lift(event);
    if (pressed != null && Math.abs(event.clientX - pressed) < SLACK)
      act.tap(event.clientX - element.getBoundingClientRect().left);
    pressed = null;
  });
}
