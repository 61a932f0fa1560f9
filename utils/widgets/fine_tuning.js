/* A net f(x) = v b·x with one feature b of two inputs, fine-tuned from a head that the reader drags, or probed first.
   pretrained and descend are the mathematics of chapter 6; tests/browser compares them with torch. */
import { animate, button, clamp, drag, format, frame, html, slider, svg } from "./figure.js";

const [HEAD, FEATURE] = [1.6, [0.6, 0.45]]; // of the truth
const [MOST, TURN] = [2, 20]; // the range of the head, and of the angle in degrees
const [RATE, STEPS, PROBE] = [0.25, 200, 100]; // learning rate, steps in all, steps of the probe
export const truth = FEATURE.map((b_i) => HEAD * b_i); // w*

/** The feature before any training here: the truth's, turned by this many degrees. */
export function pretrained(angle) {
  const [cosine, sine] = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
  return [cosine * FEATURE[0] - sine * FEATURE[1], sine * FEATURE[0] + cosine * FEATURE[1]];
}

/** The STEPS + 1 states {v, b, w} of gradient descent on (v b_1 - w*_1)² / 2, the loss on data along the first input.
    For the first `probe` steps only the head learns. */
export function descend(head, angle, probe) {
  let [v, b] = [head, pretrained(angle)];
  const states = [{ v, b, w: b.map((b_i) => v * b_i) }];
  for (let step = 0; step < STEPS; step++) {
    const e = v * b[0] - truth[0];
    const slope = step < probe ? 0 : e * v; // of b_1; b_2 has none, since its input is 0 in all the data
    [v, b] = [v - RATE * e * b[0], [b[0] - RATE * slope, b[1]]];
    states.push({ v, b, w: b.map((b_i) => v * b_i) });
  }
  return states;
}

/** Degrees between two features. */
export function turned([a1, a2], [b1, b2]) {
  return (Math.abs(Math.atan2(a1 * b2 - a2 * b1, a1 * b1 + a2 * b2)) * 180) / Math.PI;
}

const METHODS = {
  tune: { name: "fine-tune", label: "Fine-tune", probe: 0, mark: "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z" },
  probe: { name: "probe first", label: "Probe, then fine-tune", probe: PROBE, mark: "M-6,-6H6V6H-6Z" },
};
const KINDS = Object.keys(METHODS);
const [UNIT, LIMIT] = [120, 1.6]; // of the plane
const [WIDTH, HEIGHT] = [384, 200]; // of the curves
const STAR = "M0,-12L3.2,-4.2L11.4,-3.7L5,1.6L7.1,9.7L0,5.2L-7.1,9.7L-5,1.6L-11.4,-3.7L-3.2,-4.2Z";
const at = ([x, y]) => `${(UNIT * x).toFixed(1)},${(-UNIT * y).toFixed(1)}`;
const errors = ({ w }) => w.map((w_i, i) => Math.abs(w_i - truth[i])); // on the data, off it

function render({ model, el }) {
  const first = { head: model.get("head"), angle: model.get("angle") };
  const shown = { tune: STEPS, probe: STEPS }; // steps of each
  let runs = {};
  let turn = 0; // of the player: whatever the reader does stops what plays
  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  // The plane of w = v b, the weights of the two inputs
  const side = LIMIT * UNIT;
  const text = (x, y, css, content) => svg("text", { x, y, class: css }, content);
  const path = (css, d) => svg("path", { d, class: css });
  const ways = svg("g");
  const circle = (r, css) => svg("circle", { r, class: css });
  const handle = svg("g", { class: "handle" }, circle(26, "reach"), circle(9, "knob"));
  const plane = svg(
    "svg",
    { viewBox: `${-side - 2} ${-side - 2} ${2 * side + 4} ${2 * side + 4}`, role: "img", class: "plane" },
    path("axis", `M${-side},0H${side}M0,${-side}V${side}`),
    text(-side, 18, "quiet", "w\u2081, on the data"),
    text(-6, 12 - side, "quiet right", "w\u2082, off the data"),
    path("fits", `M${UNIT * truth[0]},${-side}V${side}`),
    text(UNIT * truth[0] + 6, side - 6, "quiet", "fits data"),
    ways,
    svg("path", { d: STAR, class: "star", transform: `translate(${at(truth)})` }),
    handle,
  );
  const follow = ({ x, y }) => {
    const b = pretrained(model.get("angle"));
    const v = (x * b[0] - y * b[1]) / (UNIT * (b[0] ** 2 + b[1] ** 2)); // the nearest point of the line
    model.set("head", clamp(Math.round(100 * v) / 100, -MOST, MOST));
  };
  drag(handle, plane, () => true, follow, () => model.save_changes());

  // Errors over the steps
  const curves = svg("svg", { viewBox: `-40 -30 ${WIDTH + 52} ${HEIGHT + 76}`, role: "img", class: "errors" });

  // Controls
  const head = slider("head v", { min: -MOST, max: MOST, step: 0.01 }, (value) => set("head", value));
  const angle = slider("feature off by", { min: -TURN, max: TURN, step: 1 }, (value) => set("angle", value));
  const players = KINDS.map((kind) => button(METHODS[kind].label, () => play(kind), "main"));
  const reset = () => Object.entries(first).forEach(([name, value]) => set(name, value));
  const buttons = html("div", { class: "buttons" }, ...players, button("Reset", reset));
  const status = html("p", { class: "status", role: "status" });
  const rows = KINDS.map((kind) => {
    const key = svg("svg", { viewBox: "-20 -8 40 16", class: `key ${kind}`, "aria-hidden": "true" });
    key.append(path("way", "M-20,0H20"), path("spot", METHODS[kind].mark));
    const cells = [1, 2, 3, 4, 5].map(() => html("td"));
    return { kind, cells, element: html("tr", {}, html("th", { scope: "row" }, key, METHODS[kind].name), ...cells) };
  });
  const columns = ["method", "v", "b\u2081", "b\u2082", "error on", "error off"];
  const heads = columns.map((content) => html("th", { scope: "col" }, content));
  const body = html("tbody", {}, ...rows.map(({ element }) => element));
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body);

  function play(kind) {
    const mine = ++turn;
    animate(3000, (t) => {
      if (mine !== turn) return;
      shown[kind] = Math.round(t * STEPS);
      draw();
    });
  }

  /** Something changed: both runs anew, whole. */
  function recompute() {
    turn++;
    for (const kind of KINDS) {
      runs[kind] = descend(model.get("head"), model.get("angle"), METHODS[kind].probe);
      shown[kind] = STEPS;
    }
    draw();
  }

  function draw() {
    handle.setAttribute("transform", `translate(${at(runs.tune[0].w)})`);
    ways.replaceChildren(...KINDS.map((kind) => drawWay(kind, runs[kind].slice(0, shown[kind] + 1))));
    drawCurves();
    for (const { kind, cells } of rows) {
      const state = runs[kind][shown[kind]];
      const numbers = [state.v, ...state.b, ...errors(state)];
      cells.forEach((cell, i) => (cell.textContent = format(numbers[i])));
    }
    head.show(model.get("head"), format(model.get("head")));
    angle.show(model.get("angle"), `${format(model.get("angle"), 0)}°`);
    const [tuned, probed] = KINDS.map((kind) => {
      const [from, to] = [runs[kind][0], runs[kind][shown[kind]]];
      return `turns the feature by ${format(turned(from.b, to.b), 0)}° and errs by ${format(errors(to)[1])} off the data`;
    });
    status.textContent = `Fine-tuning ${tuned}; probing first ${probed}.`;
    plane.setAttribute("aria-label", `Plane of the weights w = v b. ${status.textContent}`);
  }

  function drawWay(kind, states) {
    const { b, w } = states.at(-1);
    const ends = [-9, 9].map((v) => at(b.map((b_i) => v * b_i)));
    return svg(
      "g",
      { class: kind },
      path("feature", `M${ends.join("L")}`),
      path("way", `M${states.map((state) => at(state.w)).join("L")}`),
      svg("path", { d: METHODS[kind].mark, class: "spot", transform: `translate(${at(w)})` }),
    );
  }

  function drawCurves() {
    const most = Math.ceil(2 * Math.max(...KINDS.flatMap((kind) => runs[kind].flatMap(errors)))) / 2;
    const place = (step, e) => `${((WIDTH * step) / STEPS).toFixed(1)},${(HEIGHT * (1 - e / most)).toFixed(1)}`;
    const ticks = Array.from({ length: 2 * most + 1 }, (_, i) => i / 2).filter((e) => most < 2 || e % 1 === 0);
    const curve = (kind, i, css) => {
      const points = runs[kind].slice(0, shown[kind] + 1).map((state, step) => place(step, errors(state)[i]));
      return svg("g", { class: kind }, path(css, `M${points.join("L")}`));
    };
    curves.replaceChildren(
      ...ticks.map((e) => path("grid", `M${place(0, e)}H${WIDTH}`)),
      ...ticks.map((e) => text(-6, HEIGHT * (1 - e / most) + 5, "quiet right", format(e, most < 2 ? 1 : 0))),
      ...[0, 50, 100, 150, 200].map((step) => text((WIDTH * step) / STEPS, HEIGHT + 20, "quiet value", String(step))),
      text(-36, -12, "quiet", "error: thick off the data, dotted on it"),
      text(WIDTH / 2, HEIGHT + 40, "quiet value", "step"),
      path("axis", `M0,0V${HEIGHT}H${WIDTH}`),
      ...KINDS.flatMap((kind) => [curve(kind, 0, "way on"), curve(kind, 1, "way")]),
    );
    const ends = KINDS.map((kind) => {
      const [on, off] = errors(runs[kind][shown[kind]]).map((e) => format(e));
      return `${METHODS[kind].name}, step ${shown[kind]}: ${on} on the data, ${off} off it`;
    });
    curves.setAttribute("aria-label", `Errors over the steps. ${ends.join("; ")}.`);
  }

  for (const name of ["head", "angle"]) model.on(`change:${name}`, recompute);
  const looks = ["Drag the ring. Thin lines: all nets w = v b that a feature b allows, whatever the head v."];
  looks.push("Star: the truth. All data lie along the first input: every net on the dotted line fits them.");
  const left = html("div", {}, plane, html("p", { class: "hint" }, looks.join(" ")));
  const right = html("div", { class: "side" }, curves, head, angle, buttons);
  el.append(frame("tuning", "fine-tuning, at once and after a probe", left, right, table, status));
  recompute();
}

export default { render };
