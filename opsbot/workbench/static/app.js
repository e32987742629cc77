// The page: builds the frame once, then draws every part from the store whenever it changes.

import { connect } from "./connection.js";
import { toast } from "./dialogs.js";
import { el, fill } from "./dom.js";
import { isFirstVisit } from "./hints.js";
import { icon } from "./icons.js";
import { Inspector } from "./inspector.js";
import { announceTab, ChannelPane, ThreadPane } from "./panes.js";
import { drawSwitcher } from "./people.js";
import { drawSidebar, markSeen } from "./sidebar.js";
import { channelsOf, createStore, hueOf, people } from "./store.js";
import { Modals } from "./views.js";

const store = createStore();
store.local.hints = isFirstVisit();
store.onNotice = ({ user, text }) => {
  if (!user || user === store.local.actor) toast(text, "warning");
};

function openThread(ts, { focus = false } = {}) {
  store.setLocal({ thread: ts });
  if (focus) setTimeout(() => thread.composer.focus(), 30);
}

function openChannel(id) {
  const channel = store.state.channels.find((item) => item.id === id);
  store.setLocal({ channel: id, home: false, thread: "" });
  if (channel?.is_im) announceTab(store.local.actor, "messages");
  setTimeout(() => channelPane.composer.focus(), 30);
}

function openHome() {
  store.setLocal({ home: true, thread: "" });
  announceTab(store.local.actor, "home");
}

function actAs(userId) {
  const wasDirect = store.state.channels.find((channel) => channel.id === store.local.channel)?.is_im;
  store.setLocal({ actor: userId });
  const { channels, direct } = channelsOf(store.state, userId);
  if (wasDirect) store.setLocal({ channel: direct?.id ?? channels[0]?.id ?? "", thread: "" });
  else if (!channels.some((channel) => channel.id === store.local.channel)) store.setLocal({ channel: channels[0]?.id ?? "", thread: "" });
  if (store.local.home) announceTab(userId, "home");
}

const toggleInspector = () => store.setLocal({ inspector: !store.local.inspector });
const sidebar = el("nav", { class: "sidebar", "aria-label": "Places" });
const switcher = el("div", { class: "switcher" });
const inspectorToggle = el("button", { type: "button", class: "icon-button with-words", "aria-pressed": "false", title: "Show the traffic between the workbench and the bot", data: { toggle: "inspector" }, on: { click: toggleInspector } }, icon("panel"), el("span", { text: "Inspector" }));
const help = el("button", { type: "button", class: "icon-button", "aria-label": "Show the first steps", title: "First steps", on: { click: () => store.setLocal({ hints: !store.local.hints }) } }, icon("help"));
const banner = el("div", { class: "banner", role: "alert", hidden: true });
const channelPane = new ChannelPane(store, { openThread, actAs });
const thread = new ThreadPane(store, { close: () => store.setLocal({ thread: "" }) });
const inspector = new Inspector(store, toggleInspector);
const modals = new Modals(store);
const root = document.querySelector("#app");

fill(root,
  sidebar,
  el("header", { class: "topbar" }, switcher, el("div", { class: "topbar-tools" }, help, inspectorToggle)),
  banner, channelPane.node, thread.node, inspector.node);

// The address remembers who acts and where, so that two tabs can be two people: #alice/ops
function fromAddress() {
  const [who, where] = decodeURIComponent(location.hash.slice(1)).split("/");
  const user = people(store.state).find((item) => item.name === who) ?? people(store.state)[0];
  const { channels, direct } = channelsOf(store.state, user?.id);
  const channel = channels.find((item) => item.name === where) ?? (where === store.state.bot.name ? direct : undefined) ?? channels[0] ?? direct;
  return { actor: user?.id ?? "", channel: channel?.id ?? "" };
}

function toAddress() {
  const { state, local, names } = store;
  const where = names.channel(local.channel) || state.bot.name;
  const hash = `#${encodeURIComponent(names.user(local.actor))}/${encodeURIComponent(where)}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

function settle() {
  const { state, local } = store;
  if (!people(state).some((user) => user.id === local.actor)) Object.assign(local, fromAddress());
}

function drawBanner() {
  banner.hidden = store.connected !== false && (store.state.bot.online || store.connected === null);
  banner.className = store.connected === false ? "banner banner-lost" : "banner";
  const words = store.connected === false ? "Connection to the workbench lost. Trying again…" : `${store.state.bot.name} is offline and answers when it connects again.`;
  if (banner.textContent !== words) banner.textContent = words;
}

store.watch(() => {
  settle();
  drawBanner();
  if (!store.local.actor) return;
  const { state, local } = store;
  root.dataset.hue = hueOf(state, local.actor);
  root.dataset.actor = store.names.user(local.actor);
  root.classList.toggle("with-thread", Boolean(local.thread) && !local.home);
  root.classList.toggle("with-inspector", local.inspector);
  inspector.node.hidden = !local.inspector;
  inspectorToggle.setAttribute("aria-pressed", String(local.inspector));
  markSeen(store);
  drawSidebar(sidebar, store, { open: openChannel, openHome });
  drawSwitcher(switcher, store, actAs);
  channelPane.draw();
  thread.draw();
  modals.draw();
  inspector.draw();
  toAddress();
});

connect(store);
