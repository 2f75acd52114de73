// A list of terms and what they are; those without a value are left out.
import type { ComponentChildren } from "preact";

export type Fact = [term: string, value: ComponentChildren];

export function Facts({ of, wide = false }: { of: (Fact | null | false)[]; wide?: boolean }) {
  return (
    <dl class={wide ? "facts wide" : "facts"}>
      {of.map(
        (fact) =>
          fact && (
            <div key={fact[0]}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}
