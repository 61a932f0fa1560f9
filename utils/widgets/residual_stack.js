/* Products of random matrices, plain and with the identity added to each: their singular values against the depth.
   matrices, residual and spectra are the mathematics of chapter 4; tests/browser compares them with torch. */
import { button, format, frame, html, power, significant, slider, svg } from "./figure.js";

const [SIZE, DEPTH] = [16, 64]; // the matrices are SIZE x SIZE; the most of them
const WARM_UP = 4; // numbers of the generator that are not used: from a small seed the first is small
const order = Array.from({ length: SIZE }, (_, i) => i);
const identity = order.map((i) => order.map((j) => Number(i === j)));

/** Matrices of normal numbers of variance 1/SIZE, the same for a seed: minimal standard generator, Box and Muller. */
export function matrices(count, seed) {
  let state = seed;
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
  for (let i = 0; i < WARM_UP; i++) uniform();
  const normal = Array.from({ length: (count * SIZE * SIZE) / 2 }, () => {
    const [radius, angle] = [Math.sqrt((-2 * Math.log(uniform())) / SIZE), 2 * Math.PI * uniform()];
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  }).flat();
  const row = (l, i) => normal.slice((l * SIZE + i) * SIZE, (l * SIZE + i + 1) * SIZE);
  return Array.from({ length: count }, (_, l) => order.map((i) => row(l, i)));
}

/** I + sJ. */
export const residual = (J, s) => J.map((row, i) => row.map((x, j) => s * x + identity[i][j]));

/** u · v; a plain loop, because a new figure takes some hundred thousand of them. */
function dot(u, v) {
  let sum = 0;
  for (let k = 0; k < SIZE; k++) sum += u[k] * v[k];
  return sum;
}

const add = (u, v, factor) => u.map((x, k) => x + factor * v[k]); // u + factor v
const transpose = (a) => a.map((_, j) => a.map((row) => row[j]));

/** The product of two matrices, ab. */
function multiply(a, b) {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
}

/** [Q, R] of a square matrix, by Gram and Schmidt. */
function qr(a) {
  const columns = transpose(a);
  const R = order.map(() => order.map(() => 0));
  for (const i of order) {
    R[i][i] = Math.sqrt(dot(columns[i], columns[i]));
    columns[i] = columns[i].map((x) => x / R[i][i]);
    for (let j = i + 1; j < SIZE; j++) {
      R[i][j] = dot(columns[i], columns[j]);
      columns[j] = add(columns[j], columns[i], -R[i][j]);
    }
  }
  return [transpose(columns), R];
}

/** Singular values, descending: rotate pairs of rows until all are orthogonal; their lengths then are the values. */
function singularValues(matrix) {
  const rows = matrix.map((row) => [...row]);
  for (let sweep = 0, turned = true; turned && sweep < 30; sweep++) {
    turned = false;
    for (let i = 0; i < SIZE; i++) {
      for (let j = i + 1; j < SIZE; j++) {
        const [u, v] = [rows[i], rows[j]];
        const [uu, vv, uv] = [dot(u, u), dot(v, v), dot(u, v)];
        if (Math.abs(uv) <= 1e-14 * Math.sqrt(uu) * Math.sqrt(vv)) continue;
        const angle = Math.atan((2 * uv) / (uu - vv)) / 2;
        const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
        for (let k = 0; k < SIZE; k++) [u[k], v[k]] = [cosine * u[k] + sine * v[k], cosine * v[k] - sine * u[k]];
        turned = true;
      }
    }
  }
  return rows.map((row) => Math.sqrt(dot(row, row))).sort((a, b) => b - a);
}

/** Singular values of the products of the first 0, 1, 2, ... factors. Multiplied out, a long product would lose all
    that are below 1e-16 of the largest; kept as Q R it doesn't, as residual_stack.py says. */
export function spectra(factors) {
  let [Q, R] = [identity, identity];
  const products = factors.map((factor) => {
    const [next, T] = qr(multiply(factor, Q));
    [Q, R] = [next, multiply(T, R)];
    return R;
  });
  return [identity, ...products].map(singularValues);
}

const SHOWN = { largest: 0, median: SIZE / 2, smallest: SIZE - 1 }; // places among the singular values
const KINDS = ["plain", "residual"];
const [WIDTH, HEIGHT] = [480, 300]; // of the plot
const short = (x) => significant(x, 2);

function render({ model, el }) {
  const drawn = {}; // from which settings each kind was computed last, and the result
  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  /** Singular values after 0 to `depth` matrices; computed only if a setting changed or the product grew. */
  function values(kind) {
    const [s, seed, L] = ["branch_scale", "seed", "depth"].map((name) => model.get(name));
    const settings = kind === "plain" ? `${seed}` : `${seed} ${s}`;
    if (drawn[kind]?.settings !== settings || drawn[kind].result.length <= L) {
      const J = matrices(L, seed);
      drawn[kind] = { settings, result: spectra(kind === "plain" ? J : J.map((J_l) => residual(J_l, s))) };
    }
    return drawn[kind].result.slice(0, L + 1);
  }

  const picture = svg("svg", { viewBox: `-58 -26 ${WIDTH + 72} ${HEIGHT + 74}`, role: "img", class: "spectra" });
  const depth = slider("depth L", { min: 1, max: DEPTH, step: 1 }, (value) => set("depth", value));
  const scale = slider("branch scale s", { min: 0, max: 1.5, step: 0.01 }, (value) => set("branch_scale", value));
  const buttons = html(
    "div",
    { class: "buttons" },
    button("s = 1/\u221aL", () => set("branch_scale", 1 / Math.sqrt(model.get("depth")))),
    button("s = 1", () => set("branch_scale", 1)),
    button("New matrices", () => set("seed", (model.get("seed") % 10000) + 1)),
  );
  const status = html("p", { class: "status", role: "status" });

  const row = (name, ...cells) => html("tr", {}, html("th", { scope: "row" }, ...name), ...cells);
  const lines = KINDS.map((kind) => {
    const key = svg("svg", { viewBox: "0 0 30 12", class: `key ${kind}`, "aria-hidden": "true" });
    key.append(svg("rect", { width: 30, height: 12, class: "span" }), svg("path", { d: "M0,6H30", class: "way" }));
    const cells = [...Object.keys(SHOWN), "ratio"].map(() => html("td"));
    return { kind, cells, element: row([key, kind], ...cells) };
  });
  const heads = ["product", ...Object.keys(SHOWN), "ratio"].map((text) => html("th", { scope: "col" }, text));
  const body = html("tbody", {}, ...lines.map(({ element }) => element));
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body);

  function draw() {
    const products = KINDS.map((kind) => [kind, values(kind)]);
    const all = products.flatMap(([, result]) => result.flatMap((sigma) => [sigma[0], sigma.at(-1)]));
    const [low, high] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
    const L = model.get("depth");
    const across = (l) => (WIDTH * l) / L;
    const down = (sigma) => (HEIGHT * (high - Math.log10(sigma))) / Math.max(1, high - low);
    const step = [1, 2, 5, 10, 20].find((each) => (high - low) / each <= 7);
    const ticks = [];
    for (let k = Math.ceil(low / step) * step; k <= high; k += step) ticks.push([down(10 ** k), power(k)]);
    const each = Math.ceil(L / 8);
    const depths = Array.from({ length: Math.floor(L / each) + 1 }, (_, i) => i * each);
    const text = (x, y, css, content) => svg("text", { x, y, class: `quiet ${css}` }, content);
    picture.replaceChildren(
      ...ticks.map(([y]) => svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "grid" })),
      ...ticks.map(([y, label]) => text(-8, y + 5, "left", label)),
      ...depths.map((l) => text(across(l), HEIGHT + 20, "value", String(l))),
      text(-50, -12, "", "singular value"),
      text(WIDTH / 2, HEIGHT + 42, "value", "depth: matrices multiplied"),
      svg("path", { d: `M0,0V${HEIGHT}H${WIDTH}`, class: "axis" }),
      ...products.map(([kind, result]) => {
        const curve = (place) => result.map((sigma, l) => `${across(l).toFixed(1)},${down(sigma[place]).toFixed(1)}`);
        const [upper, median, lower] = Object.values(SHOWN).map(curve);
        const path = (points, css) => svg("path", { d: `M${points.join("L")}`, class: css });
        const span = path([...upper, ...lower.reverse()], "span");
        return svg("g", { class: kind }, span, path(upper, "way"), path(median, "way median"), path(lower, "way"));
      }),
    );
    for (const { kind, cells } of lines) {
      const sigma = values(kind).at(-1);
      const shown = [...Object.values(SHOWN).map((place) => sigma[place]), sigma[0] / sigma.at(-1)];
      cells.forEach((cell, i) => (cell.textContent = short(shown[i])));
    }
    depth.show(L, String(L));
    scale.show(model.get("branch_scale"), format(model.get("branch_scale")));
    const [plain, added] = products.map(([, result]) => short(result[L][0] / result[L].at(-1)));
    const ratios = `${plain} times the smallest in the plain product, ${added} times in the residual product`;
    status.textContent = `At depth ${L} the largest singular value is ${ratios}.`;
    const label = "Singular values of the plain and the residual product against the depth, on a logarithmic scale.";
    picture.setAttribute("aria-label", `${label} ${status.textContent}`);
  }

  for (const name of ["depth", "branch_scale", "seed"]) model.on(`change:${name}`, draw);
  const formulas = ["Plain: J", html("sub", {}, "L"), " ··· J", html("sub", {}, "1"), ". Residual: (I + s J"];
  formulas.push(html("sub", {}, "L"), ") ··· (I + s J", html("sub", {}, "1"), "). Each J is 16×16, its entries ");
  formulas.push("random of variance 1/16. Bands: from largest to smallest singular value; dashed: median.");
  const hint = html("p", { class: "hint" }, ...formulas);
  const controls = html("div", { class: "controls" }, depth, scale, buttons);
  el.append(frame("stack", "singular values of deep products", picture, controls, table, status, hint));
  draw();
}

export default { render };
