// The spark line of a wall card: the last ten minutes of scores against the threshold.
import { useEffect, useRef } from "preact/hooks";
import { number } from "../format";
import { alerts, trace } from "../state";
import { type Dot, KEPT, gapOf } from "../trace";
import type { Incident } from "../types";

const SCORE = "#4fd1c5";
const OVER = "#ff6b4a";
const LIMIT = "#f5b84f";
const EVERY = 2000;

export function Spark({ camera, detector }: { camera: string; detector: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const line = trace(camera, detector);
    let frame = 0;
    const draw = (): void => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => {
        if (canvas.current) drawSpark(canvas.current, line.dots, alerts.get(), camera);
      });
    };
    draw();
    const ends = [line.watch(draw), alerts.watch(draw)];
    const timer = setInterval(draw, EVERY);
    addEventListener("resize", draw);
    return () => {
      ends.forEach((end) => end());
      clearInterval(timer);
      cancelAnimationFrame(frame);
      removeEventListener("resize", draw);
    };
  }, [camera, detector]);
  return <canvas ref={canvas} class="chart" role="img" />;
}

function drawSpark(canvas: HTMLCanvasElement, dots: Dot[], events: readonly Incident[], camera: string): void {
  canvas.classList.toggle("blank", !dots.length);
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
  canvas.setAttribute("aria-label", `scores of ${camera} against the threshold: ${dots.length} points in ten minutes`);
  if (!wide) return;
  [canvas.width, canvas.height] = [wide * devicePixelRatio, high * devicePixelRatio];
  const c = canvas.getContext("2d")!;
  c.scale(devicePixelRatio, devicePixelRatio);
  c.font = "11px system-ui, sans-serif";
  if (!dots.length) {
    c.fillStyle = "#8497a6";
    c.fillText("scores appear here once the camera has learned", 4, high / 2 + 4);
    return;
  }
  const now = Date.now() / 1000;
  const from = Math.max(now - KEPT, Math.min(dots[0]!.t, now - 60));
  const values = dots.flatMap((d) => (d.threshold == null ? [d.score] : [d.score, d.threshold]));
  const [least, most] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const room = (most - least || 1) * 0.12;
  const [low, top] = [least - room, most + room];
  const x = (t: number): number => ((t - from) / (now - from)) * wide;
  const y = (v: number): number => 2 + (1 - (v - low) / (top - low)) * (high - 4);

  // Alerts behind the line.
  c.fillStyle = "rgba(255, 107, 74, .14)";
  for (const event of events) {
    if (event.camera !== camera) continue;
    const begin = Math.max(from, Date.parse(event.start_time) / 1000);
    const end = event.end_time ? Date.parse(event.end_time) / 1000 : now;
    if (end > begin) c.fillRect(x(begin), 0, Math.max(2, x(end) - x(begin)), high);
  }

  const gap = gapOf(dots.map((d) => d.t));
  const isOver = (d: Dot): boolean => d.threshold != null && d.score > d.threshold;
  c.lineJoin = "round";
  // Two strokes: calm, and above the threshold, which is thicker too.
  for (const over of [false, true]) {
    c.strokeStyle = over ? OVER : SCORE;
    c.lineWidth = over ? 2.2 : 1.5;
    c.beginPath();
    dots.slice(1).forEach((d, i) => {
      const before = dots[i]!;
      if (d.t - before.t > gap || (isOver(d) || isOver(before)) !== over) return;
      c.moveTo(x(before.t), y(before.score));
      c.lineTo(x(d.t), y(d.score));
    });
    c.stroke();
  }
  c.strokeStyle = LIMIT;
  c.lineWidth = 1.5;
  c.setLineDash([5, 4]);
  c.beginPath();
  const limits = dots.filter((d): d is Dot & { threshold: number } => d.threshold != null);
  limits.forEach((d) => c.lineTo(x(d.t), y(d.threshold)));
  const last = limits.at(-1);
  if (last) c.lineTo(wide, y(last.threshold));
  c.stroke();
  if (last) {
    c.fillStyle = LIMIT;
    c.fillText(`threshold ${number(last.threshold)}`, 4, y(last.threshold) - 4);
  }
}
