// Standard Markdown (the `markdown` block and streamed answers) as DOM nodes; HTML in it is shown as text.

import { el, link } from "./dom.js";
import { emoji } from "./emoji.js";
import { channelMention, userMention } from "./mrkdwn.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const DELIMITER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
// Deeper nesting than any answer needs; a hostile text must not exhaust the stack.
const DEEPEST = 20;

/** Render Markdown. `names` resolves Slack ids. */
export function markdown(source, names, depth = 0) {
  const rows = String(source ?? "").replace(/\r\n?/g, "\n").split("\n");
  const nodes = [];
  for (let at = 0; at < rows.length; ) {
    const block = rows[at].trim() === "" ? { length: 1 } : blockAt(rows, at, names, depth);
    if (block.node) nodes.push(block.node);
    at += block.length;
  }
  return nodes;
}

function blockAt(rows, at, names, depth) {
  return fence(rows, at)
    ?? heading(rows, at, names)
    ?? (RULE.test(rows[at]) ? { node: el("hr", { class: "divider" }), length: 1 } : null)
    ?? (depth < DEEPEST ? quote(rows, at, names, depth) ?? list(rows, at, names, depth) : null)
    ?? table(rows, at, names)
    ?? paragraph(rows, at, names);
}

function fence(rows, at) {
  const open = FENCE.exec(rows[at]);
  if (!open) return null;
  let end = at + 1;
  const closing = new RegExp(`^ {0,3}${open[1][0]}{${open[1].length},}\\s*$`);
  while (end < rows.length && !closing.test(rows[end])) end += 1;
  const language = open[2].trim().split(/\s/)[0];
  const code = el("pre", { class: "code-block", data: { language } }, el("code", {}, rows.slice(at + 1, end).join("\n")));
  return { node: code, length: Math.min(end, rows.length - 1) - at + 1 };
}

function heading(rows, at, names) {
  const match = HEADING.exec(rows[at]);
  if (!match) return null;
  // The page itself owns h1 and h2.
  return { node: el(`h${Math.min(match[1].length + 2, 6)}`, { class: `md-heading md-h${match[1].length}` }, span(match[2], names)), length: 1 };
}

function quote(rows, at, names, depth) {
  let end = at;
  while (end < rows.length && /^ {0,3}>/.test(rows[end])) end += 1;
  if (end === at) return null;
  const inner = rows.slice(at, end).map((row) => row.replace(/^ {0,3}> ?/, "")).join("\n");
  return { node: el("blockquote", { class: "quote" }, markdown(inner, names, depth + 1)), length: end - at };
}

function list(rows, at, names, depth) {
  const first = ITEM.exec(rows[at]);
  if (!first) return null;
  const indent = first[1].length;
  const ordered = /\d/.test(first[2]);
  const items = [];
  let end = at;
  while (end < rows.length && belongsToList(rows, end, indent, ordered)) {
    const item = ITEM.exec(rows[end]);
    if (item && item[1].length <= indent + 1) items.push([item[3]]);
    else items.at(-1).push(rows[end]);
    end += 1;
  }
  while (items.at(-1).at(-1) === "") items.at(-1).pop();
  const options = { class: "list", start: ordered ? String(Number.parseInt(first[2], 10)) : null };
  return { node: el(ordered ? "ol" : "ul", options, items.map((item) => listItem(item, names, depth))), length: end - at };
}

function belongsToList(rows, at, indent, ordered) {
  const row = rows[at];
  const item = ITEM.exec(row);
  if (item && item[1].length <= indent + 1) return item[1].length >= indent - 1 && /\d/.test(item[2]) === ordered && !RULE.test(row);
  if (row.trim() === "") return at + 1 < rows.length && /^\s{2,}\S/.test(rows[at + 1]) || ITEM.exec(rows[at + 1] ?? "")?.[1].length === indent && /\d/.test(ITEM.exec(rows[at + 1])[2]) === ordered;
  return /^\s{2,}/.test(row) || item !== null && item[1].length > indent;
}

function listItem([first, ...rest], names, depth) {
  const task = /^\[([ xX])\]\s+(.*)$/.exec(first);
  const lead = task ? [el("span", { class: "task-box", text: task[1] === " " ? "☐" : "☑" }), " ", span(task[2], names)] : span(first, names);
  const strip = Math.min(...rest.filter((row) => row.trim()).map((row) => row.search(/\S/)), 8);
  const inner = rest.map((row) => row.slice(Math.min(strip, row.length))).join("\n");
  return el("li", {}, lead, inner.trim() ? markdown(inner, names, depth + 1) : null);
}

function cells(row) {
  const text = row.trim().replace(/^\|/, "").replace(/\|$/, "");
  return text.split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/\\\|/g, "|"));
}

function table(rows, at, names) {
  if (!rows[at].includes("|") || at + 1 >= rows.length || !rows[at + 1].includes("-") || !DELIMITER.test(rows[at + 1])) return null;
  const head = cells(rows[at]);
  const aligns = cells(rows[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "left"));
  if (aligns.length !== head.length) return null;
  let end = at + 2;
  while (end < rows.length && rows[end].includes("|") && rows[end].trim()) end += 1;
  const cell = (tag, text, column) => el(tag, { class: `align-${aligns[column] ?? "left"}` }, span(text ?? "", names));
  const body = rows.slice(at + 2, end).map((row) => el("tr", {}, head.map((_, column) => cell("td", cells(row)[column], column))));
  const node = el("table", { class: "table" }, el("thead", {}, el("tr", {}, head.map((text, column) => cell("th", text, column)))), el("tbody", {}, body));
  return { node: el("div", { class: "table-scroll" }, node), length: end - at };
}

function paragraph(rows, at, names) {
  let end = at + 1;
  while (end < rows.length && rows[end].trim() && !startsBlock(rows, end)) end += 1;
  const children = rows.slice(at, end).flatMap((row, index) => (index ? [el("br"), span(row.trim(), names)] : [span(row.trim(), names)]));
  return { node: el("p", { class: "md-paragraph" }, children), length: end - at };
}

function startsBlock(rows, at) {
  return FENCE.test(rows[at]) || HEADING.test(rows[at]) || RULE.test(rows[at]) || ITEM.test(rows[at]) || /^ {0,3}>/.test(rows[at])
    || (rows[at].includes("|") && DELIMITER.test(rows[at + 1] ?? ""));
}

// --- inside a line ---------------------------------------------------------------------------------------------------

const PATTERNS = [
  [/^\\([\\`*_{}[\]()#+\-.!|~<>:])/, (m) => m[1]],
  [/^(`+)(.+?)\1(?!`)/s, (m) => el("code", { class: "code", text: m[2].replace(/^ (.*) $/, "$1") })],
  [/^\*\*(?=\S)(.+?)(?<=\S)\*\*(?!\*)/, (m, names) => el("strong", {}, span(m[1], names))],
  [/^__(?=\S)(.+?)(?<=\S)__(?![\p{L}\p{N}])/u, (m, names) => el("strong", {}, span(m[1], names))],
  [/^~~(?=\S)(.+?)(?<=\S)~~/, (m, names) => el("del", {}, span(m[1], names))],
  [/^\*(?![\s*])(.+?)(?<![\s*])\*(?!\*)/, (m, names) => el("em", {}, span(m[1], names))],
  [/^_(?![\s_])(.+?)(?<![\s_])_(?![\p{L}\p{N}_])/u, (m, names) => el("em", {}, span(m[1], names))],
  [/^!?\[([^\[\]]*)\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+["'][^"']*["'])?\s*\)/, (m, names) => link(m[2], m[1] ? span(m[1], names) : m[2])],
  [/^<@([A-Z0-9]+)(?:\|[^>]*)?>/, (m, names) => userMention(m[1], names)],
  [/^<#([A-Z0-9]+)(?:\|[^>]*)?>/, (m, names) => channelMention(m[1], names)],
  [/^<(https?:\/\/[^\s<>|]+)(?:\|([^<>]*))?>/, (m) => link(m[1], m[2] || m[1])],
  [/^https?:\/\/[^\s<>"'`|]+[^\s<>"'`|.,;:!?)\]}*_~]/, (m) => link(m[0], m[0])],
  [/^:([a-z0-9_+'-]{1,60}):/, (m) => (emoji(m[1]).startsWith(":") ? m[0] : el("span", { class: "emoji", title: m[0], text: emoji(m[1]) }))],
  [/^&(amp|lt|gt|quot|#39);/, (m) => ({ amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" })[m[1]]],
];
const STARTERS = new Set("\\`*_~![<h:&");

function span(text, names) {
  const nodes = [];
  let plain = "";
  for (let at = 0; at < text.length; ) {
    const found = STARTERS.has(text[at]) && allowedHere(text, at) ? match(text.slice(at), names) : null;
    if (found) {
      nodes.push(plain, found.node);
      plain = "";
      at += found.length;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  return [...nodes, plain];
}

// Underscores and addresses inside a word are text: snake_case, xhttp://…
function allowedHere(text, at) {
  return !("_h".includes(text[at]) && at > 0 && /[\p{L}\p{N}_]/u.test(text[at - 1]));
}

function match(rest, names) {
  for (const [pattern, build] of PATTERNS) {
    const found = pattern.exec(rest);
    if (found) return { node: build(found, names), length: found[0].length };
  }
  return null;
}
