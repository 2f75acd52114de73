// Lists of events, filters and the small shapes round them.
import assert from "node:assert/strict";
import test from "node:test";
import { DASH, duration, number, rarity } from "../src/format";
import { type Filter, filterOf, fits } from "../src/parts/filters";
import { columns } from "../src/parts/rows";
import { href, parse } from "../src/router";
import { merge } from "../src/state";
import { Trace } from "../src/trace";
import type { Incident } from "../src/types";

const event = (id: string, more: Partial<Incident> = {}): Incident =>
  ({ id, camera: "gate", start_time: "2026-01-01T10:00:00Z", end_time: "2026-01-01T10:00:09Z", top_score: 3, ...more }) as Incident;

test("newer content replaces older, newest first", () => {
  const merged = merge([event("b"), event("a")], [event("c"), event("a", { top_score: 9 })]);
  assert.deepEqual(merged.map((e) => [e.id, e.top_score]), [["c", 3], ["b", 3], ["a", 9]]);
});

test("an event that comes belongs into a list only if its filters say so", () => {
  const none = filterOf(new URLSearchParams());
  assert.ok(fits(event("a"), none));
  const cases: [Partial<Filter>, boolean][] = [
    [{ cameras: "gate,yard" }, true], [{ cameras: "yard" }, false],
    [{ min_score: "3" }, true], [{ min_score: "3.1" }, false],
    [{ in_progress: "true" }, false], [{ in_progress: "false" }, true],
    [{ reviewed: "true" }, false], [{ label: "unsure" }, false],
    [{ after: "2026-01-01T10:00:05Z" }, true], [{ after: "2026-01-01T10:00:10Z" }, false],
    [{ before: "2026-01-01T10:00:00Z" }, false],
  ];
  for (const [change, fit] of cases) assert.equal(fits(event("a"), { ...none, ...change }), fit, JSON.stringify(change));
});

test("addresses come back as they went", () => {
  const there = parse(href(["cameras", "a/b #?ä"], { after: "2026-01-01T00:00:00Z", none: null }));
  assert.deepEqual(there.path, ["cameras", "a/b #?ä"]);
  assert.equal(there.query.toString(), "after=2026-01-01T00%3A00%3A00Z");
  assert.deepEqual(parse("#/%zz").path, ["%zz"]);
});

test("a gap in time is a gap in the line, and a neighbour of what is over is drawn with it", () => {
  const at = (s: number, score: number) => ({ time: new Date(s * 1000).toISOString(), score, threshold: 2 });
  const c = columns([at(1, 1), at(2, 1), at(3, 5), at(60, 1), at(61, 1)]);
  assert.deepEqual(c.time, [1, 2, 3, 31.5, 60, 61]);
  assert.deepEqual(c.score, [1, 1, 5, null, 1, 1]);
  assert.deepEqual(c.over, [null, 1, 5, null, 1, null]);
});

test("a trace joins what the store knows and what the stream told, and keeps ten minutes", () => {
  const trace = new Trace();
  const at = (s: number) => ({ time: new Date(s * 1000).toISOString(), score: s, threshold: 2 });
  const told = (s: number) => ({ ...at(s), camera: "gate", detector: "main", probability: null, damaged: false });
  trace.add(told(5));
  trace.fill([at(3), at(4), at(5)]);
  trace.add(told(6));
  assert.deepEqual(trace.dots.map((d) => d.t), [3, 4, 5, 6]);
  trace.add(told(605));
  assert.deepEqual(trace.dots.map((d) => d.t), [5, 6, 605]);
});

test("numbers are short, and what is none is a dash", () => {
  assert.deepEqual([number(1.234), number(1234.5), number(null), number(NaN)], ["1.23", "1235", DASH, DASH]);
  assert.deepEqual([duration(59), duration(3599), duration(90061)], ["59 s", "59 min 59 s", "1 d 1 h"]);
  assert.deepEqual([rarity(0.5), rarity(0.0002), rarity(null)], ["usual", "1 in 5,000", DASH]);
});
