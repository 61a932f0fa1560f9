/* Optimisers racing over a surface: gradient descent, momentum, RMSProp and Adam from one start that the reader drags.
   surfaces, optimizers, noise and path are the mathematics of chapter 5; tests/browser compares them with torch. */
import { animate, button, clamp, drag, format, frame, html, significant, slider, svg } from "./figure.js";

/* f and its gradient at [x, y]; sd: standard deviation of noise on each component of the gradient. */
const valley = {
  f: ([x, y]) => (x ** 2 + 25 * y ** 2) / 2,
  gradient: ([x, y]) => [x, 25 * y],
  start: [-1.8, 0.9],
  minima: [[0, 0]],
  formula: "(x² + 25y²) / 2",
};
export const surfaces = {
  valley,
  saddle: {
    f: ([x, y]) => x ** 2 / 2 - y ** 2 / 2 + y ** 4 / 4,
    gradient: ([x, y]) => [x, y ** 3 - y],
    start: [-1.8, 0.02],
    minima: [[0, 1], [0, -1]],
    formula: "x²/2 \u2212 y²/2 + y⁴/4",
  },
  Rosenbrock: {
    f: ([x, y]) => (1 - x) ** 2 / 20 + (y + 1 - x ** 2) ** 2,
    gradient: ([x, y]) => [(x - 1) / 10 - 4 * x * (y + 1 - x ** 2), 2 * (y + 1 - x ** 2)],
    start: [-1.2, 0],
    minima: [[1, 0]],
    formula: "(1 \u2212 x)²/20 + (y + 1 \u2212 x²)²",
  },
  "noisy valley": { ...valley, sd: 2, formula: "(x² + 25y²) / 2, its gradient with noise" },
};

const [ALPHA, BETA_2, EPSILON] = [0.99, 0.999, 1e-8]; // as torch.optim has them
/** optimizers[name](learningRate, momentum) is a function step(theta, g) with its own memory, as in torch.optim. */
export const optimizers = {
  "gradient descent": (eta) => (theta, g) => theta.map((x, i) => x - eta * g[i]),
  momentum: (eta, beta) => {
    let v = [0, 0];
    return (theta, g) => {
      v = v.map((v_i, i) => beta * v_i + g[i]);
      return theta.map((x, i) => x - eta * v[i]);
    };
  },
  RMSProp: (eta) => {
    let v = [0, 0];
    return (theta, g) => {
      v = v.map((v_i, i) => ALPHA * v_i + (1 - ALPHA) * g[i] ** 2);
      return theta.map((x, i) => x - (eta * g[i]) / (Math.sqrt(v[i]) + EPSILON));
    };
  },
  Adam: (eta, beta1) => {
    let [m, v, t] = [[0, 0], [0, 0], 0];
    return (theta, g) => {
      t += 1;
      m = m.map((m_i, i) => beta1 * m_i + (1 - beta1) * g[i]);
      v = v.map((v_i, i) => BETA_2 * v_i + (1 - BETA_2) * g[i] ** 2);
      const mHat = m.map((m_i) => m_i / (1 - beta1 ** t));
      const vHat = v.map((v_i) => v_i / (1 - BETA_2 ** t));
      return theta.map((x, i) => x - (eta * mHat[i]) / (Math.sqrt(vHat[i]) + EPSILON));
    };
  },
};

export const STEPS = 100;

/** Pairs of standard normal numbers, one per step, always the same: minimal standard generator, Box and Muller. */
export function noise(steps) {
  let state = 1;
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return Array.from({ length: steps }, () => {
    const [radius, angle] = [Math.sqrt(-2 * Math.log(uniform())), 2 * Math.PI * uniform()];
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
}
const NOISE = noise(STEPS);

/** The STEPS + 1 points of an optimiser's way from `start`. */
export function path(surface, optimizer, learningRate, momentum, start) {
  const { gradient, sd = 0 } = surfaces[surface];
  const step = optimizers[optimizer](learningRate, momentum);
  const points = [start];
  for (const xi of NOISE) {
    const theta = points.at(-1);
    points.push(step(theta, gradient(theta).map((g_i, i) => g_i + sd * xi[i])));
  }
  return points;
}

const RATES = Array.from({ length: 31 }, (_, k) => 10 ** (k / 10 - 3));

/** The learning rate among RATES with the lowest f after STEPS steps. */
export function bestRate(surface, optimizer, momentum, start) {
  let best = { end: Infinity, rate: RATES[0] };
  for (const rate of RATES) {
    const end = surfaces[surface].f(path(surface, optimizer, rate, momentum, start).at(-1));
    if (end < best.end) best = { end, rate }; // never true of a nan
  }
  return best.rate;
}

/** f at the corners of the window's cells of SIDE: heights[i][j] at column i, row j. */
function heights(f) {
  const along = (limit, point) => Array.from({ length: Math.round((2 * limit) / SIDE) + 1 }, (_, k) => point(k * SIDE - limit));
  return along(X, (x) => along(Y, (y) => f([x, y])));
}

const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]]; // of a cell, once around

/** Where the heights cross `level`: [[from, to], ...], straight pieces within cells, by linear interpolation. */
function contour(grid, level) {
  const pieces = [];
  for (let i = 0; i + 1 < grid.length; i++) {
    const [left, right] = [grid[i], grid[i + 1]];
    for (let j = 0; j + 1 < left.length; j++) {
      const higher = (left[j] > level) + (left[j + 1] > level) + (right[j] > level) + (right[j + 1] > level);
      if (higher % 4 === 0) continue; // all of its corners or none
      const above = CORNERS.map(([dx, dy]) => grid[i + dx][j + dy] - level);
      const crossings = CORNERS.flatMap(([dx, dy], k) => {
        const next = (k + 1) % 4;
        if (above[k] > 0 === above[next] > 0) return [];
        const t = above[k] / (above[k] - above[next]);
        const [nextDx, nextDy] = CORNERS[next];
        return [[(i + dx + t * (nextDx - dx)) * SIDE - X, (j + dy + t * (nextDy - dy)) * SIDE - Y]];
      });
      for (let k = 0; k < crossings.length; k += 2) pieces.push(crossings.slice(k, k + 2));
    }
  }
  return pieces;
}

const [X, Y, SIDE] = [2, 1.5, 0.025]; // the window: |x| <= X, |y| <= Y
const UNIT = 100; // of the picture, per unit of x and y
const LOOK = {
  "gradient descent": { css: "descent", mark: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z" },
  momentum: { css: "momentum", mark: "M-4,-4H4V4H-4Z" },
  RMSProp: { css: "rmsprop", mark: "M0,-5L5,4H-5Z" },
  Adam: { css: "adam", mark: "M0,-5.5L5.5,0L0,5.5L-5.5,0Z" },
};
const NAMES = Object.keys(optimizers);
const across = (x) => (UNIT * clamp(x, -9 * X, 9 * X)).toFixed(1);
const down = (y) => (-UNIT * clamp(y, -9 * Y, 9 * Y)).toFixed(1);
const line = (points) => points.map(([x, y]) => `${across(x)},${down(y)}`).join("L");
const at = ([x, y]) => `translate(${across(x)} ${down(y)})`;
const lost = ([x, y]) => !(Math.hypot(x, y) < 1000);

const SETTINGS = ["surface", "learning_rate", "momentum", "start", "own_rates", "racers"];
let figures = 0; // on this page, for names that must differ

function render({ model, el }) {
  const first = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
  const clip = `race-window-${++figures}`;
  let t = STEPS; // steps shown
  let turn = 0; // of the player: whatever the reader does stops what plays
  let paths = {}; // name: {rate, points}

  function set(changes) {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  }

  // Picture: contours, ways, the start
  const contours = svg("g", { class: "contours" });
  const ways = svg("g", { "clip-path": `url(#${clip})` });
  const knob = svg("circle", { r: 8, class: "knob" });
  const handle = svg("g", { class: "handle" }, svg("circle", { r: 24, class: "reach" }), knob);
  const [w, h] = [X * UNIT, Y * UNIT];
  const sheet = svg("rect", { x: -w, y: -h, width: 2 * w, height: 2 * h, class: "sheet" });
  const tick = (x, y, css, value) => svg("text", { x, y, class: `quiet ${css}` }, format(value, 0));
  const ticks = [
    ...[-2, -1, 0, 1, 2].map((x) => tick(x * UNIT, h + 20, "value", x)),
    ...[-1, 0, 1].map((y) => tick(-w - 6, 5 - y * UNIT, "left", y)),
  ];
  const viewBox = `${-w - 28} ${-h - 4} ${2 * w + 36} ${2 * h + 28}`;
  const frameOfWays = svg("clipPath", { id: clip }, svg("rect", { x: -w, y: -h, width: 2 * w, height: 2 * h }));
  const parts = [frameOfWays, contours, sheet, ...ticks, ways, handle];
  const picture = svg("svg", { viewBox, role: "img", class: "surface" }, ...parts);
  const toStart = ({ x, y }) => {
    const within = (value, limit) => Math.round(clamp(value / UNIT, -limit, limit) * 100) / 100;
    model.set("start", [within(x, X), within(-y, Y)]);
  };
  drag(handle, picture, () => true, toStart, () => model.save_changes());
  drag(sheet, picture, (pointer) => pointer !== "touch", toStart, () => model.save_changes());

  // Controls
  const select = html("select", {}, ...Object.keys(surfaces).map((name) => html("option", { value: name }, name)));
  select.addEventListener("change", () => set({ surface: select.value, start: surfaces[select.value].start }));
  const formula = html("p", { class: "formula" });
  const rate = slider("learning rate", { min: -3, max: 0, step: 0.05 }, (power) => set({ learning_rate: 10 ** power }));
  const momentum = slider("momentum \u03b2", { min: 0, max: 0.99, step: 0.01 }, (value) => set({ momentum: value }));
  const startX = slider("start x", { min: -X, max: X, step: 0.01 }, (x) => set({ start: [x, model.get("start")[1]] }));
  const startY = slider("start y", { min: -Y, max: Y, step: 0.01 }, (y) => set({ start: [model.get("start")[0], y] }));
  const own = html("input", { type: "checkbox" });
  own.addEventListener("change", () => set({ own_rates: own.checked }));
  const status = html("p", { class: "status", role: "status" });
  const reset = () => {
    set(first);
    changed(); // also where nothing but the steps shown was
  };
  const race = button("Race", () => play(0, STEPS), "main");
  const step = button("Step", () => play(t % STEPS, (t % STEPS) + 1));
  const buttons = html("div", { class: "buttons" }, race, step, button("Reset", reset));

  // Legend
  const rows = NAMES.map((name) => {
    const { css, mark: d } = LOOK[name];
    const input = html("input", { type: "checkbox" });
    input.addEventListener("change", () => {
      const chosen = model.get("racers");
      set({ racers: NAMES.filter((other) => (other === name ? input.checked : chosen.includes(other))) });
    });
    const sample = [svg("path", { d: "M-20,0H20", class: "way" }), svg("path", { d, class: "spot" })];
    const key = svg("svg", { viewBox: "-20 -7 40 14", class: `key ${css}`, "aria-hidden": "true" }, ...sample);
    const [used, end] = [html("td"), html("td")];
    const label = html("label", {}, input, key, html("span", {}, name));
    return { name, input, used, end, element: html("tr", {}, html("th", { scope: "row" }, label), used, end) };
  });
  const after = html("th", { scope: "col" });
  const head = html("tr", {}, ...["optimiser", "rate"].map((text) => html("th", { scope: "col" }, text)), after);
  const table = html("table", {}, html("thead", {}, head), html("tbody", {}, ...rows.map(({ element }) => element)));

  function play(from, to) {
    const mine = ++turn;
    animate((to - from) * 45, (part) => {
      if (mine !== turn) return;
      draw(Math.round(from + part * (to - from)));
      status.textContent = part === 1 ? verdict() : "\u00a0"; // no winner before the end; the line keeps its height
    });
  }

  function verdict() {
    const { f } = surfaces[model.get("surface")];
    const standing = Object.keys(paths).filter((name) => !lost(paths[name].points[t]));
    const ends = standing.map((name) => [f(paths[name].points[t]), name]).sort(([a], [b]) => a - b);
    return ends.length ? `After ${t} steps, ${ends[0][1]} is lowest: f = ${significant(ends[0][0], 3)}.` : "";
  }

  /** Compute the race once for all settings that change together. */
  function changed() {
    const mine = ++turn;
    queueMicrotask(() => mine === turn && recompute());
  }

  /** The race as it now is, whole. */
  function recompute() {
    const [surface, shared, beta, start] = SETTINGS.map((name) => model.get(name));
    paths = {};
    for (const name of NAMES.filter((racer) => model.get("racers").includes(racer))) {
      const used = model.get("own_rates") ? bestRate(surface, name, beta, start) : shared;
      paths[name] = { rate: used, points: path(surface, name, used, beta, start) };
    }
    draw(STEPS);
    status.textContent = verdict();
  }

  function drawSurface() {
    const { f, minima, formula: text } = surfaces[model.get("surface")];
    const [low, high] = [f(minima[0]), Math.max(...[-X, X].flatMap((x) => [f([x, -Y]), f([x, Y])]))];
    const levels = Array.from({ length: 15 }, (_, k) => low + (high - low) * ((k + 0.5) / 15) ** 2);
    const grid = heights(f);
    const pieces = levels.map((level) => contour(grid, level).map((piece) => `M${line(piece)}`));
    contours.replaceChildren(
      ...pieces.map((ds) => svg("path", { d: ds.join("") })),
      ...minima.map((point) => svg("path", { d: "M-6,0H6M0,-6V6", transform: at(point), class: "minimum" })),
    );
    formula.textContent = `f = ${text}`;
  }

  function draw(step) {
    t = step;
    const { f } = surfaces[model.get("surface")];
    const [x, y] = model.get("start");
    const shown = Object.entries(paths).map(([name, { points }]) => [LOOK[name], points.slice(0, t + 1)]);
    ways.replaceChildren(...shown.map(([look, points]) => drawWay(look, points)));
    for (const { name, input, used, end } of rows) {
      const racer = paths[name];
      input.checked = Boolean(racer);
      used.textContent = racer ? significant(racer.rate, 3) : "";
      end.textContent = racer ? (lost(racer.points[t]) ? "diverged" : significant(f(racer.points[t]), 3)) : "";
    }
    after.textContent = `f after ${t} steps`;
    handle.setAttribute("transform", at([x, y]));
    select.value = model.get("surface");
    own.checked = model.get("own_rates");
    rate.show(Math.log10(model.get("learning_rate")), significant(model.get("learning_rate"), 3));
    rate.querySelector("input").disabled = own.checked;
    momentum.show(model.get("momentum"), format(model.get("momentum")));
    startX.show(x, format(x));
    startY.show(y, format(y));
    const racers = rows.filter(({ name }) => paths[name]).map(({ name, end }) => `${name} ${end.textContent}`);
    const text = `Contours of the ${model.get("surface")} with the optimisers' ways; f after ${t} steps: `;
    picture.setAttribute("aria-label", `${text}${racers.join(", ")}.`);
  }

  function drawWay({ css, mark }, points) {
    const out = points.findIndex(lost);
    const drawn = out < 0 ? points : points.slice(0, out);
    const tens = drawn.filter((_, i) => i % 10 === 0 || i === drawn.length - 1);
    const marks = tens.map((point) => svg("path", { d: mark, transform: at(point), class: "spot" }));
    return svg("g", { class: css }, svg("path", { d: `M${line(drawn)}`, class: "way" }), ...marks);
  }

  model.on("change:surface", drawSurface);
  for (const name of SETTINGS) model.on(`change:${name}`, changed);
  const tuned = html("label", { class: "own" }, own, "each at its own best learning rate");
  const ground = html("label", { class: "choice" }, "surface", select);
  const side = html("div", { class: "side" }, ground, formula, rate, momentum, startX, startY, tuned, buttons);
  const hint = html("p", { class: "hint" }, "Drag the start. A mark on a line is ten steps; + is a minimum.");
  el.append(frame("race", "optimisers racing on a surface", html("div", {}, picture, hint), side, table, status));
  drawSurface();
  recompute();
}

export default { render };
