// The whole state library: a value that can be watched, and the hook that re-renders with it.
import { useEffect, useState } from "preact/hooks";

export class Cell<T> {
  private readonly watchers = new Set<() => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const watcher of [...this.watchers]) watcher();
  }

  update(change: (value: T) => T): void {
    this.set(change(this.value));
  }

  /** Calls `watcher` after each change; gives what ends that. */
  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

export function useCell<T>(cell: Cell<T>): T {
  const [, redraw] = useState({});
  // A change between the rendering and the effect would be missed otherwise.
  const shown = cell.get();
  useEffect(() => {
    if (!Object.is(cell.get(), shown)) redraw({});
    return cell.watch(() => redraw({}));
  }, [cell]);
  return shown;
}
