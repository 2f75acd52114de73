// Why an event was told to nobody, and whether its times can be believed.
import type { Quiet } from "../types";

const WHY: Record<Quiet, [short: string, long: string]> = {
  cool_down: ["right after another", "it began within the cool-down after another event (cool_down)"],
  rate_cap: ["enough for now", "as many alerts as are wanted had been sent already (most_alerts)"],
};

export function QuietChip({ of }: { of: Quiet }) {
  const [short, long] = WHY[of];
  return (
    <span class="chip quiet-event" title={`kept and shown, sent to nobody: ${long}`}>
      quiet: {short}
    </span>
  );
}

export function ClockChip() {
  return (
    <span class="chip" title="The machine's clock was set while it lasted or shortly before: its times may be wrong">
      clock suspect
    </span>
  );
}

/** For a list of facts. */
export const quietText = (of: Quiet): string => `sent to nobody: ${WHY[of][1]}`;
