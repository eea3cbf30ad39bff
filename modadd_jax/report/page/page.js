"use strict";
// The interactive picture of the integral, the table of neurons and the zoom of figures.
// Data: modadd_jax/report/page/data.py. Letters: p modulus, m neurons, n neurons of one frequency.

const data = JSON.parse(document.getElementById("data").textContent);
const { p, m } = data;
const byId = (id) => document.getElementById(id);
const mod = (x, n) => ((x % n) + n) % n;
const TAU = 2 * Math.PI;
const POINTS = 721; // of the curve h over a full turn: a step of half a degree

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// The circuit, [rows, columns] in C order. v and s_b are left out where they equal u and s_a.
const circuit = data.tables && Object.fromEntries(
  Object.entries(data.tables).map(([name, text]) => [name, new Float32Array(bytes(text).buffer)]));
if (circuit) {
  circuit.v ??= circuit.u;
  circuit.s_b ??= circuit.s_a;
}

// a and b in 0..p-1 with a - b = d and a + b = y mod p. For even p, where a + b has the parity of d, a y of the
// other parity stands for the second input of y - 1.
function inputs(y, d) {
  const t = mod(y - d, p), b = t % 2 ? (t - 1) / 2 + Math.floor((p + 1) / 2) : t / 2;
  return { a: mod(b + d, p), b };
}

const centred = (x) => {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  return x.map((value) => value - mean);
};

// Class-centred logits of the model at (a, b), for every class; null where the page does not hold it.
function modelLogits(a, b) {
  if (!circuit) return null;
  const logits = Array.from({ length: p }, (_, c) => circuit.s_a[a * p + c] + circuit.s_b[b * p + c]);
  for (let i = 0; i < m; i++) {
    const active = circuit.u[a * m + i] + circuit.v[b * m + i];
    if (active <= 0) continue;
    for (let c = 0; c < p; c++) logits[c] += active * circuit.w_logit[i * p + c];
  }
  return centred(logits);
}

// Class-centred logits of the closed form at a - b = d, a + b = y.
function formLogits(y, d, form) {
  return Array.from({ length: p }, (_, c) =>
    data.frequencies.reduce((sum, f) =>
      sum + f.profiles[form][d] * Math.cos(TAU * mod(f.k * (c - y), p) / p), 0));
}

// All that is drawn of one frequency at one input and class: docs/theory.md sections 2.4 and 2.5.
function lens({ index, a, b, y, d, c, psi }) {
  const f = data.frequencies[index];
  // A negative cos(w(a-b)/2) shifts every neuron's wave by half a turn, which does not change the integral.
  const factor = Math.cos(Math.PI * f.k * (a - b) / p + f.delta);
  const theta = Math.PI * f.k * (a + b) / p + (factor < 0 ? Math.PI : 0);
  const shift = (at) => TAU * mod(f.k * at, p) / p;
  const active = f.phi.map((phi) => Math.max(Math.cos(theta + phi), 0));
  const output = psi ? f.psi : f.phi.map((phi) => 2 * phi);
  const sumAt = (at) => f.omega.reduce((sum, w, i) => sum + w * active[i] * Math.cos(shift(at) + output[i]), 0);
  const integralAt = (at) => (2 / 3) * Math.cos(shift(y - at));

  const height = active.map((x, i) => x * Math.cos(shift(c) + output[i]));
  const left = [], right = [], running = [];
  let edge = f.start, sum = 0;
  f.omega.forEach((w, i) => {
    left.push(edge);
    right.push(edge += w);
    running.push(sum += w * height[i]);
  });
  const step = TAU / (POINTS - 1);
  const x = Array.from({ length: POINTS }, (_, i) => f.start + i * step);
  const h = x.map((phi) => Math.max(Math.cos(theta + phi), 0) * Math.cos(shift(c) + 2 * phi));
  let area = 0;
  const under = h.map((value, i) => (i ? area += step * (value + h[i - 1]) / 2 : 0));
  const classes = Array.from({ length: p }, (_, at) => at);
  const fine = Array.from({ length: 12 * f.k + 1 }, (_, i) => i * (p - 1) / (12 * f.k)); // 12 points a period
  return {
    a, b, x, h, under, left, right, height, running, theta,
    sum, integral: integralAt(c), units: 2 * Math.abs(factor) * f.scale,
    sums: classes.map(sumAt), integrals: classes.map(integralAt),
    fine, wave: fine.map((at) => (2 / 3) * Math.cos(TAU * f.k * (y - at) / p)),
    model: modelLogits(a, b), form: formLogits(y, d, "full"),
  };
}

// Plots. Colours are those of the page, which follow the reader's light or dark scheme.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

const COARSE = matchMedia("(pointer: coarse)").matches; // a finger on a plot scrolls the page

function layout(xtitle, ytitle, xaxis = {}, yaxis = {}) {
  const axis = (text, rest) => ({
    title: { text, standoff: 8 }, gridcolor: colour("grid"), zerolinecolor: colour("soft"), linecolor: colour("soft"),
    fixedrange: COARSE, automargin: true, ...rest,
  });
  return {
    margin: { l: 48, r: 8, t: 8, b: 40 }, height: 290, showlegend: true, dragmode: COARSE ? false : "zoom",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    font: { color: colour("text"), size: 12, family: "system-ui, sans-serif" },
    legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", font: { size: 11 } },
    xaxis: axis(xtitle, xaxis), yaxis: axis(ytitle, yaxis),
  };
}

const QUARTERS = { tickvals: [-2, -1, 0, 1, 2, 3, 4].map((n) => n * Math.PI / 2),
  ticktext: ["−π", "−π/2", "0", "π/2", "π", "3π/2", "2π"] };
const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };

const line = (x, y, name, shade, width, dash = "solid") =>
  ({ x, y, name, mode: "lines", line: { color: colour(shade), width, dash } });
const dots = (x, y, name, shade) => ({ x, y, name, mode: "markers", marker: { color: colour(shade), size: 5 } });
const rings = (x, y, name, shade, size) => ({ x, y, name, mode: "markers",
  marker: { color: "rgba(0,0,0,0)", size, line: { color: colour(shade), width: 1.5 } } });

function draw(state) {
  const f = data.frequencies[state.index], view = lens(state);
  const circle = { ...QUARTERS, range: [view.x[0], view.x.at(-1)] }, ends = circle.range;
  const classes = view.sums.map((_, c) => c);

  Plotly.react("rectangles", [
    {
      type: "bar", x: view.left, y: view.height, width: f.omega, offset: 0, name: "neurons",
      marker: { color: colour("fill"), line: { color: colour("blue"), width: Math.min(0.8, 60 / f.omega.length) } },
      text: f.neuron.map((i) => `neuron ${i}`), textposition: "none",
      hovertemplate: "%{text}<br>height %{y:.3f}<extra></extra>",
    },
    line(view.x, view.h, "h(φ)", "text", 1.5),
  ], layout("φ (rad)", "h(φ)", circle, { range: [-1.05, 1.05] }), CONFIG);

  Plotly.react("running", [
    line([view.left[0], ...view.right], [0, ...view.running], "rectangles so far", "blue", 2),
    line(view.x, view.under, "∫ h so far", "text", 1.2),
    line(ends, [view.integral, view.integral], "⅔ cos(w(a+b−c))", "orange", 2, "dot"),
  ], layout("φ (rad)", "sum so far", circle), CONFIG);

  Plotly.react("classes", [
    line(view.fine, view.wave, "⅔ cos(w(a+b−c))", "soft", 1),
    dots(classes, view.sums, "sum over neurons", "blue"),
    line([state.c, state.c], [-0.8, 0.8], "chosen class", "orange", 2, "dot"),
  ], layout("class c", "sum"), CONFIG);

  const traces = [rings(classes, view.form, "closed form", "vermillion", 8)];
  if (view.model) {
    traces.push(dots(classes, view.model, "model", "blue"));
    traces.push(rings([state.y], [view.model[state.y]], "right class", "orange", 16));
  }
  const top = 1.15 * Math.max(...traces.flatMap((trace) => trace.y.map(Math.abs)));
  Plotly.react("logits", traces, layout("class c", "logit, class-centred", {}, { range: [-top, top] }), CONFIG);
  say(state, f, view);
}

function say(state, f, view) {
  byId("k-value").textContent = `${f.k}, ${f.omega.length} neurons`;
  for (const name of ["y", "d", "c"]) byId(`${name}-value`).textContent = state[name];
  byId("k").setAttribute("aria-valuetext", `${f.k}, ${f.omega.length} neurons`);
  const error = (view.sum - view.integral) / (2 / 3);
  const answer = view.model && view.model.indexOf(Math.max(...view.model));
  byId("said").textContent =
    `a = ${view.a}, b = ${view.b}. The sum of the ${f.omega.length} rectangles is ${view.sum.toFixed(4)}, the integral ` +
    `${view.integral.toFixed(4)}, error ${(100 * error).toFixed(2)} % of 2/3. If these neurons were pure waves, they would add ` +
    `${(view.units * view.sum).toFixed(2)} to the logit of class ${state.c}.` +
    (view.model ? ` The model answers ${answer}, the right class is ${state.y}.` :
      " The model is too large for this page, so its logits are not shown.");
}

function readState() {
  const value = (id) => Number(byId(id).value);
  const { a, b } = inputs(value("y"), value("d"));
  return { index: value("k"), a, b, y: mod(a + b, p), d: value("d"), c: value("c"), psi: byId("psi").checked };
}

function startPicture() {
  const start = { k: 0, y: Math.floor(p / 4), d: Math.floor(p / 5), c: Math.floor(p / 4) };
  byId("k").max = data.frequencies.length - 1;
  for (const name of ["y", "d", "c"]) byId(name).max = p - 1;
  for (const [name, value] of Object.entries(start)) byId(name).value = value;
  let waiting = false;
  const redraw = () => {
    if (waiting) return; // one drawing a frame, however fast a slider moves
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw(readState());
    });
  };
  document.querySelector("#integral-view form").addEventListener("input", redraw);
  byId("right").addEventListener("click", () => {
    byId("c").value = readState().y;
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  draw(readState());
}

// The table of neurons.

const COLUMNS = [
  ["neuron", (i) => i, 0], ["k", (i) => data.neurons.k[i], 0],
  ["share of weight, %", (i) => 100 * data.neurons.share[i], 3],
  ["α", (i) => data.neurons.alpha[i], 3], ["φ", (i) => data.neurons.phi[i], 3],
  ["β", (i) => data.neurons.beta[i], 3], ["ψ", (i) => data.neurons.psi[i], 3],
  ["ψ − 2φ", (i) => data.neurons.off[i], 4], ["γ", (i) => data.neurons.gamma[i], 3],
  ["one wave, input %", (i) => 100 * data.neurons.pre_share[i], 2],
  ["one wave, output %", (i) => 100 * data.neurons.w_share[i], 2],
];
const order = { column: 2, descending: true };

function fillNeurons() {
  const chosen = byId("filter-k").value, least = Number(byId("filter-off").value), alive = byId("filter-alive").checked;
  const value = COLUMNS[order.column][1], sign = order.descending ? -1 : 1;
  const rows = Array.from({ length: m }, (_, i) => i)
    .filter((i) => (chosen === "" || data.neurons.k[i] === Number(chosen)) &&
      Math.abs(data.neurons.off[i]) >= least && (!alive || data.neurons.alive[i]))
    .sort((i, j) => sign * (value(i) - value(j)) || i - j);
  document.querySelector("#neuron-table tbody").innerHTML = rows.map((i) =>
    "<tr>" + COLUMNS.map(([, read, digits]) => `<td>${read(i).toFixed(digits)}</td>`).join("") + "</tr>").join("");
  byId("counted").textContent = `${rows.length} of ${m} neurons`;
  document.querySelectorAll("#neuron-table th").forEach((head, index) => {
    const sorted = index === order.column ? (order.descending ? "descending" : "ascending") : "none";
    head.setAttribute("aria-sort", sorted);
  });
}

function startNeurons() {
  const head = document.querySelector("#neuron-table thead tr");
  COLUMNS.forEach(([name], index) => {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col";
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      order.descending = order.column === index ? !order.descending : index > 1;
      order.column = index;
      fillNeurons();
    });
    cell.append(button);
    head.append(cell);
  });
  const frequencies = [...new Set(data.neurons.k)].sort((x, y) => x - y);
  const key = new Set(data.frequencies.map((f) => f.k));
  byId("filter-k").innerHTML = '<option value="">all</option>' +
    frequencies.map((k) => `<option value="${k}">${k}${key.has(k) ? " (key)" : ""}</option>`).join("");
  document.querySelector("form.filters").addEventListener("input", fillNeurons);
  fillNeurons();
}

// Figures open enlarged in a dialog, which the Escape key closes.

function startZoom() {
  const dialog = byId("zoom"), viewport = dialog.querySelector(".viewport"), scale = byId("scale");
  const show = (actual) => {
    viewport.classList.toggle("actual", actual);
    scale.textContent = actual ? "Fit to the window" : "Enlarge";
  };
  document.querySelectorAll("button.figure").forEach((button) => button.addEventListener("click", () => {
    const image = button.querySelector("img").cloneNode();
    image.addEventListener("click", () => show(!viewport.classList.contains("actual")));
    viewport.replaceChildren(image);
    show(false);
    dialog.showModal();
  }));
  scale.addEventListener("click", () => show(!viewport.classList.contains("actual")));
}

async function startPlotly() {
  const stream = new Blob([bytes(byId("plotly").textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

for (const form of document.querySelectorAll("form.controls")) form.addEventListener("submit", (event) => event.preventDefault());
startZoom();
if (byId("neuron-table")) startNeurons();
if (byId("integral-view")) {
  startPlotly().then(startPicture).then(() => { document.body.dataset.ready = "yes"; });
}
