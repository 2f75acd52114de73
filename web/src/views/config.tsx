// The configuration: what is wrong with cameras, what is in force, and a check of another text.
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import * as api from "../api";
import { useCell } from "../cell";
import { useAsked } from "../hooks";
import { href } from "../router";
import { cameras, may } from "../state";
import type { ConfigCheck, ConfigProblem, Reloaded } from "../types";

export function ConfigView() {
  const [read, setRead] = useState(0);
  const ill = [...useCell(cameras).values()].map((s) => s.data).filter((c) => c.problem || !c.healthy);
  return (
    <div id="config" class="config">
      <section aria-labelledby="ill-title">
        <h2 id="ill-title">Problems</h2>
        {ill.length ? (
          <ul class="problems">
            {ill.map((c) => (
              <li key={c.name}>
                <a href={href(["cameras", c.name])}>{c.name}</a>: {c.problem ?? "the scores are not sound: look at the log"}
              </li>
            ))}
          </ul>
        ) : (
          <p class="empty">Every camera is well.</p>
        )}
      </section>
      {may("admin") && <Reload onRead={() => setRead(read + 1)} />}
      {may("admin") && <Check />}
      {may("admin") && <Running key={read} />}
    </div>
  );
}

function Reload({ onRead }: { onRead: () => void }) {
  const [found, setFound] = useState<Reloaded | ConfigCheck | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const reload = async (): Promise<void> => {
    setBusy(true);
    setFound(null);
    setProblem(null);
    try {
      setFound(await api.reloadConfig());
      onRead();
    } catch (failure) {
      setProblem((failure as Error).message);
    }
    setBusy(false);
  };
  return (
    <section aria-labelledby="reload-title">
      <h2 id="reload-title">Changes of the file</h2>
      <button type="button" id="reload" disabled={busy} onClick={() => void reload()}>
        Read the configuration again
      </button>
      <div id="reloaded" role="status">
        {problem && <p class="problem">{problem}</p>}
        {found && "added" in found && <Outcome of={found} />}
        {found && "ok" in found && <p class="problem">It cannot be used; everything goes on as it was.</p>}
        {found && (
          <ol class="problems">
            {[...("ok" in found ? found.problems : []), ...found.warnings].map((p, i) => (
              <li key={i}>
                <Mistake problem={p} warning={!("ok" in found && found.problems.includes(p))} />
              </li>
            ))}
          </ol>
        )}
      </div>
    </section>
  );
}

function Outcome({ of: { added, changed, removed, unchanged, needs_restart } }: { of: Reloaded }) {
  const lists = { added, changed, removed };
  const said = Object.entries(lists).filter(([, names]) => names.length);
  return (
    <>
      <p class="fine">
        ✓ {said.map(([what, names]) => `${what}: ${names.join(", ")}`).join("; ") || "No camera has changed"}
        {unchanged.length > 0 && said.length > 0 && `; ${unchanged.length} as before`}.
      </p>
      {needs_restart.length > 0 && (
        <p class="problem">
          {needs_restart.map((key, i) => [i > 0 && ", ", <code>{key}</code>])}: takes effect after a restart.
        </p>
      )}
    </>
  );
}

function Running() {
  const [asked] = useAsked(api.config, []);
  return (
    <section aria-labelledby="running-title">
      <h2 id="running-title">In force</h2>
      {asked.problem && <p class="problem">{asked.problem}</p>}
      {asked.data != null && <Tree value={asked.data} name="" />}
    </section>
  );
}

function Check() {
  const [text, setText] = useState("");
  const [found, setFound] = useState<ConfigCheck | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const check = async (): Promise<void> => {
    try {
      setFound(await api.checkConfig(text));
      setProblem(null);
    } catch (failure) {
      setProblem((failure as Error).message);
    }
  };
  /** Puts the cursor where a mistake is. */
  const show = ({ line }: ConfigProblem): void => {
    const lines = text.split("\n");
    const begin = lines.slice(0, line - 1).reduce((n, l) => n + l.length + 1, 0);
    area.current?.focus();
    area.current?.setSelectionRange(begin, begin + (lines[line - 1]?.length ?? 0));
  };
  return (
    <section aria-labelledby="check-title">
      <h2 id="check-title">Check a configuration</h2>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          void check();
        }}
      >
        <label class="field">
          <span class="caption">The text of a config.toml; nothing is changed by checking it</span>
          <textarea
            ref={area}
            id="text"
            class="code"
            rows={12}
            spellcheck={false}
            value={text}
            onInput={(e) => {
              setText(e.currentTarget.value);
              setFound(null);
            }}
          />
        </label>
        <div class="line">
          <button type="submit">Check</button>
          <label class="quiet file">
            Take a file
            <input
              type="file"
              accept=".toml,text/plain"
              onChange={(e) => void e.currentTarget.files?.[0]?.text().then(setText)}
            />
          </label>
        </div>
      </form>
      <div id="found" role="status">
        {problem && <p class="problem">{problem}</p>}
        {found?.ok && <p class="fine">✓ It can be used{found.warnings.length ? ", with what is said below" : ""}.</p>}
        <ol class="problems">
          {[...(found?.problems ?? []), ...(found?.warnings ?? [])].map((p, i) => (
            <li key={i}>
              <Mistake problem={p} warning={!found?.problems.includes(p)} onShow={() => show(p)} />
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}

interface MistakeProps {
  problem: ConfigProblem;
  warning: boolean;
  /** Where there is a text to show it in. */
  onShow?: () => void;
}

function Mistake({ problem: p, warning, onShow }: MistakeProps) {
  return (
    <>
      {p.line > 0 && !onShow && `line ${p.line} `}
      {p.line > 0 && onShow && (
        <button type="button" class="quiet" onClick={onShow}>
          line {p.line}
        </button>
      )}{" "}
      <b>{warning ? "odd" : "wrong"}</b> {p.key && <code>{p.key}</code>}
      {p.value != null && (
        <>
          {" = "}
          <code>{p.value}</code>
        </>
      )}
      : {p.message}
      {p.allowed && <p>Allowed: {p.allowed}</p>}
      <p class="remedy">→ {p.remedy}</p>
    </>
  );
}

const isGroup = (value: unknown): value is object => typeof value === "object" && value !== null;

/** Tables of the configuration as nested lists that can be folded. */
function Tree({ value, name }: { value: unknown; name: string }): JSX.Element {
  if (!isGroup(value)) return <code>{value == null ? "–" : String(value)}</code>;
  if (Array.isArray(value) && !value.some(isGroup)) return <code>{value.join(", ") || "–"}</code>;
  const entries = Array.isArray(value)
    ? value.map((one, i): [string, unknown] => [(one as { name?: string })?.name ?? String(i + 1), one])
    : Object.entries(value);
  return (
    <dl class="tree">
      {entries.map(([key, inner]) => {
        const path = name ? `${name}.${key}` : key;
        const folded = isGroup(inner) && !(Array.isArray(inner) && !inner.some(isGroup));
        return folded ? (
          <div key={key} class="group">
            <details open>
              <summary>{path}</summary>
              <Tree value={inner} name={path} />
            </details>
          </div>
        ) : (
          <div key={key} class="leaf">
            <dt>{key}</dt>
            <dd>
              <Tree value={inner} name={path} />
            </dd>
          </div>
        );
      })}
    </dl>
  );
}
