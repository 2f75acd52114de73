// Which view is shown: everything after the `#` of the address, so that each view can be linked and reloaded.
import { Cell } from "./cell";

export interface Route {
  /** `#/events/1` is ["events", "1"]. */
  path: string[];
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const decode = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  return { path: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(query) };
}

export function href(path: string[], query: Record<string, string | null | undefined> = {}): string {
  const set = Object.entries(query).filter((entry): entry is [string, string] => !!entry[1]);
  const tail = set.length ? `?${new URLSearchParams(set)}` : "";
  return `#/${path.map(encodeURIComponent).join("/")}${tail}`;
}

export const route = new Cell<Route>({ path: [], query: new URLSearchParams() });

/** Shows the view at `to`; `replace` leaves no step to go back to. */
export function go(to: string, replace = false): void {
  if (replace) {
    history.replaceState(null, "", to);
    route.set(parse(to));
  } else {
    location.hash = to;
  }
}

export function startRouter(): void {
  const read = (): void => route.set(parse(location.hash));
  addEventListener("hashchange", read);
  read();
}
