// A picture that is not of now never looks live.
import assert from "node:assert/strict";
import test from "node:test";
import { type Sight, freshness } from "../src/fresh";

const live: Sight = { state: "live", age: 0.2, answered: 1000, reached: 1000, changed: 1000 };

test("a live camera with a fresh picture is not veiled", () => {
  assert.equal(freshness(live, 2000).stale, false);
  assert.equal(freshness(live, 2000).age, 1.2);
});

test("every reason to doubt veils it, and says why", () => {
  const cases: [Partial<Sight>, number, string][] = [
    [{ age: null, changed: null }, 1000, "no picture yet"],
    [{ changed: null }, 1000, "no picture yet"],
    [{ age: 6 }, 1000, "no picture for 6 s"],
    [{ state: "backing_off", age: 42 }, 1000, "reconnecting: no picture for 42 s"],
    [{ state: "stalled", age: 9 }, 1000, "stalled: no picture for 9 s"],
    [{ state: "finished", age: 42 }, 1000, "played to its end"],
    [{}, 7000, "the daemon does not answer: no picture for 6 s"],
    // It says that it is live, and gives the same picture again and again.
    [{ answered: 9000, reached: 9000 }, 9000, "no picture for 8 s"],
  ];
  for (const [change, now, veil] of cases) {
    const found = freshness({ ...live, ...change }, now);
    assert.ok(found.stale, veil);
    assert.equal(found.veil, veil);
  }
});
