// Where alerts are sent: how each sink stands, what it would not take, and another attempt at that.
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { DASH } from "../format";
import { useAsked } from "../hooks";
import { Chip } from "../parts/chip";
import { Facts } from "../parts/facts";
import { Time } from "../parts/time";
import { complain, say } from "../parts/toast";
import { may } from "../state";
import type { SinkStatus } from "../types";

const EVERY = 3000;

export function Deliveries() {
  const [asked, again] = useAsked(api.sinks, []);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || again(), EVERY);
    return () => clearInterval(timer);
  }, []);
  const sinks = asked.data;
  return (
    <section id="deliveries" aria-labelledby="deliveries-title">
      <h2 id="deliveries-title">Where alerts are sent</h2>
      {asked.problem && <p class="problem">{asked.problem}</p>}
      {!sinks && !asked.problem && <p class="empty">Looking…</p>}
      {sinks?.length === 0 && (
        <p class="empty">
          Alerts are shown here and sent nowhere: the configuration has no <code>[[sink]]</code>.
        </p>
      )}
      <div class="sinks">
        {sinks?.map((sink) => (
          <Sink key={sink.name} sink={sink} onChange={again} />
        ))}
      </div>
    </section>
  );
}

/** How far behind a sink is. */
function behind({ waiting }: SinkStatus): string {
  return waiting === 0 ? "nothing waits" : `${waiting.toLocaleString("en")} ${waiting === 1 ? "waits" : "wait"}`;
}

function Sink({ sink, onChange }: { sink: SinkStatus; onChange: () => void }) {
  const [open, setOpen] = useState(false);
  const id = `sink-${sink.name}`;
  return (
    <article class="sink" data-sink={sink.name} aria-labelledby={id}>
      <h3 id={id}>
        {sink.name} <span class="dim">{sink.kind}</span> <Chip of={sink.state === "ok" ? "delivers" : "failing"} />
      </h3>
      <Facts
        wide
        of={[
          ["Behind", behind(sink)],
          ["Delivered since the start", sink.delivered.toLocaleString("en")],
          sink.failing_since ? ["Failing since", <Time at={sink.failing_since} />] : null,
          ["Given up", sink.dead_letters ? `${sink.dead_letters.toLocaleString("en")} letters` : DASH],
        ]}
      />
      {sink.last_error && (
        <p class={sink.state === "failing" ? "problem" : "dim"}>
          {sink.state === "failing" ? "" : "Last trouble: "}
          {sink.last_error}
        </p>
      )}
      {sink.dead_letters > 0 && may("operator") && (
        <button type="button" class="quiet list" aria-expanded={open} onClick={() => setOpen((o) => !o)}>
          {open ? "Hide what was given up" : "Show what was given up"}
        </button>
      )}
      {open && sink.dead_letters > 0 && <Dead sink={sink} onRetry={onChange} />}
    </article>
  );
}

function Dead({ sink, onRetry }: { sink: SinkStatus; onRetry: () => void }) {
  const [asked] = useAsked(() => api.dead(sink.name), [sink.name, sink.dead_letters]);
  const retry = async (): Promise<void> => {
    try {
      const { retried } = await api.retry(sink.name);
      say(`${sink.name}: ${retried} ${retried === 1 ? "letter is" : "letters are"} tried again`);
      onRetry();
    } catch (failure) {
      complain(failure);
    }
  };
  if (asked.problem) return <p class="problem">{asked.problem}</p>;
  return (
    <>
      <button type="button" class="retry" onClick={() => void retry()}>
        Try them again
      </button>
      <ol class="letters">
        {asked.data?.map((letter) => (
          <li key={letter.delivery}>
            <p class="line">
              <b>{letter.topic}</b> <span>{letter.camera}</span> <Time at={letter.time} />
              <span class="dim">
                given up <Time at={letter.died} />
              </span>
            </p>
            <p class="why">{letter.why}</p>
            <details>
              <summary>What it says</summary>
              <pre class="code">{JSON.stringify(letter.body, null, 2)}</pre>
            </details>
          </li>
        ))}
      </ol>
    </>
  );
}
