// A camera's live picture: fetched a few times a second while somebody can see it, veiled as soon as it is old.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, reached } from "../api";
import { duration } from "../format";
import { type Freshness, freshness } from "../fresh";
import { useNow } from "../hooks";
import { type Seen, cameras, mainDetector } from "../state";
import { drawMap } from "./map";

/** Milliseconds between two pictures of a camera, at least; and for all cameras together. */
const PAUSE = 400;
const PAUSE_OF_ALL = 120;

interface Painter {
  /** When the picture last changed. */
  changed: number | null;
  time: string | null;
}

export function Picture({ seen, detector }: { seen: Seen; detector?: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter>({ changed: null, time: null });
  const now = useNow(500);
  const latest = useRef(seen);
  latest.current = seen;
  const chosen = useRef(detector);
  chosen.current = detector;
  const [, redraw] = useState({});
  useEffect(() => paintFor(canvas.current!, painter.current, latest, chosen, () => redraw({})), [seen.data.name]);

  const { data } = seen;
  const sight = { state: data.state, age: data.last_frame_age_seconds, answered: seen.at };
  const fresh = freshness({ ...sight, reached: reached.get(), changed: painter.current.changed }, Math.max(now, painter.current.changed ?? 0));
  return (
    <div class={fresh.stale ? "view stale" : "view"}>
      <canvas ref={canvas} class="picture" role="img" aria-label={`picture of ${data.name}`} width="640" height="360" />
      {fresh.stale ? <p class="veil">{fresh.veil}</p> : <p class="age">{ageText(fresh)}</p>}
    </div>
  );
}

function ageText({ age }: Freshness): string {
  return age == null ? "" : age < 1 ? "now" : `${duration(age)} ago`;
}

/** Draws until the returned function is called. */
function paintFor(
  canvas: HTMLCanvasElement,
  painter: Painter,
  latest: { current: Seen },
  chosen: { current: string | undefined },
  onFirst: () => void,
): () => void {
  let [over, visible, tried] = [false, true, false];
  let timer: ReturnType<typeof setTimeout>;
  painter.changed = painter.time = null;
  const observer = new IntersectionObserver((entries) => (visible = entries.at(-1)?.isIntersecting ?? true));
  observer.observe(canvas);
  const paint = async (): Promise<void> => {
    const { data } = latest.current;
    const ratio = Math.min(2, devicePixelRatio);
    const wide = Math.max(16, Math.min(1280, Math.round(canvas.clientWidth * ratio) || 640));
    const answer = await ask(`${data.links.latest}?width=${wide}`);
    const image = await createImageBitmap(await answer.blob());
    if (over) return image.close();
    if (canvas.width !== image.width || canvas.height !== image.height)
      [canvas.width, canvas.height] = [image.width, image.height];
    const c = canvas.getContext("2d")!;
    c.drawImage(image, 0, 0);
    image.close();
    const time = answer.headers.get("x-picture-time");
    const first = painter.changed == null;
    if (time !== painter.time || first) painter.changed = performance.now();
    if (first) onFirst();
    painter.time = time;
    canvas.setAttribute("aria-label", `${data.name} at ${time}`);
    // Where the camera as a whole is over its limit, the regions that are.
    const d = data.detectors.find((one) => one.name === chosen.current) ?? mainDetector(data);
    if (d?.map && d.threshold && (d.score ?? -Infinity) > d.threshold.limit && data.state === "live")
      drawMap(c, canvas.width, canvas.height, d.map, d.threshold.limit);
  };
  const round = async (): Promise<void> => {
    // A camera that is away keeps its last picture, which is asked for once.
    if (visible && !document.hidden && (latest.current.data.state === "live" || !tried)) {
      tried = true;
      // Without a new picture the veil comes down by itself.
      await paint().catch(() => {});
    }
    if (!over) timer = setTimeout(round, Math.max(PAUSE, PAUSE_OF_ALL * cameras.get().size));
  };
  void round();
  return () => {
    over = true;
    clearTimeout(timer);
    observer.disconnect();
  };
}
