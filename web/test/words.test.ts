// What is said in words: hours of the week, what a clip is and lacks, sizes.
import assert from "node:assert/strict";
import test from "node:test";
import { size } from "../src/format";
import { hours, inWords } from "../src/hours";
import { clipText, within } from "../src/parts/clip";
import type { ClipDetails, Incident } from "../src/types";

test("spans of the week are told in words", () => {
  assert.equal(inWords("mon-fri 18:00-06:00"), "Monday to Friday, 18:00 to 06:00 of the next day");
  assert.equal(inWords("daily 08:00-17:30"), "every day, 08:00 to 17:30");
  assert.equal(inWords("mon,wed,sat-sun 00:00-24:00"), "Monday, Wednesday and Saturday to Sunday, all day");
  assert.equal(hours(null), "always");
  assert.equal(hours(["sat 01:00-02:00", "sun 03:00-04:00"]), "Saturday, 01:00 to 02:00; Sunday, 03:00 to 04:00");
});

const clip: ClipDetails = {
  start: "2026-11-22T10:00:00Z",
  seconds: 12.4,
  bytes: 1_234_567,
  codec: "H.264",
  encoded_here: false,
  complete: true,
  lacks: [],
};

test("what a clip is, and what it lacks, is told in words", () => {
  const [what, lacks] = clipText(clip);
  assert.ok(/^12 s from \d\d:00:00, 1\.2 MB: the camera's own video \(H\.264\), untouched$/.test(what!));
  assert.equal(lacks, "nothing is missing");
  const part = clipText({ ...clip, encoded_here: true, complete: false, lacks: ["beginning", "end"] });
  assert.ok(/encoded here/.test(part[0]!));
  assert.equal(part.length, 3);
  assert.ok(/^its beginning is missing/.test(part[1]!));
  assert.ok(/^its end is missing/.test(part[2]!));
});

test("an event lies within its clip, whatever the clocks say", () => {
  const event = { start_time: "2026-11-22T10:00:03Z", last_time: "2026-11-22T10:00:40Z" } as Incident;
  assert.deepEqual(within(event, clip), [3, 12.4]);
});

test("sizes are in units that people know", () => {
  assert.deepEqual([12, 4096, 5_600_000].map(size), ["12 B", "4 kB", "5.6 MB"]);
});
