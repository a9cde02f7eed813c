// Sorts tables and chooses layers. All else works without a script.
"use strict";

// What a cell says, as something to compare: the number that it begins with, or its text. A dash says nothing.
const worth = (cell, numeric) => {
  const text = cell.textContent.trim();
  if (text === "–" || text === "") return null;
  if (!numeric) return text;
  const number = Number.parseFloat(text.replaceAll(",", "").replace("−", "-"));
  return Number.isNaN(number) ? null : number;
};

const order = new Intl.Collator("en", { numeric: true }).compare;

// Sorts the rows below `header` by its column; what says nothing comes last, whichever way round.
const sort = (table, header) => {
  const ascends = header.ariaSort === "none" ? !header.matches(".falling") : header.ariaSort !== "ascending";
  const [numeric, column, sign] = [!header.matches(".word"), header.cellIndex, ascends ? 1 : -1];
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, worth: worth(row.cells[column], numeric) }));
  rows.sort((a, b) => {
    if (a.worth === null || b.worth === null) return (a.worth === null) - (b.worth === null);
    return sign * (numeric ? a.worth - b.worth : order(a.worth, b.worth));
  });
  body.replaceChildren(...rows.map(({ row }) => row));
  for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
  header.ariaSort = ascends ? "ascending" : "descending";
};

for (const table of document.querySelectorAll("table.rows")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
    header.ariaSort = "none";
  }
}

// Hides the results of other layers, and rows that are left without any.
const layers = document.querySelector("#layer");
layers?.addEventListener("change", () => {
  // The first choice is all; a layer may have an empty name.
  const all = layers.selectedIndex === 0;
  for (const row of document.querySelectorAll(".row-group .plates")) {
    const results = [...row.querySelectorAll("[data-layer]")];
    for (const result of results) {
      result.hidden = !all && result.dataset.layer !== layers.value;
    }
    row.hidden = results.every((result) => result.hidden);
  }
});
