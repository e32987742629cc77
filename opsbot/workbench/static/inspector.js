// The traffic between the workbench and the bot: frames, calls and acknowledgements with their JSON.

import { read } from "./connection.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { moment } from "./moments.js";

const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false });
const SHOWN = 300;

/** The dock at the bottom of the page. */
export class Inspector {
  constructor(store, close) {
    this.store = store;
    this.filter = "";
    this.picked = null;
    this.loaded = false;
    this.search = el("input", { type: "search", class: "field inspector-search", placeholder: "Filter: chat.postMessage, block_actions…", "aria-label": "Filter traffic" });
    this.search.addEventListener("input", () => {
      this.filter = this.search.value.toLowerCase();
      this.shape = "";
      this.draw();
    });
    this.list = el("div", { class: "traffic", role: "listbox", "aria-label": "Traffic", tabindex: "0" });
    this.detail = el("div", { class: "traffic-detail", tabindex: "0" }, el("p", { class: "empty-note", text: "Choose a line to see its JSON." }));
    this.count = el("span", { class: "quiet" });
    this.node = el("section", { class: "inspector", "aria-label": "Inspector" },
      el("header", { class: "inspector-head" }, el("h2", { class: "pane-title", text: "Traffic" }), this.count, this.search,
        el("button", { type: "button", class: "button button-quiet", text: "Clear", on: { click: () => { store.log.length = 0; store.changed(); } } }),
        el("button", { type: "button", class: "icon-button", "aria-label": "Close the inspector", on: { click: close } }, icon("close"))),
      el("div", { class: "inspector-body" }, this.list, this.detail));
  }

  /** Draw the entries if the inspector is open. */
  async draw() {
    if (!this.store.local.inspector) return;
    if (!this.loaded) await this.#load();
    const { log } = this.store;
    const shape = `${log.length}/${log.at(-1)?.at}/${this.filter}`;
    if (shape === this.shape) return;
    this.shape = shape;
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 60;
    const fitting = log.filter((entry) => !this.filter || `${entry.kind} ${entry.name} ${entry.summary}`.toLowerCase().includes(this.filter));
    this.count.textContent = `${fitting.length} of ${log.length}`;
    fill(this.list, fitting.slice(-SHOWN).map((entry) => this.#line(entry)));
    if (atEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  async #load() {
    this.loaded = true;
    const answer = await read("log");
    const entries = Array.isArray(answer) ? answer : answer?.log ?? answer?.entries ?? [];
    const live = this.store.log;
    this.store.log = [...entries.filter((entry) => !live.some((known) => known.at === entry.at && known.name === entry.name)), ...live];
  }

  #line(entry) {
    const failed = entry.response?.ok === false;
    const toBot = entry.direction === "out";
    const node = el("button", { type: "button", role: "option", class: `traffic-line${failed ? " traffic-failed" : ""}`, "aria-selected": String(entry === this.picked) },
      el("span", { class: "traffic-time", text: seconds.format(moment(entry.at)) }),
      el("span", { class: `traffic-way ${toBot ? "way-out" : "way-in"}`, title: toBot ? "to the bot" : "from the bot", text: toBot ? "→" : "←" }),
      el("span", { class: "traffic-name", text: entry.name }),
      el("span", { class: "traffic-kind", text: entry.kind }),
      el("span", { class: "traffic-summary", text: entry.summary ?? "" }),
      el("span", { class: "traffic-ms", text: Number.isFinite(entry.ms) ? `${Math.round(entry.ms)} ms` : "" }));
    node.addEventListener("click", () => {
      this.picked = entry;
      this.list.querySelectorAll("[aria-selected=true]").forEach((other) => other.setAttribute("aria-selected", "false"));
      node.setAttribute("aria-selected", "true");
      fill(this.detail, part("Body", entry.body), part("Response", entry.response));
    });
    return node;
  }
}

function part(title, value) {
  if (value === null || value === undefined) return null;
  return [el("h3", { class: "traffic-title", text: title }), el("pre", { class: "json" }, coloured(JSON.stringify(value, null, 2)))];
}

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

function coloured(json) {
  const nodes = [];
  let from = 0;
  for (const match of json.matchAll(TOKEN)) {
    const [whole, string, colon, word] = match;
    const kind = string ? (colon ? "json-key" : "json-string") : word ? "json-word" : "json-number";
    nodes.push(json.slice(from, match.index), el("span", { class: kind, text: string ?? whole }), colon ?? "");
    from = match.index + whole.length;
  }
  return [...nodes, json.slice(from)];
}
