// The map of regions as a layer over a snapshot or a clip.
import { useEffect, useRef } from "preact/hooks";
import type { RegionMap } from "../types";
import { drawMap } from "./map";

/** Pixels of the layer; it is stretched over whatever lies below. */
const WIDE = 960;
const HIGH = 540;

export function Overlay({ map, limit }: { map: RegionMap; limit: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const c = canvas.current?.getContext("2d");
    if (!c) return;
    c.clearRect(0, 0, WIDE, HIGH);
    drawMap(c, WIDE, HIGH, map, limit);
  }, [map, limit]);
  return <canvas ref={canvas} class="overlay" width={WIDE} height={HIGH} role="img" aria-label="map of unusual regions" />;
}
