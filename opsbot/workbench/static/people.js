// Avatars, and the "Acting as" switcher.

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { hueOf, people } from "./store.js";

/** A person's or bot's picture: initials on the person's colour, or the bot's own sign. */
export function avatar(state, userId, size = "normal", isBot = false) {
  const user = state.users.find((item) => item.id === userId);
  const bot = isBot || user?.is_bot || userId === state.bot.id;
  const classes = `avatar avatar-${size} hue-${bot ? "bot" : hueOf(state, userId)}`;
  return el("span", { class: classes, "aria-hidden": "true" }, bot ? icon("prompt", size === "small" ? 13 : 22) : initials(user));
}

function initials(user) {
  const words = (user?.real_name || user?.name || "?").replace(/\(.*\)/, "").trim().split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...word][0] ?? "").join("").toUpperCase();
}

/** Draw the switcher; `choose(userId)` is called with the person to act as. */
export function drawSwitcher(node, store, choose) {
  const { state, local } = store;
  const shape = JSON.stringify([people(state), local.actor]);
  if (node.dataset.shape === shape) return;
  const focused = node.contains(document.activeElement);
  node.dataset.shape = shape;
  fill(node, el("span", { class: "switcher-label", text: "Acting as" }),
    el("div", { class: "switcher-people", role: "group", "aria-label": "Acting as" }, people(state).map((user) => person(state, user, local.actor, choose))));
  if (focused) node.querySelector("[aria-pressed=true]")?.focus();
}

function person(state, user, actor, choose) {
  const mine = user.id === actor;
  return el("button", {
    type: "button", class: `switch hue-${hueOf(state, user.id)}`, "aria-pressed": String(mine), title: `Act as ${user.real_name || user.name}`,
    data: { user: user.id, name: user.name }, on: { click: () => choose(user.id) },
  }, avatar(state, user.id, "small"), el("bdi", { class: "switch-name", text: user.name }));
}
