"use strict";
(() => {
document.documentElement.classList.add("js");
const started = performance.now();
const data = JSON.parse(document.getElementById("data").textContent);
const steps = data.n, step = data.step / 1e9, end = steps * step;
const get = id => document.getElementById(id);

// Sums at the ends of the steps: whole numbers below 2^53, so that differences are exact.
function sums(list) {
  const out = new Float64Array(steps + 1);
  for (let i = 0, sum = 0; i < steps; i++) out[i + 1] = sum += list[i];
  return out;
}
// lazy has what is made when it is first asked for.
function lazy(makers) {
  const out = {};
  for (const [name, make] of Object.entries(makers))
    Object.defineProperty(out, name, { configurable: true, get() { const value = make(); Object.defineProperty(out, name, { value }); return value; } });
  return out;
}
function spans(pairs, length) {
  const out = new Uint8Array(length);
  for (let i = 0; i < pairs.length; i += 2) out.fill(1, pairs[i], pairs[i + 1] + 1);
  return out;
}
// lost is by how much readings do not cover the time up to each end of a step. They cover
// most steps as a whole: between the others the sum stays.
function lost(inside, cov) {
  const out = new Float64Array(steps + 1), at = [];
  for (let i = inside.indexOf(0); i >= 0; i = inside.indexOf(0, i + 1)) at.push(i - 1, i);
  for (const i in cov) at.push(+i);
  let sum = 0, from = 0;
  for (const i of new Set(at.filter(i => i >= 0 && i < steps).sort((a, b) => a - b))) {
    out.fill(sum, from, i + 1);
    from = i + 1;
    sum += data.step - (i in cov ? cov[i] : 0);
  }
  return out.fill(sum, from);
}
const devices = data.devices.map(d => {
  const out = { name: d.name, model: d.model, gpu: d.scope === "gpu" || d.scope === "", doubt: d.doubt, lo: d.lo, hi: d.hi, f: d.f, thr: d.thr || {} };
  if (d.e) {
    out.energy = sums(d.e);
    out.inside = spans(d.in, steps + 1);
    out.lost = lost(out.inside, d.cov);
  }
  if (d.lim) {
    out.limit = new Float64Array(steps).fill(NaN);
    for (let k = 0; k < d.lim.length; k += 2)
      out.limit.fill(d.lim[k + 1] === null ? NaN : d.lim[k + 1], d.lim[k], k + 2 < d.lim.length ? d.lim[k + 2] : steps);
  }
  return out;
});
const gpus = devices.filter(d => d.gpu), measured = gpus.filter(d => d.energy);
const log = data.out ? lazy({ out: () => sums(data.out), busy: () => sums(data.busy), sent: () => sums(data.sent), unknown: () => sums(spans(data.unk, steps)) }) : null;

// most is how much of an interval may be missing, as in reports.
const most = 0.01;
function joules(d, i, j) {
  if (!d.energy || !d.inside[i] || !d.inside[j]) return null;
  const whole = (j - i) * data.step, missing = d.lost[j] - d.lost[i];
  return missing > most * whole ? null : (d.energy[j] - d.energy[i]) / 1e6;
}

// interval is what a report says of the window between two ends of steps.
function interval(i, j) {
  const seconds = (j - i) * step, out = { i, j, seconds, parts: [], joules: 0, seen: 0 };
  for (const d of gpus) {
    const e = joules(d, i, j);
    out.parts.push([d, e]);
    if (e !== null) { out.seen++; out.joules += e; }
  }
  out.systematic = systematic(out.parts, seconds);
  if (log) {
    out.tokens = log.unknown[j] > log.unknown[i] ? null : (log.out[j] - log.out[i]) / 1e6;
    out.busy = (log.busy[j] - log.busy[i]) / 1000 / (j - i);
    out.sent = log.sent[j] - log.sent[i];
  }
  return out;
}

// systematic is the standard uncertainty that is the sensors', as reports have it.
function systematic(parts, seconds) {
  const groups = new Map();
  let squares = 0, assumed = 0;
  const group = key => groups.get(key) || groups.set(key, { gain: 0, zero: 0 }).get(key);
  for (const [d, e] of parts) {
    if (e === null || !d.doubt) continue;
    const q = d.doubt, zero = (q.zero_watts || 0) * seconds, unit = (q.unit_gain || 0) * e;
    squares += unit * unit;
    if (q.calibrated === "device") { squares += zero * zero; continue; }
    const g = group((q.calibrated || "assumed") + " " + d.model);
    g.gain += (q.model_gain || 0) * e;
    if (q.calibrated) g.zero += zero; else assumed += zero;
  }
  for (const g of groups.values()) squares += g.gain * g.gain + g.zero * g.zero;
  return Math.sqrt(squares + assumed * assumed);
}

// --- how things are written ---
const unknown = "–";
function figure(v, digits = 4) {
  if (v === null || v === undefined || !isFinite(v)) return unknown;
  if (v === 0) return "0";
  return Math.abs(v) >= 10 ** digits ? v.toFixed(0) : Number(v.toPrecision(digits)).toString();
}
function clock(s) {
  if (end < 120) return figure(s, 6) + " s";
  const sign = s < 0 ? "-" : "", abs = Math.abs(s), h = Math.floor(abs / 3600), m = Math.floor(abs / 60) % 60, rest = abs % 60;
  const r = Number(rest.toFixed(3)).toString(), two = n => (n < 10 ? "0" : "") + n;
  return sign + (h ? h + ":" + two(m) : m) + ":" + two(r);
}
// instant writes the end of a step as RFC 3339 with nine digits; "" without a wall clock.
function instant(i) {
  if (!data.unix) return "";
  const nanos = BigInt(data.unix) + BigInt(i) * BigInt(data.step), second = nanos / 1000000000n;
  return new Date(Number(second) * 1000).toISOString().slice(0, 19) + "." + String(nanos % 1000000000n).padStart(9, "0") + "Z";
}
const colour = {};
function readColours() {
  const style = getComputedStyle(document.documentElement), css = name => style.getPropertyValue(name).trim();
  for (const name of ["text", "muted", "grid", "phase", "quiet", "select", "prefill", "decode", "failed", "cancelled", "whole"]) colour[name] = css("--" + name);
}
readColours();
const dark = matchMedia("(prefers-color-scheme: dark)");
const palettes = [["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#9a7d0a", "#808080"], ["#4aa3df", "#f0813a", "#2bc48f", "#e096c1", "#8fd0f5", "#f3b63f", "#c9b037", "#a8a8a8"]];
const paint = (i, alpha = "") => () => palettes[dark.matches ? 1 : 0][i % 8] + alpha;

// --- range and selection ---
let range = [0, end], selection = null;
const charts = [], planned = new Map(); // what is drawn; boxes of what is yet to be
const timeline = get("timeline");
let width = timeline.clientWidth;
const room = () => Math.max(240, width);

// binned parts what is seen into so many bins that follow the steps.
function binned(least, most) {
  const seen = Math.max(1, Math.ceil((range[1] - range[0]) / step));
  let k = Math.max(1, Math.ceil(seen / most), Math.round(least / step));
  const nice = [1, 2, 5];
  for (let s = 1, done = false; !done; s *= 10) for (const n of nice) if (n * s >= k) { k = n * s; done = true; break; }
  const out = [];
  for (let i = Math.max(0, Math.floor(range[0] / step / k) * k); i < steps && i * step <= range[1]; i += k) out.push([i, Math.min(i + k, steps)]);
  return { k, bins: out };
}
const x = bins => { const xs = bins.map(b => b[0] * step); if (bins.length) xs.push(bins[bins.length - 1][1] * step); return xs; };
const last = list => { if (list.length) list.push(list[list.length - 1]); return list; };
// added adds over devices what each has of each bin; where one has nothing, there is no sum.
function added(list, bins, of) {
  const out = new Array(bins.length).fill(list.length ? 0 : null);
  for (const d of list) of(d, out);
  return out;
}
const watts = bins => added(measured, bins, ({ energy, inside, lost }, out) => {
  for (let b = 0; b < bins.length; b++) {
    const i = bins[b][0], j = bins[b][1], whole = (j - i) * data.step;
    if (out[b] !== null) out[b] = inside[i] && inside[j] && lost[j] - lost[i] <= most * whole ? out[b] + (energy[j] - energy[i]) / 1e6 / ((j - i) * step) : null;
  }
});
const limits = bins => added(gpus, bins, ({ limit }, out) => {
  if (!limit) { out.fill(null); return; }
  for (let b = 0; b < bins.length; b++) {
    const w = limit[bins[b][1] - 1];
    if (out[b] !== null) out[b] = w >= 0 ? out[b] + w : null;
  }
});
const known = ([i, j]) => log.unknown[j] === log.unknown[i];
const tokens = b => known(b) ? (log.out[b[1]] - log.out[b[0]]) / 1e6 : null;

const stepped = uPlot.paths.stepped({ align: 1 });
const line = (label, stroke, unit, more) => Object.assign({ label, stroke, width: 1.5, points: { show: false }, value: (u, v) => figure(v) + (v === null || v === undefined ? "" : " " + unit) }, more);

function shade(u) {
  const c = u.ctx, { left, top, width, height } = u.bbox, at = v => u.valToPos(v, "x", true), dpr = devicePixelRatio;
  c.save();
  c.beginPath(); c.rect(left, top, width, height); c.clip();
  for (const ph of data.phases) {
    const a = Math.max(at(ph.a), left - 2), b = Math.min(at(ph.b), left + width + 2);
    if (b < left || a > left + width) continue;
    if (ph.k !== "window") {
      c.fillStyle = ph.k === "measure" || ph.k === "recording" ? colour.phase : colour.quiet;
      c.fillRect(a, top, Math.max(1, b - a), height);
    }
    c.strokeStyle = colour.grid; c.lineWidth = dpr; c.beginPath(); c.moveTo(a, top); c.lineTo(a, top + height); c.stroke();
  }
  c.restore();
}
// names of phases stand above the first chart.
function names(u) {
  const c = u.ctx, { left, top, width } = u.bbox, dpr = devicePixelRatio;
  c.save();
  c.font = 11 * dpr + "px sans-serif"; c.fillStyle = colour.muted; c.textBaseline = "bottom"; c.textAlign = "left";
  let until = left;
  for (const ph of data.phases) {
    if (ph.k === "window") continue;
    const a = Math.max(u.valToPos(ph.a, "x", true), left), b = Math.min(u.valToPos(ph.b, "x", true), left + width), room = b - a - 4 * dpr;
    let name = ph.n;
    while (name.length > 2 && c.measureText(name).width > room) name = name.slice(0, name.endsWith("…") ? -2 : -1) + "…";
    if (b > left && a < left + width && a >= until && c.measureText(name).width <= room) { c.fillText(name, a + 2 * dpr, top - 2 * dpr); until = a + c.measureText(name).width; }
  }
  c.restore();
}
function chosen(u) {
  if (!selection) return;
  const c = u.ctx, { left, top, width, height } = u.bbox;
  const a = Math.max(u.valToPos(selection[0] * step, "x", true), left), b = Math.min(u.valToPos(selection[1] * step, "x", true), left + width);
  if (b <= a) return;
  c.save(); c.fillStyle = colour.select; c.fillRect(a, top, b - a, height); c.restore();
}
function held(u) { // marks of clocks that were held down, along the top
  const c = u.ctx, { left, top, width } = u.bbox;
  c.save(); c.beginPath(); c.rect(left, top, width, 6 * devicePixelRatio); c.clip(); c.fillStyle = colour.failed;
  for (const d of gpus) for (const i in d.thr) {
    const a = u.valToPos(i * step, "x", true), b = u.valToPos((+i + 1) * step, "x", true);
    if (b >= left && a <= left + width) c.fillRect(a, top, Math.max(devicePixelRatio, b - a), 4 * devicePixelRatio);
  }
  c.restore();
}

// Ticks of time: what divides minutes and hours.
const incrs = [];
for (let s = .001; s < .9; s *= 10) incrs.push(s, 2 * s, 5 * s);
incrs.push(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200);
for (let d = 86400; d < 1e9; d *= 2) incrs.push(d);

// chart draws when it is seen: its box takes the room until then.
function chart(id, height, series, fill, more = {}) {
  const box = get(id);
  if (!box) return;
  box.style.minHeight = height + (more.bare ? 0 : 24) + "px";
  planned.set(box, () => make(box, height, series(), fill, more));
}
function make(box, height, series, fill, more) {
  const axis = { stroke: () => colour.muted, grid: { stroke: () => colour.grid, width: 1 }, ticks: { stroke: () => colour.grid, width: 1 }, font: "11px sans-serif" };
  const opts = {
    width: room(), height, padding: [more.names ? 16 : 8, 22, 0, 0],
    cursor: { sync: { key: "t" }, drag: { x: true, y: false, setScale: false, dist: 3 }, y: false, points: { size: 5 }, bind: { dblclick: () => () => { reset(); return null; } } },
    select: { show: true }, legend: { show: !more.bare },
    scales: { x: { time: false, range: () => range }, y: { range: more.range || ((u, lo, hi) => [0, hi > 0 ? hi * 1.06 : 1]) } },
    axes: [Object.assign({}, axis, { size: 28, space: 60, incrs, values: (u, vs) => vs.map(v => v === null ? "" : clock(v)) }),
      Object.assign({}, axis, { size: 50, space: 28, values: (u, vs) => vs.map(v => figure(v)) }, more.axis)],
    series: [{ label: "time", value: (u, v) => v === null || v === undefined ? unknown : clock(v) }].concat(series),
    hooks: {
      drawClear: [shade, chosen], draw: (more.draw || []).concat(more.names ? [names] : []),
      setSelect: [u => {
        const { left, width } = u.select;
        if (width < 1) return;
        const a = u.posToVal(left, "x"), b = u.posToVal(left + width, "x");
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        select(Math.round(a / step), Math.round(b / step));
      }],
    },
  };
  const c = { u: new uPlot(opts, fill(), box), box, fill, fixed: more.fixed, height };
  charts.push(c);
  touch(c);
}

function note(id, k, of = "means of ") { const n = get(id); if (n) n.textContent = of + figure(k * step) + " s"; }

// Power in total: means over bins, which follow from E(t).
if (measured.length) chart("power", 190, () => [line("power", paint(0), "W", { paths: stepped, fill: paint(0, "22") }), line("limit", paint(1), "W", { paths: stepped, dash: [6, 4], width: 1 })], () => {
  const { k, bins } = binned(0.2, 800); // counters are updated every 100 ms or so
  note("power-note", k);
  return [x(bins), last(watts(bins)), last(limits(bins))];
}, { names: true, draw: [held] });

// Power by device: the least and the most of the readings in each bin, in the order of time.
const gauged = devices.filter(d => d.lo);
if (gauged.length) chart("devices", 190, () => gauged.map((d, i) => line(d.name, paint(i, gauged.length > 2 ? "c0" : ""), "W", { width: 1, dash: i % 16 < 8 ? undefined : [4, 2] })), () => {
  const { k, bins } = binned(step, 2000), n = bins.length, xs = new Array(2 * n), all = [xs];
  note("devices-note", k, "least and highest reading of every ");
  for (let b = 0; b < n; b++) { const [i, j] = bins[b]; xs[2 * b] = (.75 * i + .25 * j) * step; xs[2 * b + 1] = (.25 * i + .75 * j) * step; }
  for (const d of gauged) {
    const ys = new Array(2 * n);
    for (let b = 0; b < n; b++) {
      const from = bins[b][0], to = bins[b][1];
      let lo = null, hi = null, low = -1, high = -1;
      for (let i = from; i < to; i++) {
        if (d.lo[i] === null) continue;
        if (lo === null || d.lo[i] < lo) { lo = d.lo[i]; low = i; }
        if (hi === null || d.hi[i] > hi) { hi = d.hi[i]; high = i; }
      }
      if (lo === null) {
        // Between two readings nothing is missing (undefined), as long as the energy is known.
        ys[2 * b] = ys[2 * b + 1] = d.lost && d.lost[to] - d.lost[from] < (to - from) * data.step ? undefined : null;
        continue;
      }
      const falls = low === high ? d.f[low] === "1" : high < low;
      ys[2 * b] = (falls ? hi : lo) / 10; ys[2 * b + 1] = (falls ? lo : hi) / 10;
    }
    all.push(ys);
  }
  return all;
});

if (log) {
  chart("busy", 130, () => [line("in flight", paint(2), "", { paths: stepped, fill: paint(2, "22") })], () => {
    const { k, bins } = binned(0.05, 500);
    note("busy-note", k);
    return [x(bins), last(bins.map(([i, j]) => (log.busy[j] - log.busy[i]) / 1000 / (j - i)))];
  });
  chart("tokens", 140, () => [line("tokens/s", paint(0), "tokens/s", { paths: stepped })], () => {
    const { k, bins } = binned(0.2, 250);
    note("tokens-note", k);
    return [x(bins), last(bins.map(b => { const n = tokens(b); return n === null ? null : n / ((b[1] - b[0]) * step); }))];
  });
  if (measured.length && data.perToken) chart("perjoule", 140, () => [line("tokens/J", paint(1), "tokens/J", { paths: stepped })], () => {
    const { k, bins } = binned(0.5, 200);
    note("perjoule-note", k);
    const power = watts(bins);
    return [x(bins), last(bins.map((b, at) => { const n = tokens(b), w = power[at]; return n === null || !(w > 0) ? null : n / (w * (b[1] - b[0]) * step); }))];
  });
  lanes();
}

// lanes draws a bar for each request: until its first token, and from there to its end.
function lanes() {
  const r = data.req, n = r.s.length;
  if (!n) return;
  const sent = new Float64Array(n);
  for (let i = 0, at = 0; i < n; i++) sent[i] = (at += r.s[i]) / 1e4;
  const height = Math.min(420, Math.max(110, r.lanes * 7 + 40));
  const draw = u => {
    const c = u.ctx, { left, top, width, height } = u.bbox, each = height / r.lanes, thick = Math.max(1, each * .8);
    c.save(); c.beginPath(); c.rect(left, top, width, height); c.clip();
    const kinds = { prefill: [], decode: [], failed: [], cancelled: [], whole: [] };
    const scale = width / (range[1] - range[0]), at = v => left + (v - range[0]) * scale;
    for (let i = 0; i < n; i++) {
      const a = at(sent[i]), b = at(sent[i] + r.d[i] / 1e4);
      if (b < left || a > left + width) continue;
      const y = top + r.l[i] * each;
      if (r.o[i] === "f") kinds.failed.push(a, y, b); else if (r.o[i] === "c") kinds.cancelled.push(a, y, b);
      else if (r.p[i] < 0) kinds.whole.push(a, y, b);
      else { const m = at(sent[i] + r.p[i] / 1e4); kinds.prefill.push(a, y, m); kinds.decode.push(m, y, b); }
    }
    for (const [name, list] of Object.entries(kinds)) {
      c.fillStyle = colour[name];
      c.beginPath();
      for (let k = 0; k < list.length; k += 3) c.rect(list[k], list[k + 1], Math.max(.5, list[k + 2] - list[k]), thick);
      c.fill();
    }
    c.restore();
  };
  chart("lanes", height, () => [{ show: false, label: "" }], () => [[0, end], [null, null]],
    { bare: true, fixed: true, range: () => [0, r.lanes], draw: [draw], axis: { values: (u, vs) => vs.map(() => "") , grid: { show: false }, ticks: { show: false } } });
}

// --- zoom ---
function show(a, b) {
  const least = Math.min(end, 5 * step), width = Math.min(end, Math.max(least, b - a));
  a = Math.min(Math.max(0, (a + b - width) / 2), end - width);
  range = [a, a + width];
  redraw();
}
function redraw() {
  for (const c of charts) c.u.batch(() => { if (!c.fixed) c.u.setData(c.fill(), false); c.u.setScale("x", { min: range[0], max: range[1] }); c.u.redraw(true, true); });
  get("range").textContent = clock(range[0]) + " to " + clock(range[1]);
}
const middle = () => (range[0] + range[1]) / 2;
function zoom(by, around = middle()) { const w = (range[1] - range[0]) * by, left = around - (around - range[0]) * by; show(left, left + w); }
function pan(by) {
  const w = range[1] - range[0], a = Math.min(Math.max(0, range[0] + by * w), end - w);
  show(a, a + w);
}
function reset() { show(0, end); }

// --- the selected interval ---
function select(i, j) {
  if (i === null) selection = null;
  else {
    [i, j] = [Math.min(i, j), Math.max(i, j)];
    i = Math.min(Math.max(0, i), steps - 1);
    selection = [i, Math.min(Math.max(i + 1, j), steps)];
  }
  for (const c of charts) c.u.redraw(false, false);
  tell();
}
function row(table, cells, head) {
  const tr = table.insertRow();
  cells.forEach((text, i) => { const cell = document.createElement(head || i === 0 ? "th" : "td"); cell.textContent = text; if (i === 0 && !head) cell.scope = "row"; tr.append(cell); });
}
function tell() {
  const none = !selection, box = get("facts"), parts = get("parts");
  get("selected").hidden = none;
  get("hint").hidden = !none;
  get("brief").hidden = none;
  get("clear").disabled = get("zoomsel").disabled = none;
  box.replaceChildren(); parts.replaceChildren();
  if (none) { get("from").value = get("to").value = ""; get("phase").value = ""; return; }
  const s = interval(...selection), of = gpus.length;
  get("from").value = figure(s.i * step, 9); get("to").value = figure(s.j * step, 9);
  const fact = (name, value, id) => { const dt = document.createElement("dt"), dd = document.createElement("dd"); dt.textContent = name; dd.textContent = value; if (id) dd.id = id; const div = document.createElement("div"); div.append(dt, dd); box.append(div); };
  fact("duration", figure(s.seconds, 6) + " s", "s-duration");
  const energy = s.seen > 0, few = s.seen < of ? " (" + s.seen + " of " + of + " GPUs)" : "";
  if (of) {
    fact("energy" + few, energy ? s.joules.toFixed(3) + " J" : "not covered", "s-energy");
    if (energy) {
      fact("± of the sensors", Number((1.96 * s.systematic).toPrecision(2)) + " J");
      fact("mean power" + few, figure(s.joules / s.seconds, 5) + " W", "s-power");
    }
  }
  if (log) {
    fact("output tokens", s.tokens === null ? "not known" : s.tokens.toFixed(1), "s-tokens");
    if (s.tokens !== null) fact("tokens/s", figure(s.tokens / s.seconds), "s-rate");
    if (energy && data.perToken && s.tokens !== null && s.joules > 0) {
      fact("tokens/J", figure(s.tokens / s.joules, 5), "s-perjoule");
      if (s.tokens > 0) fact("J/token", figure(s.joules / s.tokens, 5));
    }
    fact("in flight (mean)", figure(s.busy)); fact("requests sent", String(s.sent), "s-sent");
  }
  // The same in a line at the lower edge of the screen, from where the panel is often not seen.
  const brief = [figure(s.seconds, 6) + " s"];
  if (energy) brief.push(s.joules.toFixed(1) + " J", figure(s.joules / s.seconds, 5) + " W");
  if (log && s.tokens !== null) brief.push(s.tokens.toFixed(0) + " tokens");
  if (energy && log && data.perToken && s.tokens !== null && s.joules > 0) brief.push(figure(s.tokens / s.joules) + " tokens/J");
  get("brief").textContent = "Selected: " + brief.join(", ");
  if (of > 1) {
    row(parts, ["GPU", "energy", "mean power"], true);
    for (const [d, e] of s.parts) row(parts, [d.name, e === null ? "not covered" : e.toFixed(3) + " J", e === null ? unknown : figure(e / s.seconds) + " W"]);
  }
  get("partsbox").hidden = of < 2;
  const a = instant(s.i), b = instant(s.j);
  get("instants").textContent = a ? a + " to " + b : "";
  get("command").textContent = a ? "reduce --window 'selected=" + a + ".." + b + "' ..." : "";
}

// --- fingers ---
// One that moves sideways over a chart selects, as the mouse does; two zoom and pan. Up and
// down belongs to the page, which scrolls (touch-action in the style sheet says so, too).
const slop = 8;
function touch(c) {
  const u = c.u;
  let start = null, done = false;
  const places = e => [...e.touches].slice(0, 2).map(t => ({ x: t.clientX - start.left, y: t.clientY - start.top }));
  const value = x => range[0] + x / start.width * (range[1] - range[0]);
  const hide = () => u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  const begin = e => {
    const { left, top, width } = u.over.getBoundingClientRect();
    start = { left, top, width, range, mode: e.touches.length > 1 ? "zoom" : "" };
    start.at = places(e);
    start.middle = value(start.at.reduce((sum, p) => sum + p.x, 0) / start.at.length);
  };
  u.over.addEventListener("touchstart", e => { hide(); done = false; begin(e); }, { passive: true });
  u.over.addEventListener("touchmove", e => {
    if (!start || done) return;
    const now = places(e), [from] = start.at, [to] = now;
    if (start.mode === "zoom") {
      if (now.length < 2) return;
      const apart = ([p, q]) => Math.max(24, Math.hypot(p.x - q.x, p.y - q.y)), w = (start.range[1] - start.range[0]) * apart(start.at) / apart(now);
      const left = start.middle - (now[0].x + now[1].x) / 2 / start.width * w;
      soon(() => show(left, left + w));
      return;
    }
    if (!start.mode) {
      const dx = Math.abs(to.x - from.x), dy = Math.abs(to.y - from.y);
      if (Math.max(dx, dy) < slop) return;
      if (dy > dx) { done = true; return; }
      start.mode = "select";
    }
    const within = x => Math.min(Math.max(0, x), start.width), a = within(Math.min(from.x, to.x)), b = within(Math.max(from.x, to.x));
    u.setSelect({ left: a, top: 0, width: b - a, height: u.over.clientHeight }, false);
    u.setCursor({ left: within(to.x), top: 1 });
    start.chosen = [value(a), value(b)];
  }, { passive: true });
  const ended = e => {
    hide();
    if (e.touches.length) { start = null; return; } // what one of two fingers then does is no selection
    if (e.type === "touchend" && start && start.chosen) select(Math.round(start.chosen[0] / step), Math.round(start.chosen[1] / step));
    start = null;
  };
  u.over.addEventListener("touchend", ended, { passive: true });
  u.over.addEventListener("touchcancel", ended, { passive: true });
}
// soon does the last of what is asked for until the next frame.
let asked = null;
function soon(f) {
  if (!asked) requestAnimationFrame(() => { const g = asked; asked = null; g(); });
  asked = f;
}

// --- buttons, keys, wheel ---
const on = (id, f) => get(id).addEventListener("click", f);
on("zoomin", () => zoom(.5)); on("zoomout", () => zoom(2)); on("left", () => pan(-.25)); on("right", () => pan(.25)); on("reset", reset);
on("clear", () => select(null)); on("zoomsel", () => zoomSelection());
function zoomSelection() { if (selection) { const w = (selection[1] - selection[0]) * step; show(selection[0] * step - w * .05, selection[1] * step + w * .05); } }
for (const id of ["from", "to"]) get(id).addEventListener("change", () => {
  const a = parseFloat(get("from").value), b = parseFloat(get("to").value);
  if (isFinite(a) && isFinite(b)) select(Math.round(a / step), Math.round(b / step));
});
data.phases.forEach((ph, i) => { const o = document.createElement("option"); o.value = String(i); o.textContent = ph.n; get("phase").append(o); });
get("phase").addEventListener("change", e => {
  const ph = data.phases[e.target.value];
  if (!ph) return;
  select(Math.ceil(ph.a / step - 1e-9), Math.floor(ph.b / step + 1e-9));
  get("phase").value = e.target.value;
});
timeline.addEventListener("keydown", e => {
  if (e.target !== timeline || e.ctrlKey || e.metaKey || e.altKey) return;
  const by = Math.max(1, Math.round((range[1] - range[0]) / step / 50));
  const grow = d => selection ? select(selection[0], Math.max(selection[0] + 1, selection[1] + d)) : select(Math.round(middle() / step) - by, Math.round(middle() / step) + by);
  const keys = {
    ArrowLeft: () => e.shiftKey ? grow(-by) : pan(-.1), ArrowRight: () => e.shiftKey ? grow(by) : pan(.1),
    "+": () => zoom(.5), "=": () => zoom(.5), "-": () => zoom(2), "0": reset, Home: reset, Enter: zoomSelection, Escape: () => select(null),
    "[": () => selection && select(Math.max(0, selection[0] - by), selection[1]), "]": () => selection && select(Math.min(selection[1] - 1, selection[0] + by), selection[1]),
  };
  if (!keys[e.key]) return;
  e.preventDefault();
  keys[e.key]();
});
timeline.addEventListener("wheel", e => {
  if (!e.ctrlKey && !e.shiftKey) return;
  e.preventDefault();
  const c = charts[0], at = c ? c.u.posToVal(e.clientX - c.u.over.getBoundingClientRect().left, "x") : middle();
  zoom((e.deltaY || e.deltaX) > 0 ? 1.25 : .8, at);
}, { passive: false });
// --- what is seen is drawn at once, and the rest when it comes near or nothing else is to be done ---
function draw(box) {
  const plan = planned.get(box);
  planned.delete(box);
  if (!plan) return;
  near.unobserve(box);
  plan();
  if (!planned.size) queueMicrotask(() => { document.documentElement.dataset.complete = (performance.now() - started).toFixed(1); });
}
const near = new IntersectionObserver(list => { for (const e of list) if (e.isIntersecting) draw(e.target); }, { rootMargin: "50%" });
const idle = window.requestIdleCallback || (f => setTimeout(f, 50));
function rest() {
  const [box] = planned.keys();
  if (box) { draw(box); idle(rest); }
}
get("range").textContent = clock(0) + " to " + clock(end);
tell();
const below = innerHeight, tops = new Map([...planned.keys()].map(box => [box, box.getBoundingClientRect()]));
for (const [box, { top, bottom }] of tops) if (box === planned.keys().next().value && !charts.length || top < below && bottom > 0) draw(box); else near.observe(box);
queueMicrotask(() => { document.documentElement.dataset.drawn = (performance.now() - started).toFixed(1); });
idle(rest);
// The line at the lower edge says what the panel says: one of them is enough.
new IntersectionObserver(([e]) => get("brief").classList.toggle("needless", e.isIntersecting)).observe(get("facts"));
new ResizeObserver(() => {
  if (timeline.clientWidth === width || !timeline.clientWidth) return;
  width = timeline.clientWidth;
  for (const c of charts) c.u.setSize({ width: room(), height: c.height });
}).observe(timeline);
dark.addEventListener("change", () => { readColours(); redraw(); });
window.wattrace = { interval, select, show, charts, steps, step, get range() { return range; }, get selection() { return selection; } };
})();
