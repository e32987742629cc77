// The box that greets a first visitor: the main job in three steps, each a click away.

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { botHasSpoken, people } from "./store.js";

const DISMISSED = "workbench.hints.dismissed";

/** Whether this browser has not yet dismissed the hints. */
export function isFirstVisit() {
  try {
    return localStorage.getItem(DISMISSED) !== "yes";
  } catch {
    return true;
  }
}

function remember() {
  try {
    localStorage.setItem(DISMISSED, "yes");
  } catch {
    // A browser without storage greets again next time.
  }
}

/** Draw the hints; `fillComposer(text)` puts an example into the composer, `actAs(id)` switches the person. */
export function drawHints(node, store, { fillComposer, actAs, dismiss }) {
  const { state, local } = store;
  node.hidden = !local.hints || local.home;
  node.classList.toggle("hints-compact", botHasSpoken(state));
  const shape = JSON.stringify([local.hints, state.bot.name, people(state), local.actor]);
  if (node.dataset.shape === shape) return;
  node.dataset.shape = shape;
  const [first, second] = people(state);
  const other = local.actor === first?.id ? second : first;
  const example = (label, text) => el("button", { type: "button", class: "example", data: { example: text }, on: { click: () => fillComposer(text) } }, el("code", { text }), el("span", { class: "quiet", text: label }));
  fill(node,
    el("button", { type: "button", class: "icon-button hints-close", "aria-label": "Hide these hints", on: { click: () => { remember(); dismiss(); } } }, icon("close", 16)),
    el("h2", { class: "hints-title", text: "Try the main job" }),
    el("p", { class: "hints-text" }, `You play everybody here: ask ${state.bot.name} as one person, then approve as another. No Slack account is involved.`),
    el("div", { class: "examples" },
      example("looks, and answers with evidence", `@${state.bot.name} how is this machine?`),
      example("proposes one action and waits", `@${state.bot.name} restart the demo service`),
      example("everything that works without a model", "/ops help")),
    other ? el("p", { class: "hints-text hints-last" }, "When a card waits for approval, ",
      el("button", { type: "button", class: "inline-button", text: `act as ${other.name}`, on: { click: () => actAs(other.id) } }), " and press Approve in the thread.") : null);
}
