// What an audit finds wrong with the page as it is shown: names of controls, contrast of text, width, landmarks.
(() => {
  const found = [];
  const shown = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
  const say = (e, what) => found.push(`${what}: <${e.tagName.toLowerCase()} class="${e.className}"> ${(e.textContent ?? "").trim().slice(0, 40)}`);

  const nameOf = (e) => {
    const by = e.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
    const label = e.labels?.[0]?.textContent;
    const pictures = [...e.querySelectorAll("img, [aria-label]")].map((i) => i.alt ?? i.ariaLabel).join(" ");
    return e.ariaLabel || e.alt || label || e.textContent || pictures || e.title || "";
  };
  const controls = "a[href], button, input, select, textarea, video, summary, img, canvas, dialog[open], progress, [role]:not([role=none])";
  for (const e of document.querySelectorAll(controls)) {
    if (!shown(e) || e.parentElement.closest("[role=img]") || (e.tagName === "IMG" && e.alt === "" && e.hasAttribute("alt"))) continue;
    if (!["status", "none"].includes(e.getAttribute("role")) && !nameOf(e).trim()) say(e, "has no name");
  }
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) say(e, "has an order of its own");
  if (document.querySelectorAll("main").length !== 1 || !document.querySelector("header h1")) found.push("landmarks are missing");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`two elements are #${id}`);

  const parse = (c) => (c.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(e).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [0, 0, 0];
  };
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !shown(e) || e.disabled || e.closest("noscript")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) say(e, `contrast is ${ratio.toFixed(1)}`);
  }

  if (document.documentElement.scrollWidth > innerWidth) {
    found.push(`${document.documentElement.scrollWidth} pixels are wider than the window's ${innerWidth}`);
    for (const e of document.querySelectorAll("main *")) if (e.getBoundingClientRect().right > innerWidth + 1) say(e, "sticks out");
  }
  return [...new Set(found)];
})()
