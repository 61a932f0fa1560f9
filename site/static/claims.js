// The claims page's table: sorted by a click on a heading, filtered by words, chapter and data. Without this script the
// table stands as it is, in the book's order.
(() => {
  const element = (tag, properties, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  function enhance(table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const column = Object.fromEntries([...table.tHead.rows[0].cells].map((cell, i) => [cell.textContent, i]));
    const text = (row, name) => row.cells[column[name]].textContent.trim();
    const count = element("p", { className: "count" });
    count.setAttribute("role", "status");

    const words = element("input", { type: "search", placeholder: "words" });
    const chooser = (name) => {
      const values = [...new Set(rows.map((row) => text(row, name)))].filter(Boolean);
      return element("select", {}, new Option("all", ""), ...values.map((value) => new Option(value, value)));
    };
    const choices = { Chapter: chooser("Chapter"), Data: chooser("Data") };
    const verdict = element("select", {}, ...["all", "holds", "does not hold"].map((v, i) => new Option(v, i ? v : "")));

    const plain = (content) => content.toLowerCase().replaceAll("’", "'"); // as keyboards write it

    function filter() {
      const wanted = plain(words.value).split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const content = plain(row.textContent);
        const fits = Object.entries(choices).every(([name, { value }]) => !value || text(row, name) === value);
        const judged = row.querySelector(".verdict").getAttribute("aria-label");
        row.hidden = !(fits && (!verdict.value || judged === verdict.value) && wanted.every((w) => content.includes(w)));
      }
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
    }

    function sort(heading, name) {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = rows.map((row, i) => [text(row, name).replace(/^[✓✗]\s*/, ""), i, row]);
      order.sort(([a, i], [b, j]) => a.localeCompare(b, "en", { numeric: true }) * (down ? -1 : 1) || i - j);
      body.append(...order.map(([, , row]) => row));
    }

    for (const heading of table.tHead.rows[0].cells) {
      const name = heading.textContent;
      const button = element("button", { type: "button", onclick: () => sort(heading, name) }, name);
      heading.replaceChildren(button);
    }
    const labelled = (label, control) => element("label", {}, `${label} `, control);
    const controls = [labelled("Containing", words), ...Object.entries(choices).map((pair) => labelled(...pair))];
    const form = element("form", { className: "filter" }, ...controls, labelled("Verdict", verdict));
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    table.before(form, count);
    filter();
  }

  const start = () => document.querySelectorAll("table.claims").forEach(enhance);
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
