/* Mounts a page's interactive figures with no kernel: each widget-view script of the page names a model of the page's
   widget-state script, and the model carries its own module and style. A figure starts when the window comes near: what it
   computes first keeps a phone busy. Until it runs, and if it fails, its static picture stands in its place. A classic
   script, because a browser loads no module into a page opened from disk. */
(() => {
  /** The part of anywidget's model that a figure without a kernel can use. */
  function makeModel(state) {
    const listeners = new Map();
    const fire = (name, value) => (listeners.get(name) ?? []).slice().forEach((listener) => listener(model, value));
    const model = {
      get: (name) => state[name],
      set(name, value) {
        if (state[name] === value) return;
        state[name] = value;
        fire(`change:${name}`, value);
      },
      save_changes: () => fire("change"),
      on: (name, listener) => listeners.set(name, [...(listeners.get(name) ?? []), listener]),
      off: (name, listener) => listeners.set(name, (listeners.get(name) ?? []).filter((other) => other !== listener)),
    };
    return model;
  }

  async function mount(view, model, state) {
    const place = document.createElement("div");
    const url = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
    const { default: figure } = await import(url);
    URL.revokeObjectURL(url);
    await figure.render({ model, el: place });
    view.replaceWith(place);
    const frame = place.closest(".interactive");
    frame.classList.add("mounted");
    // The landing page's; where less motion is asked for, the figure shows the end at once.
    if (frame.dataset.play !== undefined) place.querySelector("button.main").click();
  }

  function mountAll() {
    const scripts = (kind) => document.querySelectorAll(`script[type="application/vnd.jupyter.widget-${kind}+json"]`);
    const { state } = JSON.parse(scripts("state")[0].text);
    const models = {};
    const styles = new Set();
    const starts = new Map();
    const near = new IntersectionObserver(
      (entries) => {
        for (const { target } of entries.filter(({ isIntersecting }) => isIntersecting)) {
          near.unobserve(target);
          starts.get(target)().catch((error) => console.error("An interactive figure could not start:", error));
        }
      },
      { rootMargin: "100% 0px" }, // a window's height above and below
    );
    for (const view of scripts("view")) {
      const id = JSON.parse(view.text).model_id;
      const own = state[id].state;
      styles.add(own._css);
      models[id] ??= makeModel(own);
      const frame = view.closest(".interactive");
      starts.set(frame, () => mount(view, models[id], own));
      near.observe(frame);
    }
    for (const textContent of styles) {
      document.head.append(Object.assign(document.createElement("style"), { textContent }));
    }
  }

  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", mountAll) : mountAll();
})();
