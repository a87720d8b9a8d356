"use strict";
// Tables of a section "interactive": headings sort, boxes above filter. Nothing is loaded or sent.
for (const figure of document.querySelectorAll(".interactive figure.table")) {
  const table = figure.querySelector("table"), body = table.tBodies[0], rows = [...body.rows];
  const last = table.tHead.rows[table.tHead.rows.length - 1], heads = [...last.cells];
  const number = (cell) => {
    const found = cell.textContent.replace(/−/g, "-").replace(/,/g, "").match(/-?\d+(\.\d+)?/);
    return found ? parseFloat(found[0]) : null;
  };
  heads.forEach((head, j) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = head.classList.contains("left");
      const keys = new Map(rows.map((row) => [row, text ? row.cells[j].textContent : number(row.cells[j])]));
      rows.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return (text ? x.localeCompare(y) : x - y) * (up ? 1 : -1);
      });
      body.append(...rows);
    });
  });
  const bar = document.createElement("div"), chosen = new Map();
  bar.className = "filters";
  const count = document.createElement("span");
  count.setAttribute("aria-live", "polite");
  const apply = () => {
    let shown = 0;
    for (const row of rows) {
      let keep = true;
      for (const [j, wanted] of chosen) {
        const text = j < 0 ? row.textContent.toLowerCase() : row.cells[j].textContent;
        if (wanted && (j < 0 ? !text.includes(wanted) : text !== wanted)) keep = false;
      }
      row.hidden = !keep;
      shown += keep;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  const add = (name, control, j) => {
    const label = document.createElement("label");
    label.append(name + " ", control);
    control.addEventListener("input", () => { chosen.set(j, j < 0 ? control.value.toLowerCase() : control.value); apply(); });
    bar.append(label);
  };
  add("find", Object.assign(document.createElement("input"), { type: "search" }), -1);
  heads.forEach((head, j) => {
    if (!head.classList.contains("left")) return;
    const values = [...new Set(rows.map((row) => row.cells[j].textContent))].sort();
    if (values.length < 2 || values.length > 60) return;
    const select = document.createElement("select");
    select.append(new Option("all", ""), ...values.filter((value) => value).map((value) => new Option(value, value)));
    add(head.textContent, select, j);
  });
  bar.append(count);
  figure.prepend(bar);
  apply();
}
