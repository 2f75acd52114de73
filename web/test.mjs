// Bundles test/*.test.ts and runs them in Node's own test runner: `node test.mjs`.
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";

process.chdir(new URL(".", import.meta.url).pathname);
const names = readdirSync("test").filter((name) => name.endsWith(".test.ts"));
const outdir = "node_modules/.tests";
await build({
  entryPoints: names.map((name) => `test/${name}`),
  bundle: true,
  format: "esm",
  platform: "node",
  target: ["node18"],
  outdir,
  outExtension: { ".js": ".mjs" },
  logLevel: "warning",
});
const files = names.map((name) => `${outdir}/${name.replace(/\.ts$/, ".mjs")}`);
process.exit(spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1);
