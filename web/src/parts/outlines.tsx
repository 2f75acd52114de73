// Masks and zones as lines over a picture of any size, each with its name.
import type { Polygon, Zone } from "../types";

interface Props {
  masks?: Polygon[];
  zones: Zone[];
}

const per = (share: number): string => `${(100 * share).toFixed(2)}%`;

/** Where a polygon's name goes: its highest corner, the leftmost of several. */
function corner(polygon: Polygon): { left: string; top: string } {
  const [x, y] = polygon.reduce((a, b) => (b[1] < a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a));
  // A name must not leave the picture on its right or below.
  return { left: per(Math.min(x, 0.8)), top: per(Math.min(y, 0.9)) };
}

export function Outlines({ masks = [], zones }: Props) {
  if (!masks.length && !zones.length) return null;
  const all = [
    ...masks.map((polygon) => ({ kind: "mask", name: "masked", polygon })),
    ...zones.map(({ name, polygon }) => ({ kind: "zone", name, polygon })),
  ];
  const parts = [
    zones.length && `zones: ${zones.map((z) => z.name).join(", ")}`,
    masks.length && `masks: ${masks.length}`,
  ];
  return (
    <div class="outlines" role="img" aria-label={parts.filter(Boolean).join("; ")}>
      <svg viewBox="0 0 1 1" preserveAspectRatio="none">
        {all.map(({ kind, polygon }, i) => (
          <polygon key={i} class={kind} points={polygon.map((p) => p.join(",")).join(" ")} />
        ))}
      </svg>
      {all.map(({ kind, name, polygon }, i) => (
        <span key={i} class={kind} style={corner(polygon)}>
          {name}
        </span>
      ))}
    </div>
  );
}
