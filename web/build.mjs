// Bundles src/ into dist/, every file but index.html named by its content: `node build.mjs`.
import { build } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";

process.chdir(new URL(".", import.meta.url).pathname);
await rm("dist", { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: { app: "src/main.tsx", icon: "icon.svg" },
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  loader: { ".svg": "copy" },
  entryNames: "[name]-[hash]",
  outdir: "dist/assets",
  metafile: true,
  logLevel: "warning",
});
const made = Object.keys(metafile.outputs).map((path) => basename(path));
const page = (await readFile("index.html", "utf8")).replace(/\{(\w+\.\w+)\}/g, (_, name) => {
  const [stem, ending] = name.split(".");
  const file = made.find((f) => f.startsWith(`${stem}-`) && f.endsWith(`.${ending}`));
  if (!file) throw new Error(`index.html wants ${name}, and only ${made.join(", ")} were made`);
  return `/assets/${file}`;
});
await mkdir("dist", { recursive: true });
// Last, since make takes it as the sign that all is there.
await writeFile("dist/index.html", page);
