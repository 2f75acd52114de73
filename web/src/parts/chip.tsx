// States as words in small coloured boxes: the word says it, the colour only helps.
import type { Label } from "../types";

type Tone = "good" | "warn" | "bad" | "calm" | "";

const WORDS: Record<string, [string, Tone]> = {
  live: ["live", "good"],
  connecting: ["connecting", "warn"],
  stalled: ["stalled", "bad"],
  lost: ["connection lost", "bad"],
  backing_off: ["reconnecting", "bad"],
  disabled: ["disabled", "calm"],
  finished: ["finished", "calm"],
  learning: ["learning", "warn"],
  armed: ["armed", "calm"],
  relearning: ["learning again", "calm"],
  low: ["low", "calm"],
  medium: ["medium", "warn"],
  high: ["high", "bad"],
  delivers: ["delivers", "good"],
  failing: ["failing", "bad"],
  connected: ["connected", "good"],
  "connection lost": ["connection lost", "bad"],
  true_alarm: ["✓ true alarm", "good"],
  false_alarm: ["✗ false alarm", "warn"],
  unsure: ["? unsure", "calm"],
};

export function Chip({ of, kind = "" }: { of: string; kind?: string }) {
  const [text, tone] = WORDS[of] ?? [of.replaceAll("_", " "), ""];
  return <span class={`chip ${kind} ${tone}`}>{text}</span>;
}

export const LABELS: { label: Label; key: string; text: string }[] = [
  { label: "true_alarm", key: "t", text: "True alarm" },
  { label: "false_alarm", key: "f", text: "False alarm" },
  { label: "unsure", key: "u", text: "Unsure" },
];
