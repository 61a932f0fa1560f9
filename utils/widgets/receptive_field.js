/* Layers to stack on a picture: the square of pixels that one output depends on, and how much on each of them.
   geometry and influence are the mathematics of chapter 3; tests/browser compares them with torch. */
import { button, clamp, drag, format, frame, html, slider, svg } from "./figure.js";

/** Kernel size, stride, dilation and padding of each kind of layer. */
export const KINDS = {
  "conv 3x3": { k: 3, s: 1, d: 1, p: 1 },
  "conv 3x3 stride 2": { k: 3, s: 2, d: 1, p: 1 },
  "conv 3x3 dilation 2": { k: 3, s: 1, d: 2, p: 2 },
  "conv 5x5": { k: 5, s: 1, d: 1, p: 2 },
  "conv 1x1": { k: 1, s: 1, d: 1, p: 0 },
  "max pool 2x2": { k: 2, s: 2, d: 1, p: 0, pool: true },
};
const [PIXELS, CHANNELS, MOST] = [32, 16, 8]; // of the picture, of each convolution, layers

/** One row per layer, after one for the picture: output size, receptive field, jump (pixels from one output to the
    next), the first pixel of the first output's field, channels, parameters, multiplications. */
export function geometry(layers) {
  const input = { name: "input", size: PIXELS, field: 1, jump: 1, first: 0, channels: 3 };
  const rows = [{ ...input, parameters: 0, multiplications: 0 }];
  for (const name of layers) {
    const [{ k, s, d, p, pool }, { size: i, field, jump, first, channels }] = [KINDS[name], rows.at(-1)];
    const size = Math.floor((i + 2 * p - d * (k - 1) - 1) / s) + 1;
    rows.push({
      name,
      size,
      field: field + (k - 1) * d * jump,
      jump: jump * s,
      first: first - p * jump,
      channels: pool ? channels : CHANNELS,
      parameters: pool ? 0 : CHANNELS * (k * k * channels + 1),
      multiplications: pool ? 0 : CHANNELS * k * k * channels * size * size,
    });
  }
  return rows;
}

/** In one dimension: how many ways lead from each place of each level (the picture first) to output q of the last.
    With all weights equal that is the gradient; in two dimensions it is the product over rows and columns. */
export function influence(layers, q) {
  const sizes = geometry(layers).map(({ size }) => size);
  const levels = sizes.map((size) => Array(size).fill(0));
  levels.at(-1)[q] = 1;
  for (let l = layers.length; l > 0; l--) {
    levels[l].forEach((ways, o) => sources(layers[l - 1], o, sizes[l - 1]).forEach((i) => (levels[l - 1][i] += ways)));
  }
  return levels;
}

/** The places of a layer's input, of this size, that its output o is computed from. */
function sources(name, o, size) {
  const { k, s, d, p } = KINDS[name];
  return Array.from({ length: k }, (_, t) => o * s - p + t * d).filter((i) => i >= 0 && i < size);
}

/** How many of the strongest values are needed for nine tenths of the sum of all. */
export function strongest(values) {
  const sorted = [...values].sort((a, b) => b - a);
  const sum = sorted.reduce((a, b) => a + b);
  let [count, reached] = [0, 0];
  while (10 * reached < 9 * sum) reached += sorted[count++];
  return count;
}

const PRESETS = {
  "LeNet-like": ["conv 5x5", "max pool 2x2", "conv 5x5", "max pool 2x2"],
  "VGG-like": ["conv 3x3", "conv 3x3", "max pool 2x2", "conv 3x3", "conv 3x3", "max pool 2x2"],
};
const UNIT = 10; // of the pictures, per pixel
const LEVEL = 34; // from level to level of the cross-section
const times = (name) => name.replace(/(\d)x/, "$1×");
const shade = (share) => (share > 0 ? (0.12 + 0.88 * share).toFixed(3) : 0); // even the weakest can be seen
const digits = (n) => n.toLocaleString("en-US");

function render({ model, el }) {
  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }
  const outputs = () => geometry(model.get("layers")).at(-1).size;
  /** The output that lies over each pixel of the position. */
  const chosen = () => model.get("position").map((pixel) => Math.floor((pixel * outputs()) / PIXELS));

  // The picture with the field in it
  const pixels = Array.from({ length: PIXELS ** 2 }, (_, n) => {
    const [x, y] = [(n % PIXELS) * UNIT, Math.floor(n / PIXELS) * UNIT];
    return svg("rect", { x, y, width: UNIT, height: UNIT, class: "pixel" });
  });
  const side = PIXELS * UNIT;
  const sheet = svg("rect", { width: side, height: side, class: "sheet axis" });
  const field = svg("rect", { class: "field" });
  const knob = svg("circle", { r: 8, class: "knob" });
  const handle = svg("g", { class: "handle" }, svg("circle", { r: 26, class: "reach" }), knob);
  const viewBox = `-10 -10 ${side + 20} ${side + 20}`;
  const picture = svg("svg", { viewBox, role: "img", class: "input" }, ...pixels, sheet, field, handle);
  const within = (value) => Math.floor(clamp(value / UNIT, 0, PIXELS - 1));
  const follow = ({ x, y }) => model.set("position", [within(y), within(x)]);
  drag(handle, picture, () => true, follow, () => model.save_changes());
  drag(sheet, picture, (pointer) => pointer !== "touch", follow, () => model.save_changes());

  // A cross-section: one row of places per level
  const section = svg("svg", { role: "img", class: "section" });

  // Controls
  const [row, column] = ["row", "column"].map((name, axis) =>
    slider(`output ${name}`, { min: 0, max: PIXELS - 1, step: 1 }, (q) => {
      const middle = Math.floor(((q + 0.5) * PIXELS) / outputs());
      set("position", model.get("position").map((old, i) => (i === axis ? middle : old)));
    }),
  );
  const adders = Object.keys(KINDS).map((name) =>
    button(`+ ${times(name)}`, () => set("layers", [...model.get("layers"), name])),
  );
  const removers = [
    button("Remove last", () => set("layers", model.get("layers").slice(0, -1))),
    button("Clear", () => set("layers", [])),
  ];
  const presets = Object.entries(PRESETS).map(([name, layers]) => button(name, () => set("layers", layers)));
  const group = (label, ...all) => html("div", { class: "buttons", role: "group", "aria-label": label }, ...all);
  const heads = ["layer", "output", "field", "jump", "parameters"].map((text) => html("th", { scope: "col" }, text));
  const body = html("tbody");
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body);
  const status = html("p", { class: "status", role: "status" });

  function draw() {
    const layers = model.get("layers");
    const rows = geometry(layers);
    const { size, field: width, jump, first } = rows.at(-1);
    const [down, across] = chosen().map((q) => influence(layers, q));
    const most = Math.max(...down[0]) * Math.max(...across[0]);
    const ways = pixels.map((_, n) => down[0][Math.floor(n / PIXELS)] * across[0][n % PIXELS]);
    pixels.forEach((pixel, n) => pixel.setAttribute("fill-opacity", shade(ways[n] / most)));
    const [y, x] = chosen().map((q) => UNIT * (q * jump + first));
    for (const [name, value] of Object.entries({ x, y, width: UNIT * width, height: UNIT * width })) {
      field.setAttribute(name, value);
    }
    const [top, left] = chosen().map((q) => ((q + 0.5) * side) / size);
    handle.setAttribute("transform", `translate(${left} ${top})`);
    drawSection(layers, rows, across);
    const number = (value) => html("td", {}, value);
    const square = (n) => number(`${n}×${n}`);
    body.replaceChildren(
      ...rows.map(({ name, size: o, field: r, jump: j, parameters }, l) => {
        const head = html("th", { scope: "row" }, l ? `${l} ${times(name)}` : name);
        return html("tr", {}, head, square(o), square(r), number(j), number(digits(parameters)));
      }),
    );
    adders.forEach((adder, i) => {
      adder.disabled = layers.length === MOST || (size === 1 && Object.values(KINDS)[i].pool === true);
    });
    for (const remover of removers) remover.disabled = layers.length === 0;
    chosen().forEach((q, axis) => {
      const input = [row, column][axis].querySelector("input");
      input.max = size - 1;
      [row, column][axis].show(q, format(q, 0));
    });
    const seen = ways.filter((n) => n > 0).length;
    const text = `This output has a field of ${width}×${width} and depends on ${seen} of the picture's pixels`;
    const total = (name) => digits(rows.reduce((sum, each) => sum + each[name], 0));
    const cost = `In all ${total("parameters")} parameters and ${total("multiplications")} multiplications.`;
    const summary = `${text}; the strongest ${strongest(ways)} carry 90% of the influence. ${cost}`;
    status.textContent = layers.length ? summary : "No layer yet: add one.";
    picture.setAttribute("aria-label", `A picture of ${PIXELS}×${PIXELS} pixels. ${text}.`);
  }

  function drawSection(layers, rows, levels) {
    const height = (rows.length - 1) * LEVEL + 16;
    section.setAttribute("viewBox", `-48 -4 ${side + 58} ${height + 8}`);
    const y = (l) => height - 16 - l * LEVEL;
    const place = (l, i) => (side * (i + 0.5)) / rows[l].size;
    section.replaceChildren(
      ...layers.map((name, index) => {
        const l = index + 1;
        const links = levels[l].flatMap((ways, o) => {
          const places = ways > 0 ? sources(name, o, rows[index].size) : [];
          return places.map((i) => `M${place(l, o)},${y(l) + 12}L${place(index, i)},${y(index)}`);
        });
        return svg("path", { d: links.join(""), class: "links" });
      }),
      ...levels.flatMap((ways, l) =>
        ways.map((n, i) => {
          const width = side / rows[l].size;
          const about = { x: width * i + 0.5, y: y(l), width: width - 1, height: 12, class: "pixel" };
          return svg("rect", { ...about, "fill-opacity": shade(n / Math.max(...ways)) });
        }),
      ),
      ...rows.map((_, l) => svg("text", { x: -8, y: y(l) + 11, class: "level" }, l === 0 ? "input" : String(l))),
    );
    const spans = rows.map(({ name }, l) => `${name}: ${levels[l].filter((n) => n > 0).length}`);
    section.setAttribute("aria-label", `Cross-section: places that the output depends on. ${spans.join("; ")}.`);
  }

  model.on("change:layers", draw);
  model.on("change:position", draw);
  const hint = (css, ...sentences) => html("p", { class: `hint ${css}` }, sentences.join(" "));
  const looks = ["Drag the ring. Orange: receptive field; what lies outside the picture is padding."];
  looks.push("Blue: influence if all weights are equal.");
  const counted = ["Each convolution has 16 channels and padding that keeps the size at stride 1; the picture has 3."];
  counted.push("A max pool is shaded as the mean of its four pixels.");
  const left = html("div", {}, picture, hint("", ...looks));
  const controls = [group("add a layer", ...adders), group("change the stack", ...removers, ...presets), row, column];
  const right = html("div", { class: "side" }, section, hint("", "The stack, cut along a row."), ...controls);
  const below = [table, status, hint("all", ...counted)];
  el.append(frame("receptive", "layers and their receptive field", left, right, ...below));
  draw();
}

export default { render };
