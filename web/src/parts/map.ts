// The map of regions, drawn over a picture of any size.
// It is src/alert/snapshot.rs once more, for live pictures and clips.
import type { RegionMap } from "../types";

/** How much of the picture the strongest heat hides. */
const HEAT = 0.6;
const BOX = "#ff4030";

/** Heat of a region above `limit`, 0 to 1; 1 is the strongest. */
export function heat(map: RegionMap, limit: number): number[] {
  const top = Math.max(...map.regions.map((r) => r ?? -Infinity));
  return map.regions.map((r) => (r == null || r <= limit ? 0 : (r - limit) / (top - limit || 1)));
}

/** Cells: the last two are exclusive. */
export interface Box {
  top: number;
  left: number;
  bottom: number;
  right: number;
}

/** Round the strangest region and every strong one (at least half as strong) that touches it, or one that does. */
export function hottest(strengths: number[], rows: number, columns: number): Box {
  const start = Math.max(0, strengths.indexOf(Math.max(...strengths)));
  const [y, x] = [Math.floor(start / columns), start % columns];
  const box = { top: y, left: x, bottom: y + 1, right: x + 1 };
  const seen = new Set([start]);
  for (const cell of seen) {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    box.top = Math.min(box.top, row);
    box.left = Math.min(box.left, column);
    box.bottom = Math.max(box.bottom, row + 1);
    box.right = Math.max(box.right, column + 1);
    for (let r = Math.max(0, row - 1); r <= Math.min(rows - 1, row + 1); r++)
      for (let c = Math.max(0, column - 1); c <= Math.min(columns - 1, column + 1); c++)
        if ((strengths[r * columns + c] ?? 0) >= 0.5) seen.add(r * columns + c);
  }
  return box;
}

/** Colours the regions above `limit`, the warmer the stranger, and boxes the strangest. */
export function drawMap(c: CanvasRenderingContext2D, wide: number, high: number, map: RegionMap, limit: number): void {
  const strengths = heat(map, limit);
  if (!strengths.includes(1)) return;
  const { rows, columns } = map;
  const [w, h] = [(wide * map.covers_width) / columns, (high * map.covers_height) / rows];
  const box = hottest(strengths, rows, columns);
  c.strokeStyle = BOX;
  c.lineWidth = Math.max(2, wide / 320);
  c.strokeRect(box.left * w, box.top * h, (box.right - box.left) * w, (box.bottom - box.top) * h);
  // One region says nothing about where: only the frame round it is drawn.
  if (rows * columns === 1) return;
  // One pixel a region, stretched: the browser smooths between their centres.
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];
  const pixels = new ImageData(columns, rows);
  strengths.forEach((s, i) => {
    pixels.data.set([255, 214 * (1 - s) + 32 * s, 64 * (1 - s) + 24 * s, 255 * HEAT * Math.sqrt(s)], 4 * i);
  });
  small.getContext("2d")!.putImageData(pixels, 0, 0);
  c.imageSmoothingEnabled = true;
  c.drawImage(small, 0, 0, w * columns, h * rows);
}
