// The map of regions: heat above the limit, and the box round what hangs together.
import assert from "node:assert/strict";
import test from "node:test";
import { heat, hottest } from "../src/parts/map";

test("heat begins at the limit and is 1 at the strongest region", () => {
  const map = { rows: 1, columns: 4, covers_width: 1, covers_height: 1, regions: [2, 3, 4, null] };
  assert.deepEqual(heat(map, 2), [0, 0.5, 1, 0]);
  assert.deepEqual(heat(map, 9), [0, 0, 0, 0]);
});

test("the box holds what hangs together", () => {
  const strengths = [0, 0.6, 0, 0.7, 0, 0, 1, 0, 0.9, 0, 0, 0];
  assert.deepEqual(hottest(strengths, 3, 4), { top: 0, left: 1, bottom: 2, right: 4 });
});
