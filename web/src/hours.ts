// Spans of the week, as the configuration writes them, in words: `mon-fri 18:00-06:00`.

const DAYS: Record<string, string> = {
  mon: "Monday",
  tue: "Tuesday",
  wed: "Wednesday",
  thu: "Thursday",
  fri: "Friday",
  sat: "Saturday",
  sun: "Sunday",
};

const day = (name: string): string => DAYS[name] ?? name;

/** "Monday to Friday, 18:00 to 06:00 of the next day". */
export function inWords(span: string): string {
  const [days = "", times = ""] = span.trim().split(/\s+/, 2);
  const [from = "", to = ""] = times.split("-");
  const parts = days.split(",").map((part) => (part === "daily" ? "every day" : part.split("-").map(day).join(" to ")));
  const on = parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts[0];
  if (from === "00:00" && to === "24:00") return `${on}, all day`;
  return `${on}, ${from} to ${to}${to <= from ? " of the next day" : ""}`;
}

/** When a camera opens events. */
export const hours = (schedule: string[] | null): string => schedule?.map(inWords).join("; ") ?? "always";
