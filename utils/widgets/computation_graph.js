/* The graph of f = a · relu(a · b + c) with values and gradients: inputs to move, both passes to watch node by node.
   GRAPH, forward and backward are the mathematics of chapter 2; tests/browser compares them with torch. */
import { animate, button, format, frame, html, slider, svg } from "./figure.js";

/* The operations in the order of the forward pass; slopes: the local derivatives, one per parent; says: their names. */
const GRAPH = [
  { name: "d", parents: ["a", "b"], text: "a × b", value: (a, b) => a * b, slopes: (a, b) => [b, a], says: "ba" },
  { name: "e", parents: ["d", "c"], text: "d + c", value: (d, c) => d + c, slopes: () => [1, 1], says: "11" },
  { name: "r", parents: ["e"], text: "relu(e)", value: (e) => Math.max(e, 0), slopes: (e) => [e > 0 ? 1 : 0] },
  { name: "f", parents: ["a", "r"], text: "a × r", value: (a, r) => a * r, slopes: (a, r) => [r, a], says: "ra" },
];
const REVERSED = [...GRAPH].reverse();

/** The value of every node, {a, b, c, d, e, r, f}, from the inputs {a, b, c}. */
export function forward(inputs) {
  const values = { ...inputs };
  for (const { name, parents, value } of GRAPH) values[name] = value(...parents.map((parent) => values[parent]));
  return values;
}

/** Gradients of f: {gradients: {node: df/dnode}, edges: [{from, to, slope, contribution, total}]}.
    An edge carries contribution = gradient of `to` × slope back, which makes the gradient of `from` total so far. */
export function backward(values) {
  const gradients = Object.fromEntries(Object.keys(values).map((name) => [name, 0]));
  gradients.f = 1;
  const edges = REVERSED.flatMap(({ name, parents, slopes }) => {
    const local = slopes(...parents.map((parent) => values[parent]));
    return parents.map((from, i) => {
      const contribution = gradients[name] * local[i];
      gradients[from] += contribution; // a node that is used twice gets the sum
      return { from, to: name, slope: local[i], contribution, total: gradients[from] };
    });
  });
  return { gradients, edges };
}

const INPUTS = ["a", "b", "c"];
const FORWARD = GRAPH.length; // steps of the forward pass
const ALL = 2 * FORWARD + 1; // and of the backward pass, which begins with df/df = 1
const STAGES = { a: [0, -1], b: [0, 0], c: [0, 1], d: [1, 0], e: [2, 0], r: [3, 0], f: [4, 0] }; // [stage, lane]
// Where an edge leaves and arrives, from the middle of the side, and its label in both layouts: [x, y, anchor].
const EDGES = {
  ad: { ports: [14, -14], wide: [134, 62, "start"], tall: [38, 101, "start"] },
  bd: { ports: [0, 14], wide: [122, 177, "middle"], tall: [174, 85, "start"] },
  de: { ports: [0, -14], wide: [274, 102, "middle"], tall: [127, 195, "end"] },
  ce: { ports: [14, 14], wide: [198, 236, "middle"], tall: [264, 139, "end"] },
  er: { ports: [0, 0], wide: [426, 115, "middle"], tall: [141, 304, "end"] },
  af: { ports: [-14, -14], wide: [502, 40, "middle"], tall: [37, 360, "start"] },
  rf: { ports: [0, 14], wide: [578, 177, "middle"], tall: [174, 415, "start"] },
};
// Sizes and where a stage and a lane lie; `turn` makes of (along, across) a point "x,y".
const WIDE = { width: 700, height: 282, box: [92, 70], at: [46, 152], lanes: [141, 105], gap: 60, end: 46 };
const TALL = { width: 300, height: 506, box: [86, 66], at: [33, 110], lanes: [150, 106], gap: 44, end: 33 };
const LAYOUTS = {
  wide: { ...WIDE, turn: (along, across) => `${along},${across}` },
  tall: { ...TALL, turn: (along, across) => `${across},${along}` },
};
const NARROW = 645; // px: below, text of the wide layout would be smaller than 11 px
const PAUSE = 1100; // ms per node

function render({ model, el }) {
  let layout = "wide";
  let done = ALL; // steps of both passes whose results are shown
  let active = false; // whether the last of them is pointed out
  let turn = 0; // of the player: whatever the reader does stops what plays

  const picture = svg("svg", { role: "img" });
  const sliders = INPUTS.map((name) =>
    slider(`input ${name}`, { min: -5, max: 5, step: 0.1 }, (value) => {
      model.set(name, value);
      model.save_changes();
    }),
  );
  const status = html("p", { class: "status", role: "status" });
  const buttons = html(
    "div",
    { class: "buttons" },
    button("Forward", () => play(0, FORWARD)),
    button("Backward", () => play(FORWARD, ALL)),
    button("Step", () => play(done % ALL, (done % ALL) + 1)),
  );

  /** Show the results of the steps after `from` up to `to`, one by one. */
  function play(from, to) {
    const mine = ++turn;
    active = true;
    done = from;
    animate((to - from) * PAUSE, (t) => {
      const now = Math.min(to, from + 1 + Math.floor(t * (to - from)));
      if (mine !== turn || now === done) return;
      done = now;
      draw();
    });
  }

  function showAll() {
    turn++;
    done = ALL;
    active = false;
    draw();
  }

  function draw() {
    const values = forward(Object.fromEntries(INPUTS.map((name) => [name, model.get(name)])));
    const { gradients, edges } = backward(values);
    const known = [...INPUTS, ...GRAPH.slice(0, done).map(({ name }) => name)];
    const sent = REVERSED.slice(0, Math.max(0, done - FORWARD - 1)); // nodes that have sent gradients back
    const carried = edges.filter(({ to }) => sent.some(({ name }) => name === to));
    const now = active ? stepAt(done) : {};
    const shown = { f: done > FORWARD ? 1 : undefined }; // gradients so far
    for (const { from, total } of carried) shown[from] = total;

    const { width, height } = LAYOUTS[layout];
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("class", layout);
    const paths = edges.map((edge) => drawEdge(edge, now, carried.includes(edge)));
    const boxes = Object.keys(STAGES).map((name) =>
      drawNode(name, now, known.includes(name) ? values[name] : undefined, shown[name]),
    );
    picture.replaceChildren(...paths, ...boxes);
    const spoken = Object.keys(STAGES).map((name) => {
      const value = known.includes(name) ? format(values[name]) : "not yet computed";
      return `${name}: ${value}${shown[name] === undefined ? "" : `, gradient ${format(shown[name])}`}`;
    });
    picture.setAttribute("aria-label", `Graph of f = a × relu(a × b + c). ${spoken.join("; ")}.`);
    const said = active ? sentence(done, values, gradients, edges) : "";
    status.textContent = done < ALL ? said : `${said} ${explain(values, edges, gradients)}`;
    INPUTS.forEach((name, i) => sliders[i].show(values[name]));
  }

  function drawEdge({ from, to, slope, contribution }, now, isCarried) {
    const { at, lanes, gap, end, turn: point } = LAYOUTS[layout];
    const { ports, [layout]: label } = EDGES[from + to];
    const [[stage, lane], [last, lastLane]] = [STAGES[from], STAGES[to]];
    const [start, across] = [at[0] + at[1] * stage + end, lanes[0] + lanes[1] * lane + ports[0]];
    const [stop, into] = [at[0] + at[1] * last - end, lanes[0] + lanes[1] * lastLane + ports[1]];
    const bend = [point(stop - gap / 2, across), point(stop - gap / 2, into), point(stop, into)].join(" ");
    const back = now.to === to && now.back;
    const [tip, side, length] = back ? [start, across, 9] : [stop, into, -9];
    const moves = now.to === to ? (back ? "backward" : "forward") : "";
    const [x, y, anchor] = label;
    const text = (dy, css, content) => svg("text", { x, y: y + dy, "text-anchor": anchor, class: css }, content);
    return svg(
      "g",
      { class: `edge ${moves} ${isCarried && slope === 0 ? "closed" : ""}` },
      svg("path", { d: `M${point(start, across)}L${point(stop - gap, across)}C${bend}` }),
      svg("path", {
        d: `M${point(tip, side)}L${point(tip + length, side - 5)}L${point(tip + length, side + 5)}Z`,
        class: "tip",
      }),
      ...(isCarried ? [text(0, "", `× ${format(slope)}`), text(14, "carried", `\u2190 ${format(contribution)}`)] : []),
    );
  }

  function drawNode(name, now, value, gradient) {
    const { at, lanes, box, turn: point } = LAYOUTS[layout];
    const [stage, lane] = STAGES[name];
    const middle = point(at[0] + at[1] * stage, lanes[0] + lanes[1] * lane);
    const [w, h] = box;
    const row = (top, css, label, number) => [
      svg("rect", { x: 1 - w / 2, y: top, width: w - 2, height: 20, class: css }),
      svg("text", { x: 6 - w / 2, y: top + 14.5, class: "quiet" }, label),
      svg("text", { x: w / 2 - 6, y: top + 14.5, class: "number" }, number === undefined ? "" : short(number)),
    ];
    const operation = GRAPH.find((node) => node.name === name);
    return svg(
      "g",
      { class: `node ${now.to === name ? "active" : ""}`, transform: `translate(${middle})`, "data-name": name },
      ...row(h / 2 - 41, "data", "data", value),
      ...row(h / 2 - 21, "grad", "grad", gradient),
      svg("rect", { x: -w / 2, y: -h / 2, width: w, height: h, rx: 7, class: "box" }),
      svg("text", { y: (h < 70 ? 17 : 19) - h / 2, class: "name" }, operation ? `${name} = ${operation.text}` : name),
    );
  }

  for (const name of INPUTS) model.on(`change:${name}`, showAll);
  const carries = "\u2190 what it carries back, that times the gradient of the node it leads to.";
  el.append(
    frame(
      "graph",
      "a computation graph, forward and backward",
      html("div", { class: "inputs" }, ...sliders),
      picture,
      buttons,
      status,
      html("p", { class: "hint" }, `On each edge: × its local derivative; ${carries}`),
    ),
  );
  new ResizeObserver(([{ contentRect }]) => {
    const wanted = contentRect.width < NARROW ? "tall" : "wide";
    if (wanted === layout) return;
    layout = wanted;
    draw();
  }).observe(buttons);
  draw();
}

/** What step number `done` is about: the node `to`, and whether gradients go back from it. */
function stepAt(done) {
  if (done <= FORWARD) return { to: GRAPH[done - 1].name, back: false };
  if (done === FORWARD + 1) return { to: "f", back: false, seed: true };
  return { to: GRAPH[ALL - done].name, back: true };
}

/** A number that fits into a box: two digits, one from 100 on. */
const short = (x) => format(x, Math.abs(x) < 99.995 ? 2 : 1);

/** A number inside a formula. */
const inner = (x) => (x < 0 ? `(${format(x)})` : format(x));

/** What step number `done` computes, in a sentence. */
function sentence(done, values, gradients, edges) {
  const { to, back, seed } = stepAt(done);
  if (seed) return "Backward starts: the gradient of f with respect to itself is 1.";
  const { parents, text, says } = GRAPH.find(({ name }) => name === to);
  if (!back) {
    const numbers = text.replace(/\b[a-fr]\b/g, (name) => inner(values[name]));
    return `Forward at ${to}: ${text} = ${numbers} = ${format(values[to])}.`;
  }
  const parts = parents.map((from, i) => {
    const { slope, contribution, total } = edges.find((edge) => edge.from === from && edge.to === to);
    const product = `${says?.[i] ?? format(slope, 0)} × ${inner(gradients[to])} = ${format(contribution)}`;
    const again = to !== edges.find((edge) => edge.from === from).to; // another edge came first
    return again ? `a's gradient grows by ${product}, to ${format(total)}` : `gradient of ${from} gets ${product}`;
  });
  return `Backward at ${to}: ${parts.join("; ")}.`;
}

/** What is special about these values: a ReLU that is closed, or the two ways back to a. */
function explain(values, edges, gradients) {
  const [throughF, throughD] = ["f", "d"].map((to) => edges.find((edge) => edge.from === "a" && edge.to === to));
  const closed = "the ReLU is closed: r and its slope are 0, so the gradients of a, b and c are all 0.";
  if (values.e <= 0) return `e is ${values.e < 0 ? "below 0" : "0"}: ${closed}`;
  const sum = `${format(throughF.contribution)} + ${inner(throughD.contribution)} = ${format(gradients.a)}`;
  return `a is used twice, so its gradient is a sum: ${sum}, through f and through d.`;
}

export default { render };
