'use strict';
const by = id => document.getElementById(id);
const spans = [['1 min', 60], ['10 min', 600], ['1 h', 3600]];
const columns = ['device', 'name', 'W', 'limit W', 'energy', 'GPU', 'memory', 'temp.', 'SM MHz', 'throttle'];
let span = 600, series = null, at = 0, hover = null, drawn = null;

// Texts of devices are never made into markup: all goes through textContent.
const element = (tag, text, className) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
};
const fixed = (v, digits, factor = 1) => v === null || v === undefined ? '-' : (v * factor).toFixed(digits);
const joules = e => {
  if (!e || e.energy_joules === null) return '-';
  let v = e.energy_joules, prefix = '';
  for (const p of ['k', 'M', 'G']) { if (v < 9999.5) break; v /= 1000; prefix = p; }
  return (e.method === 'counter' ? '' : '~') + v.toFixed(v < 100 ? 2 : v < 1000 ? 1 : 0) + ' ' + prefix + 'J' + (e.resets || e.missing_seconds ? ' !' : '');
};
const clock = s => new Date(s * 1000).toLocaleTimeString();
const label = (d, hosts) => (hosts > 1 ? d.host + ':' : '') + (d.scope === 'gpu' ? '' : d.scope + ' ') + d.device_index;
const colour = i => `hsl(${(i * 137.5 + 205) % 360} 65% ${matchMedia('(prefers-color-scheme: dark)').matches ? 62 : 42}%)`;

async function load() {
  try {
    const answer = await fetch(`/api/series?from=${Math.floor(at ? at - span : Date.now() / 1000 - span)}`);
    if (!answer.ok) throw new Error((await answer.json()).error);
    series = await answer.json();
    draw();
  } catch (e) { by('message').textContent = 'no series: ' + e.message; }
}

function show(s) {
  const hosts = new Set(s.devices.map(d => d.host)).size;
  if (s.time) at = Date.parse(s.time) / 1000;
  by('source').textContent = s.source + (s.phase ? ', phase ' + s.phase : '');
  by('message').textContent = s.message || '';
  by('watts').textContent = fixed(s.total.power_watts, 1) + (s.total.gpus_live < s.total.gpus ? ` (${s.total.gpus_live} of ${s.total.gpus} GPUs)` : '');
  by('joules').textContent = joules(s.total.since_mark);
  const how = s.total.since_mark.method;
  by('since').textContent = 'energy since ' + (s.mark ? 'the mark' + (s.mark_name ? ' ' + s.mark_name : '') + ' at ' + clock(Date.parse(s.mark) / 1000) : 'the first reading') +
    (how ? ', ' + ({counter: 'by counter', integrated: 'integrated power', mixed: 'counter and integrated power'})[how] : '') +
    (s.total.since_mark_gpus < s.total.gpus ? ` (${s.total.since_mark_gpus} of ${s.total.gpus} GPUs)` : '');
  const ratio = s.total.generation_tokens_per_joule_since_mark;
  by('ratio').hidden = ratio === null;
  by('tokens').textContent = ratio === null ? '-' : ratio.toPrecision(4);
  by('speed').hidden = s.servers.length === 0;
  by('rate').textContent = s.servers.every(v => v.generation_tokens_per_second === null) ? '-' : s.servers.reduce((a, v) => a + (v.generation_tokens_per_second || 0), 0).toFixed(1);
  by('rows').replaceChildren(...s.devices.map(d => {
    const row = element('tr');
    const held = d.throttle === null ? '-' : d.throttle.length ? d.throttle.join(', ') : 'none';
    const cells = [label(d, hosts), d.name || d.device, d.state === 'lost' ? 'lost' : fixed(d.power_watts, 1), fixed(d.power_limit_watts, 0), joules(d.since_mark),
      d.gpu_utilization === null ? '-' : fixed(d.gpu_utilization, 0, 100) + ' %', d.memory_used_bytes === null ? '-' : fixed(d.memory_used_bytes, 1, 2 ** -30) + ' GiB',
      d.temperature_celsius === null ? '-' : fixed(d.temperature_celsius, 0) + ' °C', fixed(d.sm_clock_hertz, 0, 1e-6), held];
    row.append(...cells.map((text, i) => element('td', text, i === 2 && d.state === 'lost' || i === 9 && d.throttle && d.throttle.length ? 'warn' : '')));
    row.title = d.device + (d.status ? ': ' + d.status : '');
    return row;
  }));
  by('servers').replaceChildren(...s.servers.map(v => element('li', `${v.server}${v.model ? ' (' + v.model + ')' : ''}: ${fixed(v.requests_running, 0)} running, ${fixed(v.requests_waiting, 0)} waiting, ${fixed(v.generation_tokens_per_second, 1)} tokens/s${v.state === 'live' ? '' : ', ' + v.state}`)));
  by('notes').textContent = ['~ is integrated power, else the counter. ! is a reset or a gap, around which energy is left out.', s.devices.some(d => d.simulated) ? 'Devices are simulated: these figures are no measurement.' : '', s.note ? 'Note: ' + s.note : ''].join(' ');
}

function draw() {
  const canvas = by('chart'), box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  if (!series || box.width < 80) return;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  const c = canvas.getContext('2d'), style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue('--ink'), soft = style.getPropertyValue('--soft'), rule = style.getPropertyValue('--line');
  c.scale(ratio, ratio);
  c.font = '12px system-ui, sans-serif';
  const hosts = new Set(series.devices.map(d => d.host)).size;
  const gpus = series.devices.filter(d => d.power_watts);
  const lines = gpus.map((d, i) => ({name: label(d, hosts), values: d.power_watts, colour: colour(i), width: 1.2}));
  if (gpus.filter(d => d.scope === 'gpu').length > 1) lines.unshift({name: 'total', values: series.total_power_watts, colour: ink, width: 2});
  const end = Math.max(at, series.from + series.total_power_watts.length * series.step_seconds), begin = end - span;
  let top = 1;
  for (const l of lines) for (const v of l.values) if (v > top) top = v;
  const power = 10 ** Math.floor(Math.log10(top / 4)), unit = [1, 2, 5, 10].map(k => k * power).find(k => top / k <= 5);
  top = Math.ceil(top / unit) * unit;
  const left = 12 + c.measureText(top.toFixed(0) + ' W').width, right = box.width - 8, low = box.height - 22, high = 8;
  const x = t => left + (t - begin) / span * (right - left), y = v => low - v / top * (low - high);
  c.textBaseline = 'middle';
  c.textAlign = 'right';
  for (let v = 0; v <= top + unit / 2; v += unit) {
    c.strokeStyle = rule; c.lineWidth = 1;
    c.beginPath(); c.moveTo(left, Math.round(y(v)) + .5); c.lineTo(right, Math.round(y(v)) + .5); c.stroke();
    c.fillStyle = soft; c.fillText(v + ' W', left - 6, y(v));
  }
  const ticks = box.width < 500 ? 2 : 5;
  c.textBaseline = 'top';
  for (let i = 0; i <= ticks; i++) {
    c.textAlign = i === 0 ? 'left' : i === ticks ? 'right' : 'center';
    c.fillText(clock(begin + span * i / ticks), x(begin + span * i / ticks), low + 6);
  }
  c.save();
  c.beginPath(); c.rect(left, 0, right - left, box.height); c.clip();
  for (const l of lines) {
    c.strokeStyle = c.fillStyle = l.colour; c.lineWidth = l.width;
    c.beginPath();
    let open = false;
    l.values.forEach((v, i) => {
      if (v === null) { open = false; return; }
      const px = x(series.from + (i + .5) * series.step_seconds), py = y(v);
      if (open) c.lineTo(px, py); else { c.moveTo(px, py); c.lineTo(px + .1, py); }
      open = true;
    });
    c.stroke();
  }
  c.restore();
  let place = -1;
  if (hover !== null && hover >= left && hover <= right) {
    place = Math.floor((begin + (hover - left) / (right - left) * span - series.from) / series.step_seconds);
    c.strokeStyle = soft; c.lineWidth = 1;
    c.beginPath(); c.moveTo(hover + .5, high); c.lineTo(hover + .5, low); c.stroke();
  }
  const known = place >= 0 && place < series.total_power_watts.length;
  by('legend').replaceChildren(...lines.map(l => {
    const item = element('span'), swatch = element('canvas');
    swatch.width = 16; swatch.height = 11;
    const s = swatch.getContext('2d');
    s.fillStyle = l.colour; s.fillRect(0, 3, 16, 5);
    item.append(swatch, element('span', l.name + (known ? ' ' + fixed(l.values[place], 1) + ' W' : '')));
    return item;
  }), ...(known ? [element('span', clock(series.from + place * series.step_seconds))] : []));
}

by('head').append(...columns.map(t => element('th', t)));
by('spans').append(...spans.map(([text, seconds]) => {
  const b = element('button', text);
  b.type = 'button';
  b.setAttribute('aria-pressed', seconds === span);
  b.onclick = () => {
    span = seconds;
    for (const other of by('spans').children) other.setAttribute('aria-pressed', other === b);
    load();
  };
  return b;
}));
by('mark').onclick = async () => {
  const answer = await fetch('/api/mark', {method: 'POST'});
  if (answer.ok) show(await answer.json()); else by('message').textContent = 'no mark: ' + (await answer.json()).error;
};
by('chart').onmousemove = e => { hover = e.offsetX; draw(); };
by('chart').onmouseleave = () => { hover = null; draw(); };
addEventListener('resize', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
function listen() {
  const events = new EventSource('/api/events');
  events.addEventListener('snapshot', e => {
    show(JSON.parse(e.data));
    // A span of an hour moves by a pixel in some seconds: it is not fetched more often.
    if (!document.hidden && (drawn === null || Date.now() - drawn >= Math.max(900, span))) { drawn = Date.now(); load(); }
  });
  // A browser tries again by itself unless it was refused: then it gives up, and we ask why.
  events.onerror = async () => {
    by('message').textContent = 'no connection to monitor';
    if (events.readyState !== EventSource.CLOSED) return;
    try {
      const answer = await fetch('/api/devices');
      by('message').textContent = answer.status === 401 ? 'monitor was started anew: open this page with its token again' : 'monitor has no room for another page now; it is asked again';
    } catch { /* it is not there */ }
    setTimeout(listen, 5000);
  };
}
listen();
