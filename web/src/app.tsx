// The frame round every view: header, navigation, sign-in, help and messages.
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "./api";
import { useCell } from "./cell";
import { useKeys } from "./hooks";
import { startLive, stopLive } from "./live";
import { Chip } from "./parts/chip";
import { Toasts, complain } from "./parts/toast";
import { type Route, go, href, route } from "./router";
import { cameras, link, me } from "./state";
import { CameraView } from "./views/camera";
import { ConfigView } from "./views/config";
import { Deliveries } from "./views/deliveries";
import { EventView } from "./views/event";
import { Events } from "./views/events";
import { Help } from "./views/help";
import { Login } from "./views/login";
import { TimelineView } from "./views/timeline";
import { Wall } from "./views/wall";

const VIEWS = [
  { at: "", key: "c", name: "Cameras" },
  { at: "timeline", key: "t", name: "Timeline" },
  { at: "events", key: "e", name: "Events" },
  { at: "deliveries", key: "d", name: "Deliveries" },
  { at: "config", key: "s", name: "Settings" },
];
/** Milliseconds in which a second key must follow `g`. */
const CHORD = 1500;
const RETRY = 2000;

type Gate = "asking" | "open" | "locked";

export function App() {
  const [gate, setGate] = useState<Gate>("asking");
  const [help, setHelp] = useState(false);
  const locked = useCell(api.locked);
  const here = useCell(route);

  const enter = async (): Promise<void> => {
    try {
      const who = await api.me();
      api.locked.set(false);
      me.set(who);
      if (who) startLive();
      setGate(who ? "open" : "locked");
    } catch {
      setTimeout(() => void enter(), RETRY);
    }
  };
  useEffect(() => void enter(), []);
  useEffect(() => {
    if (!locked || gate !== "open") return;
    // The session has ended.
    stopLive();
    me.set(null);
    setGate("locked");
  }, [locked, gate]);

  const chord = useRef(-Infinity);
  useKeys({
    "?": () => setHelp(true),
    g: () => void (chord.current = performance.now()),
  });
  useEffect(() => {
    // Before the views' own keys: `g e` is no `e`.
    const press = (event: KeyboardEvent): void => {
      const view = VIEWS.find((v) => v.key === event.key);
      if (!view || performance.now() - chord.current > CHORD) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      chord.current = -Infinity;
      go(href(view.at ? [view.at] : []));
    };
    addEventListener("keydown", press, true);
    return () => removeEventListener("keydown", press, true);
  }, []);

  const main = useRef<HTMLElement>(null);
  const place = here.path.join("/");
  const first = useRef(true);
  useEffect(() => {
    document.title = `${titleOf(here)} · Sigmawatch`;
    // A new view is read from its beginning; the first one is where the reader is anyway.
    if (!first.current) main.current?.focus();
    first.current = false;
    scrollTo(0, 0);
  }, [place]);

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(e) => {
          e.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <Header here={here} open={gate === "open"} onHelp={() => setHelp(true)} onLeft={() => void enter()} />
      <main ref={main} id="main" tabIndex={-1}>
        {gate === "open" ? <View here={here} /> : gate === "locked" ? <Login onDone={() => void enter()} /> : null}
      </main>
      <Toasts />
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function titleOf({ path }: Route): string {
  return path[1] && path[0] === "cameras" ? path[1] : (VIEWS.find((v) => v.at === (path[0] ?? ""))?.name ?? "Cameras");
}

function View({ here: { path } }: { here: Route }) {
  const [view, which] = path;
  switch (view) {
    case undefined:
      return <Wall />;
    case "cameras":
      return which ? <CameraView name={which} /> : <Wall />;
    case "timeline":
      return <TimelineView />;
    case "events":
      return which ? <EventView key={which} id={which} /> : <Events />;
    case "deliveries":
      return <Deliveries />;
    case "config":
      return <ConfigView />;
    default:
      return <p class="problem">There is no view of that name.</p>;
  }
}

interface HeaderProps {
  here: Route;
  open: boolean;
  onHelp: () => void;
  onLeft: () => void;
}

function Header({ here, open, onHelp, onLeft }: HeaderProps) {
  const all = [...useCell(cameras).values()].map((s) => s.data);
  const state = useCell(link);
  const who = useCell(me);
  const live = all.filter((c) => c.state === "live").length;
  const learning = all.filter((c) => c.detectors.some((d) => d.learning.state === "learning")).length;
  const leave = (): void => void api.logOut().then(onLeft, complain);
  return (
    <header class="bar">
      <h1>
        <a href="#/">Sigmawatch</a>
      </h1>
      {open && (
        <nav aria-label="views">
          {VIEWS.filter((v) => v.at !== "deliveries" || who?.cameras == null).map(({ at, name }) => (
            <a key={at} href={href(at ? [at] : [])} aria-current={(here.path[0] ?? "") === at ? "page" : undefined}>
              {name}
            </a>
          ))}
        </nav>
      )}
      {open && (
        <p id="summary" class="summary">
          {live} of {all.length} live{learning ? ` · ${learning} learning` : ""}
        </p>
      )}
      {open && (
        <span id="link" role="status">
          <Chip of={state} />
        </span>
      )}
      {who?.login && who.name && (
        <span class="line">
          {who.name}
          <button type="button" class="quiet" onClick={leave}>
            Sign out
          </button>
        </span>
      )}
      <button type="button" class="quiet" onClick={onHelp} aria-label="keys" aria-keyshortcuts="?">
        ?
      </button>
    </header>
  );
}
