// `table` and `data_table` blocks as HTML tables.

import { el } from "./dom.js";
import { plainText, unescaped } from "./mrkdwn.js";
import { richText } from "./richtext.js";

const ALIGNS = new Set(["left", "center", "right"]);
// Words up to this length stay whole, and the table scrolls instead; longer ones (checksums, paths) are broken.
const WHOLE_WORD = 24;

/** Render a table block; its first row is the heading. */
export function table(block, names) {
  const settings = block.column_settings ?? [];
  const [head, ...rows] = block.rows ?? [];
  return scroller(head ?? [], rows, (cell, column) => classes(cell, settings[column]), names);
}

/** Render a data_table block: a caption over rows, or columns named apart from the rows. */
export function dataTable(block, names) {
  const columns = block.columns?.map((column) => ({ type: "raw_text", text: plainText(column.title ?? column.name ?? column.label) }));
  const [first, ...rest] = block.rows ?? [];
  const cells = (row) => (Array.isArray(row) ? row : row?.cells ?? []);
  const head = columns ?? cells(first);
  const rows = columns ? block.rows ?? [] : rest;
  const node = scroller(head, rows.map(cells), (cell) => classes(cell, undefined), names);
  const caption = plainText(block.caption ?? block.title);
  if (caption) node.prepend(el("div", { class: "table-caption", text: caption }));
  return node;
}

function scroller(head, rows, classOf, names) {
  const cell = (tag, data, column) => el(tag, { class: classOf(data, column), scope: tag === "th" ? "col" : null }, cellContent(data, names));
  return el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table" }, el("table", { class: "table" },
    el("thead", {}, el("tr", {}, head.map((data, column) => cell("th", data, column)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((data, column) => cell("td", data, column)))))));
}

function classes(cell, setting) {
  const align = ALIGNS.has(setting?.align) ? setting.align : cell?.type === "raw_number" ? "right" : "left";
  const long = String(cell?.text ?? "").split(/[\s/-]/).some((word) => word.length > WHOLE_WORD);
  return `align-${align}${setting?.is_wrapped ? " wrapped" : ""}${long ? " long" : ""}`;
}

function cellContent(cell, names) {
  if (cell === null || cell === undefined) return "";
  if (typeof cell !== "object") return String(cell);
  if (cell.type === "rich_text") return richText(cell, names);
  if (cell.type === "raw_number") return String(cell.text ?? cell.value ?? "");
  return unescaped(String(cell.text ?? cell.value ?? ""));
}
