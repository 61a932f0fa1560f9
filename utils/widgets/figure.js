/* What the interactive figures share. utils/widgets.py puts this text in place of a figure's import of it. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with attributes and children (elements or text). */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The outermost element of a figure: a labelled group that adapts to its own width, as figure.css says. */
export function frame(css, label, ...children) {
  const about = { class: `bookfig ${css}`, role: "group", "aria-label": `Interactive figure: ${label}` };
  // JupyterLab would otherwise take the arrow keys for moving from cell to cell.
  return html("div", { class: "bookfig-frame", "data-lm-suppress-shortcuts": "true" }, html("div", about, ...children));
}

/** x with a fixed number of digits, a real minus sign, and no minus before a zero. */
export function format(x, digits = 2) {
  const text = Math.abs(x).toFixed(digits);
  return x < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}

const raised = (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)];
export const power = (k) => `10${[...String(k)].map(raised).join("")}`;

/** x with so many digits that count: 0.0123, or 1.23·10⁻⁴ where it is small and 1.23·10⁴ where it is large. */
export function significant(x, digits) {
  const plain = x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1000);
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  const text = plain ? String(Number(x.toPrecision(digits))) : `${mantissa}·${power(Number(exponent))}`;
  return text.replace("-", "\u2212");
}

export const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/** A labelled range input; `report(value)` is called while it moves. Its `show(value)` sets it;
    a second argument is shown and read out in place of the value. */
export function slider(label, { min, max, step }, report) {
  const input = html("input", { type: "range", min, max, step });
  const shown = html("span", { class: "shown", "aria-hidden": "true" }); // the input announces its value itself
  const element = html("label", { class: "slider" }, html("span", {}, label), input, shown);
  input.addEventListener("input", () => report(input.valueAsNumber));
  element.show = (value, text = format(value, 1)) => {
    input.value = value;
    input.setAttribute("aria-valuetext", text);
    shown.textContent = text;
  };
  return element;
}

/** A button that calls press() when it is pressed. */
export function button(label, press, css = "") {
  const element = html("button", { type: "button", class: css }, label);
  element.addEventListener("click", press);
  return element;
}

/** Make an SVG element a slider for keyboard and screen reader. report(value) gets the value that a key asks for. */
export function keySlider(element, label, { min, max, step, page }, current, report) {
  fill(element, { role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": min, "aria-valuemax": max }, []);
  const moves = {
    ArrowUp: () => current() + step,
    ArrowRight: () => current() + step,
    ArrowDown: () => current() - step,
    ArrowLeft: () => current() - step,
    PageUp: () => current() + page,
    PageDown: () => current() - page,
    Home: () => min,
    End: () => max,
  };
  element.addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    report(clamp(moves[event.key](), min, max));
  });
}

/** Follow a pointer from its press on `target` until it lets go: move({x, y}) in the coordinates of the viewBox of
    `picture`. accepts(pointerType): whether a "mouse", "pen" or "touch" may drag here; where touch may not, a finger
    scrolls. */
export function drag(target, picture, accepts, move, end) {
  const place = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
  target.addEventListener("pointerdown", (event) => {
    if (!accepts(event.pointerType)) return;
    event.preventDefault();
    target.setPointerCapture(event.pointerId);
    move(place(event));
  });
  target.addEventListener("pointermove", (event) => {
    if (target.hasPointerCapture(event.pointerId)) move(place(event));
  });
  target.addEventListener("lostpointercapture", end);
  // Chromium heeds the style touch-action on no part of an SVG: this keeps the page still under the finger.
  const keepStill = (event) => accepts("touch") && event.preventDefault();
  target.addEventListener("touchstart", keepStill, { passive: false });
}

/** Call frame(t) with t from 0 to 1 in `milliseconds`; at once with t = 1 for a reader who wants no motion. */
export function animate(milliseconds, frame) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return frame(1);
  const start = performance.now();
  const tick = (now) => {
    const t = clamp((now - start) / milliseconds, 0, 1);
    frame(t);
    if (t < 1) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}
