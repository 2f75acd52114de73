// A moment in local time, with UTC in its tooltip.
import { utc, when } from "../format";

export function Time({ at }: { at: string }) {
  return (
    <time dateTime={at} title={utc(at)}>
      {when(at)}
    </time>
  );
}
