// What people type to try settings, and which row is the one in force.
import assert from "node:assert/strict";
import test from "node:test";
import { isInForce, listed, openingOf, openings, settingOf } from "../src/parts/backtest";
import type { Trial } from "../src/types";

const row = (more: Partial<Trial>): Trial => ({ k: 3, budget: null, open: [2, 3], threshold: 2.5, ...more }) as Trial;

test("lists are read as people write them", () => {
  assert.deepEqual(listed(" 2, 3,, 4.5 "), ["2", "3", "4.5"]);
  assert.equal(listed("  "), undefined);
  assert.deepEqual(openings("2 of 3, 3/5"), [[2, 3], [3, 5]]);
  assert.equal(openings(""), undefined);
  assert.ok(Number.isNaN(openings("two")![0]![0]), "the daemon says what is wrong with it");
});

test("a row is called by its setting, and the one in force is known by all of it", () => {
  assert.equal(settingOf(row({})), "k 3");
  assert.equal(settingOf(row({ budget: "1/day" })), "1/day");
  assert.equal(openingOf(row({ open: [3, 5] })), "3 of 5");
  assert.ok(isInForce(row({}), row({})));
  for (const other of [{ open: [3, 5] as [number, number] }, { budget: "1/day" }, { threshold: 2.6 }])
    assert.equal(isInForce(row(other), row({})), false);
});
