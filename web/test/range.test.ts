// Timelines look closer and farther, and never past now.
import assert from "node:assert/strict";
import test from "node:test";
import { LONGEST, clamp, follows, mark, pan, zoom } from "../src/range";

const NOW = 1_000_000_000;

test("zooming keeps what is under the pointer", () => {
  const range = { from: NOW - 4000, to: NOW - 3000 };
  const closer = zoom(range, 0.5, 0.25, NOW);
  assert.deepEqual(closer, { from: NOW - 3875, to: NOW - 3375 });
  assert.equal(range.from + 0.25 * 1000, closer.from + 0.25 * 500);
});

test("from a minute to a month, and not past now", () => {
  const minute = zoom({ from: NOW - 100, to: NOW }, 0.01, 0.5, NOW);
  assert.equal(minute.to - minute.from, 60);
  const month = zoom({ from: NOW - 9 * 86400, to: NOW }, 100, 0.5, NOW);
  assert.deepEqual(month, { from: NOW - LONGEST, to: NOW });
  assert.deepEqual(pan({ from: NOW - 100, to: NOW - 20 }, 1, NOW), { from: NOW - 80, to: NOW });
  assert.deepEqual(clamp({ from: NOW, to: NOW + 100 }, NOW), { from: NOW - 100, to: NOW });
});

test("a range that ends about now goes on with time", () => {
  assert.ok(follows({ from: NOW - 3600, to: NOW - 30 }, NOW));
  assert.ok(!follows({ from: NOW - 3600, to: NOW - 60 }, NOW));
});

test("marks of an axis say as much as they must", () => {
  const midnight = new Date(2026, 10, 22).getTime() / 1000;
  assert.equal(mark(midnight, 86400), "22 Nov");
  assert.equal(mark(midnight, 3600), "22 Nov");
  assert.equal(mark(midnight + 3661, 600), "01:01");
  assert.equal(mark(midnight + 3661, 10), "01:01:01");
});
