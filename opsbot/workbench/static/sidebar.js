// The list of places: channels, the direct message with the bot, and the App Home.

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { channelsOf, visibleMessages } from "./store.js";

/** Draw the sidebar; `open(channelId)` and `openHome()` are called for a chosen place. */
export function drawSidebar(node, store, { open, openHome }) {
  const { state, local } = store;
  const { channels, direct } = channelsOf(state, local.actor);
  const entry = (channel, face, label) => place({
    face, label, current: !local.home && local.channel === channel.id, unread: unread(store, channel.id),
    data: { channel: channel.id, place: label }, action: () => open(channel.id),
  });
  const shape = JSON.stringify([state.team, state.bot, channels, direct, local.actor, local.home, local.channel, [...channels, direct].map((channel) => channel && unread(store, channel.id))]);
  if (node.dataset.shape === shape) return;
  const focused = document.activeElement?.dataset?.place;
  node.dataset.shape = shape;
  fill(node,
    el("div", { class: "brand" }, el("span", { class: "brand-mark" }, icon("prompt", 20)), el("span", {}, el("b", { text: "Workbench" }), el("small", { text: "a local stand-in for Slack" }))),
    el("h2", { class: "sidebar-title", text: "Channels" }),
    channels.map((channel) => entry(channel, icon("hash", 16), channel.name)),
    el("h2", { class: "sidebar-title", text: "App" }),
    direct ? entry(direct, icon("chat", 16), state.bot.name) : null,
    place({ face: icon("home", 16), label: "App Home", current: local.home, unread: false, data: { place: "App Home" }, action: openHome }),
    el("div", { class: "sidebar-foot" }, botLight(state)));
  if (focused) node.querySelector(`[data-place="${CSS.escape(focused)}"]`)?.focus();
}

function place({ face, label, current, unread: isUnread, data, action }) {
  return el("button", {
    type: "button", class: `place${isUnread ? " place-unread" : ""}`, "aria-current": current ? "page" : null, data, on: { click: action },
  }, face, el("bdi", { class: "place-name", text: label }), isUnread ? el("span", { class: "unread-dot", title: "New messages" }) : null);
}

function botLight(state) {
  const { online, name } = state.bot;
  return el("div", { class: `bot-light ${online ? "is-online" : "is-offline"}`, role: "status", data: { bot: online ? "online" : "offline" } },
    el("span", { class: "light" }), el("span", {}, `${name} is ${online ? "online" : "offline"}`));
}

function unread(store, channel) {
  const last = visibleMessages(store.state, channel, store.local.actor).at(-1);
  const seen = store.local.seen[`${store.local.actor}/${channel}`] ?? "0";
  return Boolean(last) && last.user !== store.local.actor && Number(last.ts) > Number(seen);
}

/** Remember that the acting person has seen everything in the open channel. */
export function markSeen(store) {
  const { state, local } = store;
  if (local.home || !local.channel) return;
  const last = visibleMessages(state, local.channel, local.actor).at(-1);
  if (last) local.seen[`${local.actor}/${local.channel}`] = last.ts;
}
