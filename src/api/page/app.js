// The live page: cameras, scores against thresholds, alerts. Plain DOM; text only ever enters as text.

const STALE_AFTER = 5; // seconds without a frame
const WINDOW = 10 * 60; // seconds of chart
const PICTURE_EVERY = 1000;
const STATUS_EVERY = 2000;
const $ = (selector, root = document) => root.querySelector(selector);

const cameras = new Map(); // name -> Card
const alerts = new Map(); // id -> { data, item }
let next = null; // cursor of the older alerts
let reached = 0; // when the daemon last answered, in performance time

const number = (v) => (v == null || !Number.isFinite(v) ? "–" : Math.abs(v) >= 100 ? v.toFixed(0) : v.toFixed(2));
const clock = (t) => new Date(t).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const rarity = (p) => (p == null || !Number.isFinite(p) ? "–" : p > 0.01 ? "usual" : `1 in ${(1 / p).toPrecision(2)}`);
const short = (sha) => (sha ? sha.slice(0, 10) : "–");

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(8000), ...options });
  reached = performance.now();
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
    throw new Error(problem.detail);
  }
  return answer;
}

const CHIPS = {
  live: ["live", "good"], connecting: ["connecting", "warn"], stalled: ["stalled", "bad"],
  backing_off: ["reconnecting", "bad"], finished: ["finished", "calm"],
  learning: ["learning", "warn"], armed: ["armed", "calm"], relearning: ["learning again", "calm"],
  low: ["low", "calm"], medium: ["medium", "warn"], high: ["high", "bad"],
};

function chip(element, key) {
  const [text, kind] = CHIPS[key] ?? [key, ""];
  element.textContent = text;
  element.className = `chip ${element.dataset.role} ${kind}`;
}

class Card {
  constructor(name) {
    this.name = name;
    this.points = []; // { t: seconds, score, threshold }
    this.root = $("#camera-template").content.firstElementChild.cloneNode(true);
    this.root.dataset.camera = name;
    $(".name", this.root).textContent = name;
    $(".state", this.root).dataset.role = "state";
    $(".mode", this.root).dataset.role = "mode";
    $(".learn", this.root).addEventListener("click", () => this.learn());
    $(".detector", this.root).addEventListener("change", () => {
      this.points = [];
      this.show(this.data);
      this.timeline().catch(() => {});
    });
    $("#cameras").append(this.root);
  }

  show(data) {
    this.data = data;
    this.shown = performance.now();
    const at = (selector) => $(selector, this.root);
    this.offer(data.detectors);
    const { learning, threshold, score, probability } = this.detector;
    const armed = learning.state !== "learning";
    chip(at(".state"), data.state);
    chip(at(".mode"), learning.state);
    at(".problem").hidden = !data.problem && data.healthy;
    at(".problem").textContent = data.problem ?? "the scores are not sound: look at the log";
    at(".learning").hidden = learning.state === "armed";
    at(".step").textContent = `${learning.step} · ${Math.round(learning.progress * 100)} %`;
    at("progress").value = learning.progress;
    at("progress").setAttribute("aria-label", `learning of ${this.name}`);
    at(".learn").disabled = learning.state !== "armed";
    at(".made").textContent = threshold
      ? `μ ${number(threshold.mu)} + ${number(threshold.k)} σ ${number(threshold.sigma)}${threshold.budget ? ` (${threshold.budget})` : ""}`
      : "–";
    at(".model").textContent = armed ? `${this.detector.method} ${short(learning.model_sha256)}` : "none yet";
    at(".model").title = learning.model_sha256 ?? "";
    at(".stream").textContent = data.width
      ? `${data.width}×${data.height} ${data.codec ?? ""} ${data.fps.toFixed(1)} fps`
      : "–";
    this.root.classList.toggle("alarm", data.detectors.some((d) => d.open_event != null));
    this.showScore(score, threshold?.limit, probability);
    this.showAge();
  }

  // One of several detectors is looked at; at first the one whose verdict opens events.
  offer(detectors) {
    const choice = $(".detector", this.root);
    if (choice.options.length !== detectors.length) {
      choice.replaceChildren(...detectors.map((d) => new Option(`${d.name}: ${d.method}`, d.name)));
      choice.value = (detectors.find((d) => d.alerts) ?? detectors[0]).name;
      choice.setAttribute("aria-label", `detector of ${this.name}`);
      choice.hidden = detectors.length < 2;
    }
    this.detector = detectors.find((d) => d.name === choice.value);
  }

  showScore(score, limit, probability) {
    $(".score", this.root).textContent = number(score);
    $(".rarity", this.root).textContent = rarity(probability);
    $(".score", this.root).classList.toggle("over-limit", score != null && limit != null && score > limit);
    $(".limit", this.root).textContent = number(limit);
  }

  // A picture that is not of now must never look as if it were.
  showAge() {
    const { state, last_frame_age_seconds: age, healthy } = this.data;
    const unanswered = (performance.now() - Math.max(reached, this.shown)) / 1000;
    const old = age == null ? null : age + (performance.now() - this.shown) / 1000;
    const stale = state !== "live" || old == null || old > STALE_AFTER || unanswered > STALE_AFTER;
    const veil = $(".veil", this.root);
    $(".view", this.root).classList.toggle("stale", stale);
    veil.hidden = !stale;
    veil.textContent =
      old == null ? "no picture yet" : state === "finished" ? "played to its end" : `stale: ${duration(old)} old`;
    this.stale = stale || !healthy;
  }

  async picture() {
    // A camera that is away keeps its last picture, which is asked for once.
    if (this.busy || (this.data.state !== "live" && this.tried)) return;
    this.busy = this.tried = true;
    try {
      const wide = Math.min(1280, Math.round(this.root.clientWidth * devicePixelRatio) || 640);
      const answer = await ask(`${this.data.links.latest}?width=${Math.max(16, wide)}`);
      const image = await createImageBitmap(await answer.blob());
      const canvas = $(".picture", this.root);
      [canvas.width, canvas.height] = [image.width, image.height];
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      this.drawMap(context, canvas);
      canvas.setAttribute("aria-label", `${this.name} at ${answer.headers.get("x-picture-time")}`);
    } catch {
      // Its age says that it is old.
    } finally {
      this.busy = false;
    }
  }

  // The regions that are above the limit now, while the camera as a whole is.
  drawMap(context, canvas) {
    const { map, score, threshold } = this.detector;
    if (!map || !threshold || score == null || score <= threshold.limit || this.stale) return;
    const wide = (canvas.width * map.covers_width) / map.columns;
    const high = (canvas.height * map.covers_height) / map.rows;
    const top = Math.max(...map.regions);
    map.regions.forEach((value, i) => {
      if (value == null || value <= threshold.limit) return;
      const strength = (value - threshold.limit) / (top - threshold.limit || 1);
      context.fillStyle = `rgba(255, ${Math.round(190 - 130 * strength)}, 60, ${0.15 + 0.4 * strength})`;
      context.fillRect((i % map.columns) * wide, Math.floor(i / map.columns) * high, wide, high);
    });
  }

  async timeline() {
    const after = new Date(Date.now() - WINDOW * 1000).toISOString();
    const data = await (await ask(`${this.data.links.scores}?detector=${this.detector.name}&after=${after}&step=1`)).json();
    if (data.detector !== this.detector.name) return;
    this.points = data.points.map((p) => ({ t: Date.parse(p.time) / 1000, ...p }));
    this.draw();
  }

  add(point) {
    if (point.detector !== this.detector.name) return;
    this.points.push({ t: Date.parse(point.time) / 1000, ...point });
    while (this.points.length && this.points[0].t < Date.now() / 1000 - WINDOW) this.points.shift();
    this.showScore(point.score, point.threshold, point.probability);
    this.draw();
  }

  draw() {
    const canvas = $(".chart", this.root);
    const points = this.points.filter((p) => Number.isFinite(p.score));
    canvas.classList.toggle("blank", !points.length);
    const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
    if (!wide) return;
    [canvas.width, canvas.height] = [wide * devicePixelRatio, high * devicePixelRatio];
    const c = canvas.getContext("2d");
    c.scale(devicePixelRatio, devicePixelRatio);
    c.font = "11px system-ui, sans-serif";
    canvas.setAttribute("aria-label", `scores of ${this.name} against the threshold: ${points.length} points`);
    if (!points.length) {
      c.fillStyle = "#8497a6";
      c.fillText("scores appear here once the camera has learned", 4, high / 2);
      return;
    }
    const now = Date.now() / 1000;
    const from = Math.max(now - WINDOW, Math.min(points[0].t, now - 60));
    const values = points.flatMap((p) => [p.score, p.threshold]);
    let [low, top] = [Math.min(...values), Math.max(...values)];
    const room = (top - low || 1) * 0.12;
    [low, top] = [low - room, top + room];
    const [left, bottom] = [34, high - 18];
    const x = (t) => left + ((t - from) / (now - from)) * (wide - left - 4);
    const y = (v) => 4 + (1 - (v - low) / (top - low)) * (bottom - 4);

    c.strokeStyle = "#1f2935";
    c.fillStyle = "#8497a6";
    for (let i = 0; i <= 3; i++) {
      const value = low + ((top - low) * (i + 0.3)) / 3.6;
      c.beginPath();
      c.moveTo(left, y(value));
      c.lineTo(wide - 4, y(value));
      c.stroke();
      c.fillText(number(value), 0, y(value) + 4);
    }
    for (let i = 0; i < 4; i++) {
      const t = from + ((now - from) * i) / 4;
      c.fillText(clock(t * 1000), x(t), high - 4);
    }

    // Alerts behind the line.
    c.fillStyle = "rgba(255, 107, 74, .13)";
    for (const { data } of alerts.values()) {
      if (data.camera !== this.name) continue;
      const begin = Math.max(from, Date.parse(data.start_time) / 1000);
      const end = data.end_time ? Date.parse(data.end_time) / 1000 : now;
      if (end > begin) c.fillRect(x(begin), 4, Math.max(2, x(end) - x(begin)), bottom - 4);
    }

    // A gap in time is a gap in the line. Two strokes: calm, and above the threshold.
    const usual = median(points.slice(1).map((p, i) => p.t - points[i].t)) || 1;
    const gap = Math.max(4, 3 * usual);
    const fill = c.createLinearGradient(0, 4, 0, bottom);
    fill.addColorStop(0, "rgba(79, 209, 197, .28)");
    fill.addColorStop(1, "rgba(79, 209, 197, 0)");
    c.lineWidth = 1.6;
    c.lineJoin = "round";
    points.slice(1).forEach((p, i) => {
      const q = points[i];
      if (p.t - q.t > gap) return;
      c.fillStyle = fill;
      c.beginPath();
      c.moveTo(x(q.t), bottom);
      c.lineTo(x(q.t), y(q.score));
      c.lineTo(x(p.t), y(p.score));
      c.lineTo(x(p.t), bottom);
      c.fill();
      c.strokeStyle = p.score > p.threshold || q.score > q.threshold ? "#ff6b4a" : "#4fd1c5";
      c.beginPath();
      c.moveTo(x(q.t), y(q.score));
      c.lineTo(x(p.t), y(p.score));
      c.stroke();
    });
    c.strokeStyle = "#f5b84f";
    c.setLineDash([5, 4]);
    c.beginPath();
    points.forEach((p, i) => (i ? c.lineTo(x(p.t), y(p.threshold)) : c.moveTo(x(p.t), y(p.threshold))));
    c.lineTo(wide - 4, y(points.at(-1).threshold));
    c.stroke();
    c.setLineDash([]);
    c.fillStyle = "#f5b84f";
    c.fillText("threshold", wide - 58, y(points.at(-1).threshold) - 5);
  }

  async learn() {
    try {
      const one = this.data.detectors.length > 1 && !this.detector.method.includes(" and ");
      const path = this.data.links.learn + (one ? `?detector=${this.detector.name}` : "");
      this.show(await (await ask(path, { method: "POST" })).json());
    } catch (error) {
      $(".problem", this.root).hidden = false;
      $(".problem", this.root).textContent = error.message;
    }
  }
}

function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1];
}

function showAlert(data, older = false) {
  let entry = alerts.get(data.id);
  if (!entry) {
    entry = { item: $("#alert-template").content.firstElementChild.cloneNode(true) };
    entry.item.dataset.event = data.id;
    $(".severity", entry.item).dataset.role = "severity";
    $("button", entry.item).addEventListener("click", () => detail(alerts.get(data.id).data));
    const before = [...$("#alerts").children].find((item) => item.dataset.event < data.id);
    $("#alerts").insertBefore(entry.item, older ? null : (before ?? null));
    alerts.set(data.id, entry);
  }
  entry.data = data;
  const at = (selector) => $(selector, entry.item);
  at(".camera-name").textContent = data.camera;
  at(".detector-name").textContent = data.detector === "main" ? "" : data.detector;
  chip(at(".severity"), data.severity);
  at("time").dateTime = data.start_time;
  at("time").textContent = `${clock(data.start_time)} · ${span(data)}`;
  at(".numbers").textContent =
    `score ${number(data.top_score)} over ${number(data.threshold)} (${data.budget ? `budget ${data.budget}` : `k = ${data.k}`})`;
  at(".hash").textContent = `${data.scorer} ${short(data.model.sha256)}`;
  at(".alert").classList.toggle("open", !data.end_time);
  at("img").hidden = !data.thumbnail;
  at("img").alt = `what was unusual at ${data.camera}`;
  const source = newest(data, "thumbnail");
  if (source && at("img").getAttribute("src") !== source) at("img").src = source;
  $("#no-alerts").hidden = true;
}

// A stranger moment replaces the picture under the same address.
function newest(data, picture) {
  return data[picture] && `${data[picture]}?v=${Date.parse(data.last_time)}`;
}

function span(data) {
  if (!data.end_time) return "now";
  return duration((Date.parse(data.end_time) - Date.parse(data.start_time)) / 1000);
}

function detail(data) {
  $("#detail-title").textContent = `${data.camera}, ${new Date(data.start_time).toLocaleString()}`;
  const picture = $("#detail-picture");
  picture.hidden = !data.snapshot;
  if (data.snapshot) picture.src = newest(data, "snapshot");
  picture.alt = `snapshot of ${data.camera} with the map of unusual regions`;
  const facts = [
    ["Lasted", span(data)], ["Severity", data.severity], ["Highest score", number(data.top_score)],
    ["Rarity", rarity(data.probability)], ["Detector", data.detector],
    ["Threshold", `${number(data.threshold)} = ${number(data.mu)} + ${number(data.k)} × ${number(data.sigma)}`],
    // What goes with a factor is no cause: the words are the daemon's own.
    ...(data.factors.length ? [["What moved most", data.factors.map((f) => f.text).join("; ")]] : []),
    ["Scorer", data.scorer], ["Segments", `${data.segments.first} to ${data.segments.last}`],
    ["Model", `${data.model.name} ${data.model.sha256}`], ["Event", data.id],
  ];
  $("#detail-facts").replaceChildren(
    ...facts.map(([term, text]) => {
      const [row, dt, dd] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      dt.textContent = term;
      dd.textContent = text;
      row.append(dt, dd);
      return row;
    }),
  );
  $("#detail").showModal();
}

async function olderAlerts() {
  const page = await (await ask(`/api/events?limit=30${next ? `&cursor=${next}` : ""}`)).json();
  page.events.forEach((event) => showAlert(event, true));
  next = page.next;
  $("#more").hidden = !next;
  $("#no-alerts").hidden = alerts.size > 0;
}

function card(data) {
  if (!cameras.has(data.name)) cameras.set(data.name, new Card(data.name));
  cameras.get(data.name).show(data);
  return cameras.get(data.name);
}

async function status() {
  try {
    const list = await (await ask("/api/cameras")).json();
    list.forEach(card);
    const live = list.filter((c) => c.state === "live").length;
    const learns = (c) => c.detectors.some((d) => d.learning.state === "learning");
    const learning = list.filter(learns).length;
    $("#summary").textContent =
      `${live} of ${list.length} live${learning ? ` · ${learning} learning` : ""}`;
  } catch {
    cameras.forEach((c) => c.showAge());
  }
}

function listen() {
  const stream = new EventSource("/api/stream");
  const on = (topic, act) => stream.addEventListener(topic, (message) => act(JSON.parse(message.data)));
  on("score", (point) => cameras.get(point.camera)?.add(point));
  on("camera.state", card);
  for (const topic of ["alert.new", "alert.update", "alert.end"]) {
    on(topic, (event) => {
      showAlert(event);
      cameras.get(event.camera)?.draw();
    });
  }
  const link = $("#link");
  stream.onopen = () => {
    link.textContent = "connected";
    link.className = "chip good";
    cameras.forEach((c) => c.timeline().catch(() => {}));
  };
  stream.onerror = () => {
    link.textContent = "connection lost";
    link.className = "chip bad";
  };
}

await status();
await olderAlerts().catch(() => {});
$("#more").addEventListener("click", () => olderAlerts().catch(() => {}));
listen();
const each = (act) => () => document.hidden || cameras.forEach(act);
each((c) => c.picture())();
setInterval(each((c) => c.picture()), PICTURE_EVERY);
setInterval(each((c) => c.showAge()), PICTURE_EVERY);
setInterval(each((c) => c.draw()), STATUS_EVERY);
setInterval(status, STATUS_EVERY);
addEventListener("resize", each((c) => c.draw()));
