/* Lays out bit by bit what lies outside the window: a chapter has some ten thousand elements, and all at once they keep a
   phone busy for a second. The class "unfinished", which a line in the page's head sets (book_site.py), has book.css leave
   out what is far away; this script brings it in, block by block. */
(() => {
  const SLICE = 8; // milliseconds; a phone takes some four times as long, and a wait of up to 50 nobody feels
  const page = document.documentElement;
  if (!page.classList.contains("unfinished")) return;
  const blocks = [...document.querySelectorAll(".bd-article section > *")];
  const soon = window.requestIdleCallback ?? setTimeout;

  function layOut() {
    const end = performance.now() + SLICE;
    while (blocks.length && performance.now() < end) {
      const block = blocks.shift();
      block.style.contentVisibility = "visible";
      block.getBoundingClientRect(); // now, within this slice
    }
    // The class stays: to remove it would cost as much as all slices.
    blocks.length ? soon(layOut) : setTimeout(() => dispatchEvent(new Event("load")));
  }

  // At this event the theme's scripts measure every block, and have it laid out at once. They get it when all is ready.
  const delay = (event) => {
    event.stopImmediatePropagation();
    soon(layOut);
  };
  addEventListener("load", delay, { once: true });

  // Who goes to a place in the page, or prints it, needs the true height of all that lies above.
  function finish() {
    page.classList.remove("unfinished");
    blocks.length = 0;
  }
  document.addEventListener("click", (event) => event.target.closest('a[href*="#"]') && finish(), { capture: true });
  addEventListener("beforeprint", finish);
})();
