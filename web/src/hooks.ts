// Small hooks: the passing of time, keys, sizes, and asking for something.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Failure } from "./api";

/** Re-renders every `every` milliseconds while the page is visible; gives performance time. */
export function useNow(every: number): number {
  const [now, tick] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || tick(performance.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

export type Keys = Record<string, (event: KeyboardEvent) => void>;

/** Keys of a view. They are left alone while somebody types, in a dialog, and with Ctrl, Alt or Meta. */
export function useKeys(keys: Keys): void {
  const latest = useRef(keys);
  latest.current = keys;
  // As soon as the view is there: what waits for the next frame loses the keys of who is quick.
  useLayoutEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
      const target = event.target as HTMLElement | null;
      const typing = target?.closest("input, textarea, select, [contenteditable]");
      if (typing && !(event.key === "Escape" && typing.tagName === "TEXTAREA")) return;
      if (document.querySelector("dialog[open]")) return;
      const act = latest.current[event.key];
      if (!act) return;
      event.preventDefault();
      act(event);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

/** Width of an element in CSS pixels, as it changes. */
export function useWidth<E extends HTMLElement>(): [preactRef<E>, number] {
  const ref = useRef<E>(null);
  const [width, set] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new ResizeObserver(() => set(Math.floor(element.clientWidth)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

type preactRef<E> = { current: E | null };

export interface Asked<T> {
  data: T | null;
  problem: string | null;
  /** 404: there is no such thing. */
  absent: boolean;
}

/** What `fetch` gives, asked anew whenever `keys` change; old data stays until the new is there. */
export function useAsked<T>(fetch: () => Promise<T>, keys: unknown[]): [Asked<T>, () => void] {
  const [asked, set] = useState<Asked<T>>({ data: null, problem: null, absent: false });
  const [round, again] = useState(0);
  useEffect(() => {
    let over = false;
    fetch().then(
      (data) => over || set({ data, problem: null, absent: false }),
      (failure: unknown) => {
        if (over) return;
        const absent = failure instanceof Failure && failure.status === 404;
        set((before) => ({ data: absent ? null : before.data, problem: String((failure as Error).message), absent }));
      },
    );
    return () => {
      over = true;
    };
  }, [...keys, round]);
  return [asked, () => again((n) => n + 1)];
}
