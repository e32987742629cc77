// The two panes that hold a conversation: the channel and the open thread.

import { Composer } from "./composer.js";
import { call } from "./connection.js";
import { el, fill } from "./dom.js";
import { drawHints } from "./hints.js";
import { icon } from "./icons.js";
import { MessageList, threadMessages, topLevel } from "./messages.js";
import { drawHome } from "./views.js";
import { drawWorking } from "./working.js";

/** The channel, direct message or App Home in the middle. */
export class ChannelPane {
  constructor(store, { openThread, actAs }) {
    this.store = store;
    this.actAs = actAs;
    this.title = el("h1", { class: "pane-title" });
    this.about = el("span", { class: "pane-about quiet" });
    this.list = new MessageList(store, { inThread: false, openThread, label: "Messages" });
    this.hints = el("aside", { class: "hints", "aria-label": "First steps" });
    this.prompts = el("div", { class: "prompts" });
    this.home = el("div", { class: "home", tabindex: "0" });
    this.composer = new Composer(store, {
      name: "channel",
      place: () => ({ channel: store.local.channel }),
      sent: (answer, { addressed }) => {
        const ts = answer.ts ?? answer.message?.ts;
        if (ts && (addressed || this.#channel()?.is_im)) openThread(ts, { focus: true });
      },
    });
    this.foot = el("div", { class: "pane-foot" }, this.hints, this.prompts, this.composer.node);
    this.node = el("main", { class: "pane channel-pane" }, el("header", { class: "pane-head" }, this.title, this.about), this.list.frame, this.home, this.foot);
  }

  /** Draw what the store says. */
  draw() {
    const { state, local } = this.store;
    const channel = this.#channel();
    this.home.hidden = !local.home;
    this.list.frame.hidden = local.home;
    this.foot.hidden = local.home;
    this.#head(channel);
    if (local.home) return drawHome(this.home, this.store);
    if (!channel) return;
    const messages = topLevel(state, channel.id, local.actor);
    this.list.draw(`${local.actor}/${channel.id}`, channel.id, messages, messages.length ? null : this.#beginning(channel));
    drawHints(this.hints, this.store, { fillComposer: (text) => this.composer.fill(text), actAs: this.actAs, dismiss: () => this.store.setLocal({ hints: false }) });
    this.#drawPrompts(channel);
    this.composer.setPlaceholder(`Message ${channel.is_im ? state.bot.name : `#${channel.name}`} as ${this.store.names.user(local.actor)}`);
  }

  #channel() {
    return this.store.state.channels.find((channel) => channel.id === this.store.local.channel);
  }

  #head(channel) {
    const { state, local } = this.store;
    const name = local.home ? "App Home" : channel?.is_im ? state.bot.name : channel?.name ?? "";
    if (this.title.dataset.name !== name) fill(this.title, icon(local.home ? "home" : channel?.is_im ? "chat" : "hash", 19), el("bdi", { text: name }));
    this.title.dataset.name = name;
    const members = channel?.members?.length ?? 0;
    this.about.textContent = local.home ? `${state.bot.name}, as ${this.store.names.user(local.actor)} sees it` : channel?.is_im ? "Direct message" : members ? `${members} members` : "";
  }

  #beginning(channel) {
    this.started ??= el("div", { class: "beginning" });
    const words = channel.is_im ? `This is your direct message with ${this.store.state.bot.name}. Each message starts a thread.` : `This is the start of #${channel.name}. Mention @${this.store.state.bot.name} to begin.`;
    if (this.started.textContent !== words) fill(this.started, el("p", { text: words }));
    return this.started;
  }

  #drawPrompts(channel) {
    const { state } = this.store;
    const offered = state.prompts.find((item) => item.channel === channel.id) ?? (channel.is_im ? { prompts: state.suggested_prompts } : null);
    const shape = JSON.stringify(offered ?? null);
    if (this.prompts.dataset.shape === shape) return;
    this.prompts.dataset.shape = shape;
    fill(this.prompts, (offered?.prompts ?? []).map((prompt) => el("button", { type: "button", class: "chip", title: prompt.message, text: prompt.title, on: { click: () => this.composer.fill(prompt.message) } })));
  }
}

/** The open thread at the right. */
export class ThreadPane {
  constructor(store, { close }) {
    this.store = store;
    this.about = el("span", { class: "pane-about quiet" });
    this.list = new MessageList(store, { inThread: true, openThread: () => {}, label: "Thread" });
    this.working = el("div", { class: "working", "aria-live": "polite" });
    this.composer = new Composer(store, { name: "thread", place: () => ({ channel: store.local.channel, thread_ts: store.local.thread }), sent: () => {} });
    this.node = el("aside", { class: "pane thread-pane", "aria-label": "Thread" },
      el("header", { class: "pane-head" }, el("h2", { class: "pane-title", text: "Thread" }), this.about,
        el("button", { type: "button", class: "icon-button", "aria-label": "Close the thread", on: { click: close } }, icon("close"))),
      this.list.frame, el("div", { class: "pane-foot" }, this.working, this.composer.node));
  }

  /** Draw the open thread, or hide the pane. */
  draw() {
    const { state, local, names } = this.store;
    const open = Boolean(local.thread) && !local.home;
    this.node.hidden = !open;
    if (!open) return;
    const session = state.sessions.find((item) => item.channel === local.channel && item.thread_ts === local.thread);
    this.about.textContent = session?.title || (names.channel(local.channel) ? `#${names.channel(local.channel)}` : state.bot.name);
    this.list.draw(`${local.actor}/${local.channel}/${local.thread}`, local.channel, threadMessages(state, local.channel, local.thread, local.actor));
    drawWorking(this.working, this.store, local.channel, local.thread);
    this.composer.setPlaceholder(`Reply as ${names.user(local.actor)}`);
  }
}

/** Tell the server which tab of the app a person looks at. */
export function announceTab(user, tab) {
  return call("home", { user, tab });
}
