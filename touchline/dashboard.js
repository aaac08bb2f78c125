// The page of `touchline dashboard`: asks the server every few seconds for what is new, and draws it.
// Names of runs come from a disk: they are put into the page as text, never as markup.
"use strict";

const EVERY = 3000; // milliseconds between two questions
const BATCH = 40; // runs in one question
const DASHES = [[], [8, 4], [2, 3], [9, 3, 2, 3]];
const COLOURS = 7;
const FAVOURITES = ["episode/success_rate", "score/goal_difference_per_game", "episode/return", "time/env_steps_per_second"];
const STATES = ["running", "finished", "stopped", "unreadable", "reading"];
const VIEWS = ["curves", "leagues", "tournaments", "tables", "replays"];
const LABELS = { curves: "Runs", leagues: "Leagues", tournaments: "Tournaments", tables: "Tables", replays: "Replays" };

const $ = (id) => document.getElementById(id);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1) || "(the folder itself)";
const parentOf = (path) => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
const order = new Intl.Collator("en", { numeric: true });

const page = {
  overview: null, view: "curves", rows: new Map(), groups: new Map(), chosen: new Set(), slots: new Map(), seeds: new Map(), data: new Map(), plots: new Map(),
  state: "", metrics: [], axis: "steps", smooth: 0, group: true, focus: null, place: {}, shown: {}, stamps: {}, cursor: null,
};
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));

function element(tag, kind = "", ...children) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  node.append(...children);
  return node;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---- numbers for people -------------------------------------------------------------------------------------------

function short(x) {
  if (x === null || x === undefined || !Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  if (size >= 1e9) return `${trim(x / 1e9, 2)}G`;
  if (size >= 1e6) return `${trim(x / 1e6, 2)}M`;
  if (size >= 1e4) return `${trim(x / 1e3, 1)}k`;
  return trim(x, size >= 100 ? 0 : 3);
}

function trim(x, digits) {
  return String(Number(x.toFixed(digits)));
}

function exact(x) {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  if (size && size < 1e-3) return x.toExponential(2);
  return size >= 1000 ? Math.round(x).toLocaleString("en") : String(Number(x.toPrecision(4)));
}

function lasting(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  const hours = seconds / 3600;
  return hours < 48 ? `${trim(hours, 1)} h` : `${trim(hours / 24, 1)} days`;
}

const percent = (x) => `${trim(100 * x, 1)}%`;
const signed = (x) => `${x > 0 ? "+" : ""}${trim(x, 2)}`;
const size = (bytes) => (bytes > 1e6 ? `${trim(bytes / 1e6, 1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`);

// ---- asking -------------------------------------------------------------------------------------------------------

async function ask(what, values = {}) {
  const answer = await fetch(`/api/${what}?${new URLSearchParams(values)}`);
  if (!answer.ok) throw new Error((await answer.text()).trim() || `status ${answer.status}`);
  return answer.json();
}

let timer = 0, asking = false, again = false;

async function tick() {
  clearTimeout(timer);
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  again = false;
  try {
    page.overview = await ask("overview");
    takeOverview();
    await fetchCurves();
    await showView();
    live(true);
  } catch (error) {
    live(false, error);
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(tick, again ? 0 : page.overview && page.overview.waiting ? 100 : EVERY);
}

function live(there, error) {
  const node = $("live");
  node.classList.toggle("lost", !there);
  put(node, there ? "live" : error instanceof TypeError ? "no answer; trying again" : error.message);
}

async function fetchCurves() {
  if (page.view !== "curves") return;
  const known = new Map(page.overview.runs.map((run) => [run.path, run]));
  const columns = page.metrics;
  const wanted = [];
  for (const path of page.chosen) {
    const run = known.get(path), have = page.data.get(path);
    if (!run || ["reading", "unreadable"].includes(run.state) || !columns.length) continue;
    const complete = have && columns.every((name) => name in have.columns);
    if (complete && have.version === run.version && have.rows === run.rows) continue;
    wanted.push(complete ? [path, have.version, have.stride, have.done] : [path, "", 0, 0]);
  }
  for (let i = 0; i < wanted.length; i += BATCH) {
    const answer = await ask("curves", { ask: JSON.stringify({ columns, runs: wanted.slice(i, i + BATCH) }) });
    for (const [path, part] of Object.entries(answer.runs)) takePart(path, part);
  }
  if (wanted.length) drawCharts();
}

function takePart(path, part) {
  if (part.error) return page.data.delete(path);
  let have = page.data.get(path);
  if (!part.start || !have) have = { steps: [], seconds: [], columns: {} };
  const extend = (old, more) => [...old.slice(0, part.start), ...more];
  const columns = {};
  for (const [name, values] of Object.entries(part.columns)) columns[name] = extend(have.columns[name] || [], values);
  page.data.set(path, {
    version: part.version, stride: part.stride, done: part.done, rows: part.rows, columns,
    steps: extend(have.steps, part.steps), seconds: extend(have.seconds, part.seconds),
  });
}

// ---- what is kept between visits ----------------------------------------------------------------------------------

const KEPT = ["metrics", "axis", "smooth", "group"];

function remember() {
  const kept = Object.fromEntries(KEPT.map((name) => [name, page[name]]));
  try {
    localStorage.setItem("touchline", JSON.stringify(kept));
    localStorage.setItem(`touchline ${page.overview.root}`, JSON.stringify([...page.chosen]));
  } catch { /* a browser that keeps nothing */ }
}

function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

// ---- the list of runs ---------------------------------------------------------------------------------------------

function takeOverview() {
  const { overview } = page;
  const first = !page.begun;
  put($("root"), overview.root);
  document.title = `${nameOf(overview.root)} · touchline dashboard`;
  $("notes").hidden = !overview.notes.length;
  put($("notes"), overview.notes.slice(0, 5).join(" · "));
  // Folders in which something runs come first.
  const busy = new Set(overview.runs.filter((run) => run.state === "running").map((run) => parentOf(run.path)));
  const rank = (run) => (busy.has(parentOf(run.path)) ? 0 : 1);
  overview.runs.sort((a, b) => rank(a) - rank(b) || order.compare(parentOf(a.path), parentOf(b.path)) || order.compare(a.path, b.path));
  page.seeds = new Map(overview.runs.map((run) => [run.path, run.seed]));
  if (first) begin();
  for (const path of [...page.chosen]) {
    if (!overview.runs.some((run) => run.path === path)) choose(path, false);
  }
  showTabs();
  showRuns();
  showMetrics();
  showHint();
}

function begin() {
  page.begun = true;
  const kept = recall("touchline") || {};
  for (const name of KEPT) if (typeof kept[name] === typeof page[name]) page[name] = kept[name];
  if (!Array.isArray(page.metrics)) page.metrics = [];
  if (page.axis !== "seconds") page.axis = "steps";
  const { runs } = page.overview;
  const before = recall(`touchline ${page.overview.root}`);
  let some = Array.isArray(before) ? runs.filter((run) => before.includes(run.path)) : [];
  if (!some.length) some = runs.filter((run) => run.state === "running");
  if (!some.length) some = runs;
  for (const run of some.slice(0, 12)) choose(run.path, true);
  $("axis").value = page.axis;
  $("smooth").value = page.smooth;
  $("group").checked = page.group;
  put($("smoothed"), page.smooth ? String(page.smooth) : "off");
}

function choose(path, on) {
  if (on === page.chosen.has(path)) return;
  if (on) page.chosen.add(path);
  else {
    page.chosen.delete(path);
    page.data.delete(path);
  }
}

function isShown(run) {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${run.path} ${run.scenario || ""} ${run.agent || ""}`.toLowerCase();
  return (!page.state || run.state === page.state) && words.every((word) => text.includes(word));
}

function showRuns() {
  const { runs } = page.overview, there = new Set(runs.map((run) => run.path));
  assignSlots();
  for (const [path, row] of page.rows) {
    if (there.has(path)) continue;
    row.node.remove();
    page.rows.delete(path);
  }
  const counts = {}, nodes = [], used = new Set();
  let group = null;
  for (const run of runs) {
    counts[run.state] = (counts[run.state] || 0) + 1;
    if (!page.rows.has(run.path)) page.rows.set(run.path, newRow(run.path));
    const row = page.rows.get(run.path);
    showRow(row, run);
    if (!isShown(run)) continue;
    const parent = parentOf(run.path);
    if (!group || group.path !== parent) {
      if (!page.groups.has(parent)) page.groups.set(parent, newGroup(parent));
      group = page.groups.get(parent);
      group.members = [];
      used.add(parent);
      nodes.push(group.node);
    }
    group.members.push(run.path);
    nodes.push(row.node);
  }
  for (const path of used) {
    const { box, members } = page.groups.get(path), number = members.filter((member) => page.chosen.has(member)).length;
    box.checked = number === members.length;
    box.indeterminate = number > 0 && number < members.length;
  }
  const list = $("runs");
  if (nodes.length !== list.children.length || nodes.some((node, i) => list.children[i] !== node)) {
    const active = document.activeElement, top = list.scrollTop; // moving a node takes its focus away
    list.replaceChildren(...nodes);
    list.scrollTop = top;
    if (list.contains(active)) active.focus({ preventScroll: true });
  }
  if (!nodes.length) list.replaceChildren(element("p", "empty", runs.length ? "No run fits the filter." : "No runs here yet."));
  put($("chosen"), `${page.chosen.size} of ${runs.length} chosen`);
  showStates(counts, runs.length);
}

function newGroup(path) {
  const box = element("input");
  box.type = "checkbox";
  const group = { path, box, members: [], node: element("label", "folder", box, element("span", "", path || "./")) };
  box.addEventListener("change", () => {
    for (const member of group.members) choose(member, box.checked);
    changed();
  });
  return group;
}

function newRow(path) {
  const row = {
    box: element("input"), swatch: swatch(), badge: element("span", "badge"), fill: element("i"),
    facts: element("p"), scores: element("p"), error: element("p", "error"), more: element("button", "more", "···"),
  };
  row.box.type = "checkbox";
  row.box.addEventListener("change", () => {
    choose(path, row.box.checked);
    changed();
  });
  row.more.setAttribute("aria-label", `Details of ${path}`);
  row.more.title = "Config, evaluation, replays";
  row.more.addEventListener("click", () => showDetails(path));
  const name = element("span", "", nameOf(path));
  name.title = path;
  row.bar = element("div", "bar", row.fill);
  row.bar.setAttribute("role", "progressbar");
  row.bar.setAttribute("aria-label", "env steps");
  row.node = element(
    "div", "run", element("div", "top", element("label", "", row.box, row.swatch, name), row.badge, row.more),
    row.bar, row.facts, row.scores, row.error,
  );
  return row;
}

function showRow(row, run) {
  row.node.className = `run ${run.state}`;
  row.badge.className = `badge ${run.state}`;
  put(row.badge, run.state);
  row.box.checked = page.chosen.has(run.path);
  paintSwatch(row.swatch, page.chosen.has(run.path) ? page.slots.get(labelOf(run.path)) : undefined);
  if (run.state === "reading") return;
  const share = run.total_steps ? clamp(run.env_steps / run.total_steps, 0, 1) : 0;
  row.fill.style.width = `${100 * share}%`;
  row.bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  const of = run.total_steps ? ` of ${short(run.total_steps)}` : "";
  const facts = [`${short(run.env_steps)}${of} steps`];
  if (run.env_steps_per_second) facts.push(`${short(run.env_steps_per_second)}/s`);
  if (run.eta_seconds !== null) facts.push(`${lasting(run.eta_seconds)} left`);
  else if (run.state === "stopped" && run.quiet_seconds !== null) facts.push(`quiet for ${lasting(run.quiet_seconds)}`);
  setParts(row.facts, facts.map((text) => [text, ""]));
  const scores = [];
  if (run.success_rate !== null) scores.push(["success ", percent(run.success_rate)]);
  if (run.goal_difference !== null) scores.push(["goals ", signed(run.goal_difference)]);
  else if (run.episode_return !== null) scores.push(["return ", trim(run.episode_return, 2)]);
  setParts(row.scores, scores);
  put(row.error, run.errors.join(" · "));
  row.error.hidden = !run.errors.length;
}

function setParts(node, parts) {
  if (node.textContent === parts.map((part) => part.join("")).join("")) return;
  node.replaceChildren(...parts.map(([text, strong]) => element("span", "", text, ...(strong ? [element("b", "", strong)] : []))));
}

function showStates(counts, total) {
  const chips = [["", `all ${total}`], ...STATES.filter((state) => counts[state]).map((state) => [state, `${state} ${counts[state]}`])];
  if (page.state && !counts[page.state]) chips.push([page.state, `${page.state} 0`]);
  const box = $("states");
  while (box.children.length > chips.length) box.lastChild.remove();
  chips.forEach(([state, text], i) => {
    if (!box.children[i]) {
      box.append(element("button"));
      box.children[i].addEventListener("click", (event) => {
        page.state = event.currentTarget.dataset.state;
        showRuns();
      });
    }
    box.children[i].dataset.state = state;
    box.children[i].setAttribute("aria-pressed", String(state === page.state));
    put(box.children[i], text);
  });
}

function changed() {
  remember();
  showRuns();
  showHint();
  drawCharts();
  tick();
}

function showHint() {
  const { runs } = page.overview, hint = $("hint");
  let text = "";
  if (!runs.length) text = "No runs in this folder yet. They appear here as soon as one begins:";
  else if (!page.chosen.size) text = "Choose runs on the list to see their curves.";
  else if (!page.metrics.length) text = "Choose a metric to draw.";
  hint.hidden = !text;
  hint.replaceChildren(text, ...(runs.length ? [] : [element("br"), element("code", "", "touchline train --out RUNS_DIR/first")]));
}

// ---- colours: one a curve, or one a group of seeds ----------------------------------------------------------------

const SEED = /^(.+)-(\d+)$/, TRIAL = /(^|\/)trial-\d{4}$/; // a search's trials differ in their settings, not their seeds

/** VARIANT of a run that is called VARIANT-SEED by the seed of its config; others, VARIANT-TIME say, are for themselves. */
function labelOf(path) {
  const found = page.group && !TRIAL.test(path) && SEED.exec(path);
  return found && Number(found[2]) === page.seeds.get(path) ? found[1] : path;
}

function assignSlots() {
  const labels = new Set([...page.chosen].map(labelOf));
  for (const label of page.slots.keys()) if (!labels.has(label)) page.slots.delete(label);
  for (const label of labels) {
    if (page.slots.has(label)) continue;
    const taken = new Set(page.slots.values());
    let slot = 0;
    while (taken.has(slot)) slot++;
    page.slots.set(label, slot);
  }
}

function styleOf(slot) {
  return { colour: css(`--c${slot % COLOURS}`), dash: DASHES[Math.floor(slot / COLOURS) % DASHES.length] };
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A piece of the curve itself. */
function swatch(slot) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(svg.namespaceURI, "path");
  svg.setAttribute("viewBox", "0 0 22 6");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("swatch");
  line.setAttribute("d", "M0 3h22");
  svg.append(line);
  paintSwatch(svg, slot);
  return svg;
}

function paintSwatch(svg, slot) {
  const line = svg.firstChild, some = slot !== undefined;
  line.style.stroke = some ? `var(--c${slot % COLOURS})` : "";
  line.setAttribute("stroke-dasharray", some ? DASHES[Math.floor(slot / COLOURS) % DASHES.length].join(" ") : "");
}

/** Names without what all of them begin with. */
function shortLabels(labels) {
  if (labels.length < 2) return new Map(labels.map((label) => [label, nameOf(label)]));
  const parts = labels.map((label) => label.split("/"));
  let same = 0;
  while (parts.every((part) => part.length > same + 1 && part[same] === parts[0][same])) same++;
  return new Map(labels.map((label, i) => [label, parts[i].slice(same).join("/")]));
}

// ---- metrics ------------------------------------------------------------------------------------------------------

function showMetrics() {
  const { columns, waiting } = page.overview;
  if (!page.metrics.length && columns.length && !page.touched) {
    page.metrics = FAVOURITES.filter((name) => columns.includes(name));
    if (!page.metrics.length) page.metrics = columns.slice(0, 4);
  }
  const all = [...new Set([...columns, ...(waiting ? [] : page.metrics)])].sort(order.compare);
  put($("picked"), String(page.metrics.length));
  const key = JSON.stringify(all);
  if (page.listed !== key) {
    page.listed = key;
    const nodes = [];
    let room = null;
    for (const name of all) {
      const own = name.includes("/") ? name.slice(0, name.indexOf("/")) : "other";
      if (own !== room) nodes.push(element("h3", "", (room = own)));
      const box = element("input");
      box.type = "checkbox";
      box.value = name;
      box.addEventListener("change", () => {
        page.touched = true;
        page.metrics = box.checked ? [...page.metrics, name] : page.metrics.filter((other) => other !== name);
        changed();
      });
      nodes.push(element("label", "", box, element("span", "", name)));
    }
    $("metrics").replaceChildren(...nodes);
    filterMetrics();
  }
  for (const box of $("metrics").querySelectorAll("input")) box.checked = page.metrics.includes(box.value);
}

function filterMetrics() {
  const word = $("find").value.toLowerCase();
  let head = null;
  for (const node of $("metrics").children) {
    if (node.tagName === "H3") {
      head = node;
      head.hidden = true;
    } else {
      node.hidden = !node.textContent.toLowerCase().includes(word);
      if (!node.hidden) head.hidden = false;
    }
  }
}

// ---- curves -------------------------------------------------------------------------------------------------------

/** Exponential means without the pull of the first point; gaps stay gaps. */
function smoothed(values, weight) {
  if (!weight) return values;
  let sum = 0, total = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

/** [x, y] of the points that are there. */
function known(xs, ys) {
  const x = [], y = [];
  for (let i = 0; i < xs.length; i++) {
    if (ys[i] === null || xs[i] === null) continue;
    x.push(xs[i]);
    y.push(ys[i]);
  }
  return [x, y];
}

/** The index of the last x that is not beyond `at`, or -1. */
function before(x, at) {
  let low = 0, high = x.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function valueAt(x, y, at) {
  if (!x.length || at < x[0] || at > x[x.length - 1]) return null;
  const i = before(x, at);
  if (i === x.length - 1) return y[i];
  const share = (at - x[i]) / (x[i + 1] - x[i] || 1);
  return y[i] + share * (y[i + 1] - y[i]);
}

/** The mean of several curves where all of them are, so that it is never of other seeds on its right than on its left. */
function meanOf(curves) {
  const from = Math.max(...curves.map(([x]) => x[0])), to = Math.min(...curves.map(([x]) => x[x.length - 1]));
  if (!(to > from)) return [[], []];
  const number = Math.min(500, Math.max(...curves.map(([x]) => x.length)));
  const x = Array.from({ length: number }, (_, i) => from + ((to - from) * i) / Math.max(number - 1, 1));
  x[number - 1] = to;
  return [x, x.map((at) => curves.reduce((sum, [a, b]) => sum + valueAt(a, b, at), 0) / curves.length)];
}

function seriesOf(metric) {
  const groups = new Map();
  for (const path of page.chosen) {
    const data = page.data.get(path);
    if (!data || !(metric in data.columns)) continue;
    const values = data.columns[metric], xs = data[page.axis];
    const curve = known(xs, smoothed(values, page.smooth));
    if (!curve[0].length) continue;
    const label = labelOf(path);
    if (!groups.has(label)) groups.set(label, []);
    groups.get(label).push({ path, curve, raw: page.smooth ? known(xs, values) : null });
  }
  const out = [];
  for (const [label, members] of groups) {
    const slot = page.slots.get(label) ?? 0, style = styleOf(slot);
    if (members.length === 1) {
      const { curve, raw } = members[0];
      if (raw) out.push({ ...style, label, curve: raw, width: 1, alpha: 0.25 });
      out.push({ ...style, label, slot, curve, width: 2, alpha: 1, told: true });
      continue;
    }
    for (const { curve } of members) out.push({ ...style, label, curve, width: 1, alpha: 0.45 });
    out.push({ ...style, label, slot, curve: meanOf(members.map(({ curve }) => curve)), width: 2.5, alpha: 1, told: true, seeds: members.length });
  }
  return out;
}

let drawing = 0;

function drawCharts() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(drawNow);
}

function drawNow() {
  const labels = shortLabels([...page.slots.keys()]);
  page.labels = labels;
  for (const [metric, plot] of page.plots) {
    if (page.metrics.includes(metric) && page.chosen.size) continue;
    plot.node.remove();
    page.plots.delete(metric);
  }
  if (page.chosen.size) {
    for (const metric of page.metrics) {
      if (!page.plots.has(metric)) page.plots.set(metric, new Plot(metric));
      const plot = page.plots.get(metric);
      if (plot.node.parentNode !== $("charts")) $("charts").append(plot.node);
      const timed = page.axis === "seconds";
      plot.show(seriesOf(metric), { axis: timed ? "training time" : "environment steps", writeX: timed ? lasting : short, timed, names: labels });
    }
  }
  showLegend(labels);
}

function showLegend(labels) {
  const seeds = new Map();
  for (const path of page.chosen) seeds.set(labelOf(path), (seeds.get(labelOf(path)) || 0) + 1);
  const entries = [...page.slots].map(([label, slot]) => [label, slot, `${labels.get(label)}${seeds.get(label) > 1 ? `  (${seeds.get(label)} seeds)` : ""}`]);
  const key = JSON.stringify(entries);
  if (page.legend === key) return;
  page.legend = key;
  if (!page.slots.has(page.focus)) page.focus = null;
  $("legend").replaceChildren(...entries.map(([label, slot, text]) => {
    const button = element("button", "", swatch(slot), text);
    button.title = `${label}: shows it in front`;
    button.setAttribute("aria-pressed", String(page.focus === label));
    const point = (on) => {
      page.pointed = on ? label : null;
      drawCharts();
    };
    button.addEventListener("click", () => {
      page.focus = page.focus === label ? null : label;
      for (const other of $("legend").children) other.setAttribute("aria-pressed", String(other === button && page.focus === label));
      drawCharts();
    });
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && point(true));
    button.addEventListener("pointerleave", () => page.pointed && point(false));
    return button;
  }));
}

// ---- a chart ------------------------------------------------------------------------------------------------------

const HEIGHT = 236, LEFT = 50, RIGHT = 14, TOP = 8, BOTTOM = 36;

function ticksOf(low, high, number, timed = false, whole = false) {
  const span = high - low || 1, rough = Math.max(span / Math.max(number, 1), whole ? 1 : 0), power = 10 ** Math.floor(Math.log10(rough));
  const steps = timed && rough > 10 ? [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800] : [1, 2, 2.5, 5, 10].map((x) => x * power);
  const step = steps.find((x) => x >= rough * 0.999) || steps[steps.length - 1] * Math.ceil(rough / steps[steps.length - 1]);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) out.push(i * step);
  return out;
}

class Plot {
  constructor(title, height = HEIGHT) {
    this.height = height;
    this.canvas = element("canvas");
    this.over = element("canvas", "over");
    this.tip = element("div", "tip");
    this.tip.hidden = true;
    this.tip.setAttribute("role", "status");
    this.note = element("small");
    this.over.tabIndex = 0;
    this.over.setAttribute("role", "img");
    this.title = title;
    this.node = element("figure", "card", element("figcaption", "", title, this.note), element("div", "plot", this.canvas, this.over, this.tip));
    this.over.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.over.addEventListener("pointerdown", (event) => this.point(event.offsetX));
    this.over.addEventListener("pointerleave", () => this.point(null));
    this.over.addEventListener("blur", () => this.point(null));
    this.over.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.series && this.paint()).observe(this.canvas);
  }

  show(series, { axis = "", writeX = short, timed = false, whole = false, names = new Map(), lines = [], right = RIGHT } = {}) {
    Object.assign(this, { series, axis, writeX, timed, whole, names, lines, right });
    const told = series.filter((one) => one.told && one.curve[0].length);
    const latest = told.map((one) => `${names.get(one.label) || one.label} ${exact(one.curve[1].at(-1))}`);
    this.over.setAttribute("aria-label", `${this.title} over ${axis}. ${latest.slice(0, 12).join("; ") || "nothing yet"}. Arrow keys read values.`);
    put(this.note, told.length === 1 ? exact(told[0].curve[1].at(-1)) : "");
    this.paint();
  }

  range() {
    let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
    for (const { curve: [x, y], band } of this.series) {
      if (!x.length) continue;
      x0 = Math.min(x0, x[0]);
      x1 = Math.max(x1, x[x.length - 1]);
      for (let i = 0; i < y.length; i++) {
        y0 = Math.min(y0, y[i] - (band ? band[i] : 0));
        y1 = Math.max(y1, y[i] + (band ? band[i] : 0));
      }
    }
    for (const { y } of this.lines) {
      y0 = Math.min(y0, y);
      y1 = Math.max(y1, y);
    }
    if (x0 > x1) return null;
    if (x0 > 0 && x0 < 0.2 * x1) x0 = 0;
    if (x0 === x1) {
      x0 -= 0.5;
      x1 += 0.5;
    }
    const edge = (y1 - y0) * 0.06 || Math.abs(y0) * 0.1 || 0.5;
    // Shares keep 0 and 1 as their edges, and what begins at 0 begins there.
    const low = y0 >= 0 && y0 - edge < 0 ? 0 : y0 - edge, high = y1 <= 1 && y1 > 0.9 && y0 >= 0 ? 1.03 : y1 + edge;
    return { x0, x1, y0: low, y1: high };
  }

  paint() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const { height } = this, ratio = devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const c = this.canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.font = "11.5px system-ui, sans-serif";
    const ink = css("--ink"), dim = css("--dim"), line = css("--line");
    this.box = this.range();
    if (!this.box) {
      c.fillStyle = dim;
      c.textAlign = "center";
      c.fillText("nothing yet", width / 2, height / 2);
      return;
    }
    const { x0, x1, y0, y1 } = this.box, wide = width - LEFT - this.right, tall = height - TOP - BOTTOM;
    this.xOf = (x) => LEFT + ((x - x0) / (x1 - x0)) * wide;
    this.yOf = (y) => TOP + (1 - (y - y0) / (y1 - y0)) * tall;
    this.xAt = (place) => x0 + ((place - LEFT) / wide) * (x1 - x0);
    c.lineWidth = 1;
    c.textBaseline = "middle";
    c.textAlign = "right";
    for (const y of ticksOf(y0, y1, tall / 36)) {
      c.strokeStyle = line;
      c.beginPath();
      c.moveTo(LEFT, Math.round(this.yOf(y)) + 0.5);
      c.lineTo(width - this.right, Math.round(this.yOf(y)) + 0.5);
      c.stroke();
      c.fillStyle = dim;
      c.fillText(y && Math.abs(y) < 1e-3 ? y.toExponential(0) : short(Number(y.toPrecision(6))), LEFT - 7, this.yOf(y));
    }
    c.textBaseline = "top";
    c.textAlign = "center";
    for (const x of ticksOf(x0, x1, wide / 76, this.timed, this.whole)) {
      c.fillStyle = dim;
      const text = x ? this.writeX(x) : "0";
      c.fillText(text, clamp(this.xOf(x), LEFT, width - c.measureText(text).width / 2 - 1), height - BOTTOM + 6);
      c.fillStyle = line;
      c.fillRect(Math.round(this.xOf(x)), height - BOTTOM, 1, 4);
    }
    c.fillStyle = dim;
    c.fillText(this.axis, LEFT + wide / 2, height - 14);
    this.paintLines(c, width, ink);
    c.save();
    c.beginPath();
    c.rect(LEFT - 5, 0, wide + 10, height - BOTTOM + 1);
    c.clip();
    const front = page.pointed || page.focus;
    const sorted = this.series.map((one) => [one, front && one.label === front ? 1 : 0]).sort((a, b) => a[1] - b[1]);
    for (const [one, ahead] of sorted) this.paintCurve(c, one, front && !ahead && this.series.some((other) => other.label === front) ? 0.18 : 1);
    c.restore();
    this.paintCursor();
  }

  /** Lines across, their names on the right, moved apart where they would overlap. */
  paintLines(c, width, ink) {
    const places = this.lines.map((one) => ({ ...one, at: this.yOf(one.y) })).sort((a, b) => a.at - b.at);
    let last = -Infinity;
    for (const place of places) last = place.text = Math.max(place.at, last + 14);
    const over = last - (this.height - BOTTOM);
    if (over > 0) for (const place of places) place.text -= over;
    c.textAlign = "left";
    c.textBaseline = "middle";
    for (const { label, y, at, text } of places) {
      c.strokeStyle = ink;
      c.globalAlpha = 0.55;
      c.setLineDash([5, 4]);
      c.beginPath();
      c.moveTo(LEFT, at);
      c.lineTo(width - this.right, at);
      c.stroke();
      c.setLineDash([]);
      c.beginPath();
      c.moveTo(width - this.right, at);
      c.lineTo(width - this.right + 6, text);
      c.stroke();
      c.globalAlpha = 1;
      c.fillStyle = ink;
      c.fillText(`${label} ${short(Math.round(y * 10) / 10)}`, width - this.right + 9, text, this.right - 10);
    }
  }

  paintCurve(c, { colour, dash = [], width, alpha, curve: [x, y], band, dots }, share) {
    if (!x.length) return;
    c.strokeStyle = c.fillStyle = colour;
    if (band && x.length > 1 && !dots) {
      c.globalAlpha = 0.18 * share;
      c.beginPath();
      for (let i = 0; i < x.length; i++) c.lineTo(this.xOf(x[i]), this.yOf(y[i] + band[i]));
      for (let i = x.length - 1; i >= 0; i--) c.lineTo(this.xOf(x[i]), this.yOf(y[i] - band[i]));
      c.fill();
    }
    c.globalAlpha = alpha * share;
    c.lineWidth = width;
    c.lineJoin = "round";
    c.setLineDash(dash);
    c.beginPath();
    if (!dots) for (let i = 0; i < x.length; i++) c.lineTo(this.xOf(x[i]), this.yOf(y[i]));
    c.stroke();
    c.setLineDash([]);
    for (let i = 0; i < x.length && (dots || band || x.length === 1); i++) {
      c.beginPath();
      c.arc(this.xOf(x[i]), this.yOf(y[i]), 3.5, 0, 7);
      c.fill();
      if (!band) continue;
      c.lineWidth = 1.2;
      c.beginPath();
      c.moveTo(this.xOf(x[i]), this.yOf(y[i] - band[i]));
      c.lineTo(this.xOf(x[i]), this.yOf(y[i] + band[i]));
      c.stroke();
    }
    c.globalAlpha = 1;
  }

  point(place) {
    page.cursor = place === null || !this.box ? null : clamp(this.xAt(place), this.box.x0, this.box.x1);
    page.reader = page.cursor === null ? null : this;
    for (const plot of this.peers || [...page.plots.values()]) plot.paintCursor();
  }

  key(event) {
    const { box } = this, moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    if (!box) return;
    if (event.key === "Escape") this.point(null);
    else if (event.key === "Home") this.point(this.xOf(box.x0));
    else if (event.key === "End") this.point(this.xOf(box.x1));
    else if (event.key in moves) {
      const step = (box.x1 - box.x0) / 50;
      this.point(this.xOf(page.cursor === null ? box.x1 : clamp(page.cursor + moves[event.key] * step, box.x0, box.x1)));
    } else return;
    event.preventDefault();
  }

  /** The line under the pointer, in all charts at once, and in one of them what the curves say there. */
  paintCursor() {
    const ratio = devicePixelRatio || 1, c = this.over.getContext("2d"), at = page.cursor;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.over.width, this.over.height);
    const mine = page.reader === this;
    this.tip.hidden = !mine || !this.box;
    if (at === null || !this.box || at < this.box.x0 || at > this.box.x1) {
      this.tip.hidden = true;
      return;
    }
    c.strokeStyle = css("--dim");
    c.lineWidth = 1;
    c.beginPath();
    c.moveTo(Math.round(this.xOf(at)) + 0.5, TOP);
    c.lineTo(Math.round(this.xOf(at)) + 0.5, this.height - BOTTOM);
    c.stroke();
    const told = [];
    for (const one of this.series) {
      if (!one.told) continue;
      const [x, y] = one.curve;
      let value = valueAt(x, y, at), where = at, spread = null;
      if (one.dots || one.band) {
        const i = nearest(x, at);
        if (i < 0) continue;
        [where, value, spread] = [x[i], y[i], one.band ? one.band[i] : null];
      }
      if (value === null) continue;
      told.push({ one, value, spread });
      c.fillStyle = one.colour;
      c.beginPath();
      c.arc(this.xOf(where), this.yOf(value), 4, 0, 7);
      c.fill();
    }
    if (!mine) return;
    told.sort((a, b) => b.value - a.value);
    const rows = told.slice(0, 12).map(({ one, value, spread }) => {
      const mark = swatch(one.slot);
      if (one.slot === undefined) mark.firstChild.style.stroke = one.colour;
      const text = spread === null ? exact(value) : `${exact(value)} ± ${exact(spread)}`;
      return element("div", "", mark, element("span", "", this.names.get(one.label) || one.label), element("em", "", text));
    });
    if (told.length > 12) rows.push(element("div", "dim", `and ${told.length - 12} more`));
    this.tip.replaceChildren(element("b", "", `${this.writeX === short ? exact(at) : this.writeX(at)} ${this.timed ? "" : this.axis}`), ...rows);
    const left = this.xOf(at), width = this.over.clientWidth;
    this.tip.style.left = left < width / 2 ? `${left + 12}px` : "auto";
    this.tip.style.right = left < width / 2 ? "auto" : `${width - left + 12}px`;
  }
}

function nearest(x, at) {
  const i = before(x, at);
  if (i < 0) return x.length ? 0 : -1;
  return i + 1 < x.length && x[i + 1] - at < at - x[i] ? i + 1 : i;
}

// ---- tables -------------------------------------------------------------------------------------------------------

function tableOf({ head, right, rows }, kind = "wide", caption = "") {
  const number = rows[0] ? rows[0].map((_, i) => rows.filter((row) => /^[-+–\d]|^$/.test(String(row[i] ?? ""))).length * 2 >= rows.length) : [];
  const cells = (row, tag) => row.map((text, i) => element(tag, right[i] && number[i] !== false ? "right" : "", String(text)));
  const table = element("table", kind, element("thead", "", element("tr", "", ...cells(head, "th"))));
  table.append(element("tbody", "", ...rows.map((row) => element("tr", "", ...cells(row, "td")))));
  const box = element("div", "scroll", table);
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", caption || "table");
  return box;
}

function heatOf({ columns, rows, values }) {
  const most = Math.max(1e-9, ...values.flat().map((x) => Math.abs(x ?? 0)));
  const table = element("table", "heat");
  table.append(element("thead", "", element("tr", "", element("th", "", "row against column"), ...columns.map((name) => element("th", "", name)))));
  const body = element("tbody");
  rows.forEach((name, i) => {
    const head = element("th", "", name);
    head.title = name;
    body.append(element("tr", "", head, ...values[i].map((value) => {
      const cell = element("td", "", value === null ? "" : signed(value));
      if (value === null) return cell;
      // Blue for lost, orange for won, paler towards a draw; the sign says it too.
      const share = Math.sqrt(Math.abs(value) / most), end = value < 0 ? [0, 90, 150] : [230, 140, 0];
      const rgb = end.map((x) => Math.round(245 + (x - 245) * share));
      cell.style.backgroundColor = `rgb(${rgb.join(", ")})`;
      cell.style.color = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2] > 130 ? "#141a24" : "#ffffff";
      return cell;
    })));
  });
  table.append(body);
  const box = element("div", "scroll", table);
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Mean goal difference of the row against the column");
  return box;
}

const problems = (list) => list.map((text) => element("p", "error", text));

// ---- views --------------------------------------------------------------------------------------------------------

function showTabs() {
  const { overview } = page, box = $("tabs");
  const numbers = { curves: overview.runs.length };
  for (const view of VIEWS.slice(1)) numbers[view] = overview[view].length;
  numbers.replays = overview.replays.reduce((sum, folder) => sum + folder.number, 0);
  if (!box.children.length) {
    for (const view of VIEWS) {
      const link = element("a", "", `${LABELS[view]} `, element("span"));
      link.href = `#${view}`;
      box.append(link);
    }
  }
  VIEWS.forEach((view, i) => {
    put(box.children[i].lastChild, String(numbers[view]));
    if (view === page.view) box.children[i].setAttribute("aria-current", "page");
    else box.children[i].removeAttribute("aria-current");
  });
}

function readHash() {
  const [view, ...rest] = location.hash.slice(1).split(":");
  page.view = VIEWS.includes(view) ? view : "curves";
  try {
    if (rest.length) page.place[page.view] = decodeURIComponent(rest.join(":"));
  } catch { /* a link that was cut off */ }
  for (const name of VIEWS) $(`view-${name}`).hidden = name !== page.view;
}

const linkTo = (view, path) => `#${view}:${encodeURIComponent(path)}`;

/** Shows the chosen place of a view; asks for it only where it is another one or has changed. */
async function showView() {
  const { view, overview } = page;
  if (view === "curves") return;
  const places = [...overview[view]].sort((a, b) => order.compare(a.path, b.path)), box = $(`view-${view}`);
  if (!places.length) {
    page.shown[view] = null;
    box.replaceChildren(element("div", "card empty", NOTHING[view]));
    return;
  }
  const place = places.find(({ path }) => path === page.place[view]) || places[0];
  const key = JSON.stringify([place, places.map(({ path }) => path)]);
  if (page.shown[view] === key) return;
  const name = { leagues: "league", tournaments: "tournament" }[view] || view;
  const answer = await ask(name, { path: place.path });
  page.shown[view] = key;
  const select = element("select", "", ...places.map(({ path }) => {
    const option = element("option", "", path || "(the folder itself)");
    option.value = path;
    option.selected = path === place.path;
    return option;
  }));
  select.setAttribute("aria-label", LABELS[view]);
  select.addEventListener("change", () => (location.hash = linkTo(view, select.value)));
  const head = element("div", "which", places.length > 1 ? select : element("h2", "", place.path || nameOf(overview.root)));
  const had = box.contains(document.activeElement) && document.activeElement.tagName === "SELECT";
  box.replaceChildren(head, ...SHOW[name](answer, place.path));
  if (had) select.focus();
  box.dispatchEvent(new Event("shown"));
}

const NOTHING = {
  leagues: "No league here. `touchline league` writes one.",
  tournaments: "No tournament here. `touchline tournament` writes one.",
  tables: "No table here. `touchline benchmark` and `touchline tune` write them.",
  replays: "No replays here. `touchline evaluate RUN --replays 3` keeps traces, and so does every tournament.",
};

const SHOW = {
  league(answer, path) {
    const plot = new Plot("rating on joining, mu ± sigma", 320), rest = [];
    plot.peers = [plot];
    const learners = [[css("--c0"), "past selves", (row) => !row.member.startsWith("exploiter")], [css("--c1"), "exploiters", (row) => row.member.startsWith("exploiter")]];
    const series = [];
    for (const [colour, label, mine] of learners) {
      const rows = answer.rows.filter((row) => mine(row) && [row.generation, row.mu, row.sigma].every((x) => x !== null));
      if (!rows.length) continue;
      const curve = [rows.map((row) => row.generation), rows.map((row) => row.mu)];
      series.push({ colour, label, curve, band: rows.map((row) => row.sigma), width: 2.5, alpha: 1, told: true, dots: label === "exploiters", dash: [] });
    }
    const lines = Object.entries(answer.anchors).filter(([, y]) => y !== null).map(([label, y]) => ({ label, y }));
    requestAnimationFrame(() => plot.show(series, { axis: "generation", lines, right: lines.length ? 128 : RIGHT, whole: true, writeX: (x) => String(Math.round(x * 10) / 10) }));
    page.league = plot;
    const chart = element("div", "", plot.node);
    rest.push(...answer.tables.map((table) => element("div", "card pad", element("h3", "", `Ratings after the last generation${answer.scenario ? `, ${answer.scenario}` : ""}`), tableOf(table, "wide", "ratings after the last generation"))));
    if (answer.rows.length) {
      const table = {
        head: answer.columns.map((name) => name.replaceAll("_", " ")), right: answer.columns.map((name) => name !== "member"),
        rows: answer.rows.map((row) => answer.columns.map((name) => (name === "member" ? row[name] : name === "env_steps" ? short(row[name]) : row[name] === null ? "" : exact(row[name])))),
      };
      rest.push(element("div", "card pad", element("h3", "", "Every member on joining"), tableOf(table, "wide", "members on joining")));
    }
    return [...problems(answer.errors), chart, element("div", "beside", ...rest)];
  },

  tournament(answer) {
    const out = problems(answer.errors);
    if (answer.title) out.push(element("p", "dim", `${answer.title}${answer.games ? `; ${answer.games} games played` : ""}`));
    if (!answer.tables.length && !answer.cross) out.push(element("div", "card empty", answer.games ? `${answer.games} games played; the table is written at the end.` : "Nothing has been played yet."));
    out.push(...answer.tables.map((table) => element("div", "card pad", element("h3", "", "Table"), tableOf(table, "wide", "table"))));
    if (answer.cross) out.push(element("div", "card pad", element("h3", "", "Mean goal difference a game, row against column"), heatOf(answer.cross)));
    return out;
  },

  tables(answer) {
    return [...problems(answer.errors), ...answer.tables.map((table) => element("div", "card pad", element("h3", "", answer.title || "Table"), tableOf(table, "wide", "table")))];
  },

  replays(answer, path) {
    const list = element("ul", "files", ...answer.files.map((file) => {
      const link = element("a", `card ${file.error ? "broken" : ""}`);
      const kind = file.name.endsWith(".npz") ? "trace" : file.name.endsWith(".mp4") ? "video" : "page";
      link.href = `/open/${[...(path ? path.split("/") : []), ...file.name.split("/")].map(encodeURIComponent).join("/")}`;
      link.target = "_blank";
      link.rel = "noopener";
      const title = file.policies ? `${file.policies[0] || "left"} v ${file.policies[1] || "right"}` : nameOf(file.name);
      const about = [kind, size(file.bytes), new Date(1000 * file.changed).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })];
      if (file.scenario) about.unshift(file.scenario, `episode ${file.episode}`, `seed ${file.seed}`);
      if (file.error) about.unshift("no replay, or damaged");
      const name = element("b", "", title);
      link.title = file.error || file.name;
      link.append(element("i", "", file.error ? "!" : "▶"), name, element("small", "", about.join(" · ")));
      return element("li", "", link);
    }));
    return [list, ...(answer.more ? [element("p", "dim", `and ${answer.more} older ones`)] : [])];
  },
};

// ---- details of a run ---------------------------------------------------------------------------------------------

async function showDetails(path) {
  const run = page.overview.runs.find((one) => one.path === path), box = $("details");
  const close = element("button", "button", "Close");
  close.addEventListener("click", () => box.close());
  const head = element("h2", "", path || nameOf(page.overview.root));
  head.id = "details-name";
  const body = element("div", "pad", "reading …");
  box.replaceChildren(element("div", "bar-top", head, close), body);
  box.showModal();
  let answer;
  try {
    answer = await ask("run", { path });
  } catch (error) {
    body.replaceChildren(element("p", "error", error.message));
    return;
  }
  const facts = [
    ["state", run.state], ["scenario", run.scenario], ["agent", run.agent], ["env steps", exact(run.env_steps)], ["of", run.total_steps ? exact(run.total_steps) : "–"],
    ["env steps/s", exact(run.env_steps_per_second)], ["left", run.eta_seconds === null || run.eta_seconds === undefined ? "–" : lasting(run.eta_seconds)], ["rows", exact(run.rows)],
    ["last row", run.quiet_seconds === null || run.quiet_seconds === undefined ? "–" : `${lasting(run.quiet_seconds)} ago`],
  ];
  const list = element("dl", "", ...facts.filter(([, text]) => text).map(([name, text]) => element("div", "", element("dt", "", name), element("dd", "", text))));
  const out = [...problems([...new Set([...(run.errors || []), ...answer.errors])]), list];
  if (answer.evaluation.length) {
    const names = [...new Set(answer.evaluation.flatMap((result) => Object.keys(result.metrics)))];
    const write = (name, { value, low, high }) => {
      const show = name.endsWith("_rate") ? percent : exact;
      return value === null ? "–" : `${show(value)}${low === null ? "" : ` [${show(low)}, ${show(high)}]`}`;
    };
    const rows = answer.evaluation.map((result) => [`${result.policy} against ${result.opponent}`, result.episodes, ...names.map((name) => (result.metrics[name] ? write(name, result.metrics[name]) : ""))]);
    const table = { head: ["frozen policy", "episodes", ...names.map((name) => name.replace(/^.*\//, "").replaceAll("_", " "))], right: [false, ...names.map(() => true), true], rows };
    out.push(element("h3", "", "Evaluation on held-out seeds, with 95% intervals"), tableOf(table, "wide", "evaluation"));
  }
  const kept = page.overview.replays.find((folder) => folder.path === path);
  if (kept) {
    const link = element("a", "", `${kept.number} ${kept.number === 1 ? "replay" : "replays"} of this run`);
    link.href = linkTo("replays", path);
    link.addEventListener("click", () => box.close());
    out.push(element("div", "", link));
  }
  if (answer.config) out.push(element("h3", "", "config.json"), element("pre", "", answer.config));
  body.replaceChildren(...out);
}

// ---- what the reader does -----------------------------------------------------------------------------------------

$("filter").addEventListener("input", () => page.overview && showRuns());
$("find").addEventListener("input", filterMetrics);
$("choose").addEventListener("click", () => {
  for (const run of page.overview.runs) if (isShown(run)) choose(run.path, true);
  changed();
});
$("clear").addEventListener("click", () => {
  for (const path of [...page.chosen]) choose(path, false);
  changed();
});
$("axis").addEventListener("change", () => {
  page.axis = $("axis").value;
  remember();
  drawCharts();
});
$("smooth").addEventListener("input", () => {
  page.smooth = Number($("smooth").value);
  put($("smoothed"), page.smooth ? String(page.smooth) : "off");
  remember();
  drawCharts();
});
$("group").addEventListener("change", () => {
  page.group = $("group").checked;
  remember();
  showRuns();
  drawCharts();
});
$("picker").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  $("picker").open = false;
  $("picker").querySelector("summary").focus();
});
document.addEventListener("pointerdown", (event) => {
  if (!$("picker").contains(event.target)) $("picker").open = false;
});
$("details").addEventListener("click", (event) => event.target === $("details") && $("details").close());
addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  readHash();
  showTabs();
  document.querySelector("#tabs [aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
  tick();
});
document.addEventListener("visibilitychange", () => !document.hidden && tick());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  page.shown = {};
  drawCharts();
  tick();
});

readHash();
window.dashboard = { page, errors, tick, ready: tick() };
