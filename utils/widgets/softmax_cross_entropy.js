/* Softmax cross-entropy of one example: logits to drag, probabilities, loss in nats, gradient ŷ - y, gradient steps.
   The four functions at the top are the mathematics of chapter 1; tests/browser compares them with torch. */
import { animate, button, clamp, drag, format, frame, html, keySlider, slider, svg } from "./figure.js";

/** p_k = exp(z_k) / sum_j exp(z_j), with the largest logit subtracted so that no exp overflows. */
export function softmax(z) {
  const largest = Math.max(...z);
  const powers = z.map((z_k) => Math.exp(z_k - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** -ln ŷ_y = ln(sum_j exp(z_j)) - z_y in nats, without going through a ŷ_y that may round to 0. */
export function crossEntropy(z, target) {
  const largest = Math.max(...z);
  return largest - z[target] + Math.log(z.reduce((sum, z_k) => sum + Math.exp(z_k - largest), 0));
}

/** The gradient of the loss with respect to the logits: ŷ - y, y one-hot. */
export const gradient = (z, target) => softmax(z).map((p_k, k) => p_k - (k === target));

/** One step of gradient descent: z - eta (ŷ - y). */
export function descend(z, target, eta) {
  const g = gradient(z, target);
  return z.map((z_k, k) => z_k - eta * g[k]);
}

const LIMIT = 5; // logits are drawn from -LIMIT to LIMIT
const WIDTH = 380;
// The three rows of bars: y of their zero line, height of one unit, where their label stands.
const LOGITS = { zero: 122, unit: 15, label: 20 };
const PROBABILITIES = { zero: 332, unit: 72, label: 246 };
const GRADIENT = { zero: 434, unit: 40, label: 378 };
const HEIGHT = 478;

function render({ model, el }) {
  const classes = model.get("classes");
  const start = model.get("logits");
  const width = WIDTH / classes.length;
  const middle = (k) => width * (k + 0.5);
  const bar = Math.min(38, width * 0.44);
  let z = start; // what is drawn; follows the model, gradually after a step
  let before = []; // [ŷ_y, loss] ahead of each step since the last drag
  let gliding = false;
  let changes = 0; // of the logits so far

  // Columns: logits, probabilities, gradient
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "bars", role: "group", "aria-label": "Bars" });
  const circle = (r, css) => svg("circle", { r, class: css });
  const line = (y, css) => svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: css });
  const text = (x, y, content, css = "") => svg("text", { x, y, class: css }, content);
  for (const row of [LOGITS, PROBABILITIES, GRADIENT]) picture.append(line(row.zero, "axis"));
  picture.append(
    line(PROBABILITIES.zero - PROBABILITIES.unit, "grid"),
    text(0, LOGITS.label, "logits z: drag them"),
    text(0, PROBABILITIES.label, "probabilities \u0177 = softmax(z); dashed: y"),
    text(0, GRADIENT.label, "gradient \u0177 \u2212 y"),
  );
  const columns = classes.map((name, k) => {
    const rectangle = (css) => svg("rect", { x: middle(k) - bar / 2, width: bar, class: css });
    const value = () => svg("text", { x: middle(k), class: "value" });
    const column = {
      hit: svg("rect", { x: middle(k) - width / 2, y: LOGITS.zero - 95, width, height: 190, class: "column" }),
      logit: rectangle("logit"),
      logitValue: value(),
      step: svg("path", { class: "step" }),
      tip: svg("path", { class: "tip" }),
      handle: svg("g", { class: "handle" }, circle(22, "reach"), circle(8, "knob")),
      probability: rectangle("probability"),
      target: rectangle("target"),
      probabilityValue: value(),
      gradient: rectangle("gradient"),
      gradientValue: value(),
    };
    picture.append(...Object.values(column));
    const limits = { min: -LIMIT, max: LIMIT, step: 0.1, page: 1 };
    keySlider(column.handle, `logit of ${name}`, limits, () => model.get("logits")[k], (value) => move(k, value, true));
    const follow = ({ y }) => move(k, clamp((LOGITS.zero - y) / LOGITS.unit, -LIMIT, LIMIT), false);
    drag(column.handle, picture, () => true, follow, () => model.save_changes());
    // Elsewhere in the column a finger scrolls the page.
    drag(column.hit, picture, (pointer) => pointer !== "touch", follow, () => model.save_changes());
    return column;
  });

  // True class
  const radios = classes.map((name, k) => {
    const input = html("input", { type: "radio", name: `target-${Math.random()}` });
    input.addEventListener("change", () => choose(k));
    return input;
  });
  radios.forEach((input) => (input.name = radios[0].name));
  const choice = html(
    "fieldset",
    {},
    html("legend", {}, "true class"),
    html("div", { class: "classes" }, ...classes.map((name, k) => html("label", {}, radios[k], name))),
  );

  // Loss
  const lossName = html("sub");
  const lossValue = html("strong");
  const yHat = html("i", {}, "\u0177");
  const loss = html("p", { class: "loss" }, "loss \u2212ln\u2009", yHat, lossName, " = ", lossValue, " nats");
  const MOST = 6;
  const across = (p) => 30 + 220 * p;
  const up = (nats) => 190 - (180 * Math.min(nats, MOST)) / MOST;
  const points = Array.from({ length: 120 }, (_, i) => Math.exp(-MOST * (1 - i / 119))).map((p) => [p, -Math.log(p)]);
  const marks = svg("g");
  const meaning = "The loss falls as the probability of the true class grows";
  const curve = svg(
    "svg",
    { viewBox: "0 0 262 226", class: "curve", role: "img", "aria-label": meaning },
    svg("line", { x1: across(0), x2: across(1), y1: up(0), y2: up(0), class: "axis" }),
    svg("line", { x1: across(0), x2: across(0), y1: up(0), y2: up(MOST), class: "axis" }),
    ...[0, 2, 4, 6].map((nats) => text(across(0) - 14, up(nats) + 4, String(nats), "quiet")),
    ...[0, 0.5, 1].map((p) => text(across(p) - 4, up(0) + 16, String(p), "quiet")),
    text(across(0.5), up(0) + 32, "probability of the true class", "quiet value"),
    svg("path", { d: `M${points.map(([p, nats]) => `${across(p)},${up(nats)}`).join("L")}` }),
    marks,
  );

  // Controls
  const eta = slider("step size \u03b7", { min: 0.1, max: 4, step: 0.1 }, (value) => {
    model.set("step_size", value);
    model.save_changes();
  });
  const status = html("p", { class: "status", role: "status" });
  const reset = () => {
    before = [];
    status.textContent = "";
    setLogits(start);
    model.save_changes();
  };

  function setLogits(logits) {
    model.set("logits", logits);
  }

  function move(k, value, finished) {
    before = [];
    status.textContent = "";
    setLogits(model.get("logits").map((old, j) => (j === k ? Math.round(value * 100) / 100 : old)));
    if (finished) model.save_changes();
  }

  function choose(k) {
    before = [];
    status.textContent = "";
    model.set("target", k);
    model.save_changes();
  }

  function takeStep() {
    const target = model.get("target");
    const old = model.get("logits");
    const wanted = descend(old, target, model.get("step_size"));
    const [was, is] = [old, wanted].map((logits) => crossEntropy(logits, target));
    before = [...before, [softmax(old)[target], was]].slice(-30);
    gliding = true;
    setLogits(wanted);
    gliding = false;
    model.save_changes();
    status.textContent = `Step ${before.length}: the loss goes from ${format(was, 3)} to ${format(is, 3)} nats.`;
  }

  function follow() {
    const [from, to, turn] = [z, model.get("logits"), ++changes];
    if (!gliding) {
      z = to;
      return draw();
    }
    animate(350, (t) => {
      if (turn !== changes) return; // something else moved the logits meanwhile
      z = to.map((to_k, k) => from[k] + (to_k - from[k]) * (t === 1 ? 1 : t * (2 - t)));
      draw();
    });
  }

  function place(rectangle, row, value) {
    rectangle.setAttribute("y", row.zero - Math.max(value, 0) * row.unit);
    rectangle.setAttribute("height", Math.abs(value) * row.unit);
  }

  function label(element, y, value, digits) {
    element.setAttribute("y", y);
    element.textContent = format(value, digits);
  }

  function draw() {
    const target = model.get("target");
    const p = softmax(z);
    const g = gradient(z, target);
    const next = descend(z, target, model.get("step_size"));
    const nats = crossEntropy(z, target);
    columns.forEach((column, k) => {
      const shown = clamp(z[k], -LIMIT, LIMIT);
      const top = LOGITS.zero - shown * LOGITS.unit;
      place(column.logit, LOGITS, shown);
      label(column.logitValue, top + (shown < 0 ? 26 : -14), z[k]);
      column.handle.setAttribute("transform", `translate(${middle(k)} ${top})`);
      column.handle.setAttribute("aria-valuenow", z[k].toFixed(2));
      column.handle.setAttribute("aria-valuetext", `${format(z[k])}, probability ${format(p[k])}`);
      // The arrow beside the bar ends where the next step would put the logit.
      const end = LOGITS.zero - clamp(next[k], -LIMIT, LIMIT) * LOGITS.unit;
      const x = middle(k) + bar / 2 + 9;
      const tip = Math.sign(end - top) * Math.min(7, Math.abs(end - top));
      column.step.setAttribute("d", `M${x},${top}V${end - tip}`);
      column.step.style.display = column.tip.style.display = Math.abs(end - top) < 2 ? "none" : "";
      column.tip.setAttribute("d", `M${x - 5},${end - tip}L${x + 5},${end - tip}L${x},${end}Z`);
      place(column.probability, PROBABILITIES, p[k]);
      place(column.target, PROBABILITIES, k === target ? 1 : 0);
      column.target.style.display = k === target ? "" : "none";
      label(column.probabilityValue, PROBABILITIES.zero + 15, p[k]);
      place(column.gradient, GRADIENT, g[k]);
      label(column.gradientValue, GRADIENT.zero + (g[k] > 0 ? 15 : -6), g[k]);
      radios[k].checked = k === target;
    });
    lossName.textContent = classes[target];
    lossValue.textContent = format(nats, 3);
    eta.show(model.get("step_size"));
    const dot = ([p_y, value], css, r) => svg("circle", { cx: across(p_y), cy: up(value), r, class: css });
    marks.replaceChildren(...before.map((point) => dot(point, "before", 4)), dot([p[target], nats], "now", 6));
  }

  model.on("change:logits", follow);
  model.on("change:target", draw);
  model.on("change:step_size", draw);
  const arrows = "The arrows show where the next step takes each logit, z \u2212 \u03b7(\u0177 \u2212 y), if that is far enough to be seen.";
  const hint = html("p", { class: "hint" }, arrows);
  const pressed = [button("Gradient step", takeStep, "main"), button("Reset", reset)];
  const buttons = html("div", { class: "buttons" }, ...pressed);
  const side = html("div", { class: "side" }, loss, curve, eta, buttons, status, hint);
  el.append(frame("softmax", "softmax cross-entropy", html("div", {}, choice, picture), side));
  draw();
}

export default { render };
