// The list of messages of a channel or thread; a message is redrawn only when it changed.

import { stateOf } from "./acting.js";
import { renderBlocks } from "./blocks.js";
import { call } from "./connection.js";
import { enlargeable } from "./dialogs.js";
import { append, download, el, ownAddress, picture } from "./dom.js";
import { emoji, QUICK_REACTIONS } from "./emoji.js";
import { icon } from "./icons.js";
import { dayKey, dayName, moment, timeOf } from "./moments.js";
import { mrkdwn } from "./mrkdwn.js";
import { avatar } from "./people.js";
import { isTopLevel, sessionOf, statusOf, visibleMessages } from "./store.js";
import { streamed } from "./streams.js";

const GROUP_SECONDS = 300;
const NEAR_BOTTOM_PX = 120;

/** A scrolling message list. `inThread` hides thread links; `openThread(ts)` opens one. */
export class MessageList {
  constructor(store, { inThread, openThread, label }) {
    this.store = store;
    this.inThread = inThread;
    this.openThread = openThread;
    this.drawn = new Map();
    this.key = "";
    this.inner = el("div", { class: "messages-inner", role: "log", "aria-live": "polite", "aria-label": label });
    this.node = el("div", { class: "messages", tabindex: "0" }, this.inner);
    this.newer = el("button", { type: "button", class: "newer", hidden: true, on: { click: () => this.#toEnd() } }, icon("down", 15), "New messages");
    this.frame = el("div", { class: "messages-frame" }, this.node, this.newer);
    this.atEnd = true;
    this.node.addEventListener("scroll", () => this.#scrolled());
    // Whoever reads the end keeps seeing it when a line above the composer, a picture or a stream changes the height.
    const follow = new ResizeObserver(() => this.atEnd && this.#toEnd());
    follow.observe(this.node);
    follow.observe(this.inner);
  }

  #scrolled() {
    this.atEnd = this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < NEAR_BOTTOM_PX;
    if (this.atEnd) this.newer.hidden = true;
  }

  #toEnd() {
    this.node.scrollTop = this.node.scrollHeight;
    this.newer.hidden = true;
  }

  /** Show these messages; `key` names the place, a new key starts at the bottom. */
  draw(key, channel, messages, lead = null) {
    const fresh = key !== this.key;
    if (fresh) this.drawn.clear();
    this.key = key;
    this.atEnd ||= fresh;
    if (!this.atEnd && messages.length && !this.drawn.has(messages.at(-1).ts)) this.newer.hidden = false;
    const next = new Map();
    const nodes = lead ? [lead] : [];
    let before = null;
    for (const message of messages) {
      if (!before || dayKey(moment(before.ts)) !== dayKey(moment(message.ts))) nodes.push(this.#dayLine(message, next));
      nodes.push(this.#drawn(channel, message, before, next));
      before = message;
    }
    this.drawn = next;
    place(this.inner, nodes);
    if (this.atEnd) this.#toEnd();
  }

  #dayLine(message, next) {
    const key = `day-${dayKey(moment(message.ts))}`;
    const known = this.drawn.get(key) ?? { node: el("div", { class: "day" }, el("span", { text: dayName(moment(message.ts)) })) };
    next.set(key, known);
    return known.node;
  }

  #drawn(channel, message, before, next) {
    const facts = this.#facts(channel, message, before);
    const signature = JSON.stringify(facts);
    const known = this.drawn.get(message.ts);
    const entry = known?.signature === signature ? known : { signature, node: this.#build(channel, message, facts) };
    next.set(message.ts, entry);
    return entry.node;
  }

  // Everything a message's picture depends on, so that equal facts mean the drawn node is still right.
  #facts(channel, message, before) {
    const { state, local } = this.store;
    const root = message.ts;
    const replies = this.inThread ? [] : visibleMessages(state, channel, local.actor).filter((reply) => reply.thread_ts === root && reply.ts !== root);
    return {
      message,
      actor: local.actor,
      open: !this.inThread && local.thread === root,
      joined: joins(before, message),
      users: state.users.length,
      replies: replies.length ? { count: replies.length, last: replies.at(-1).ts, users: [...new Set(replies.map((reply) => reply.user))].slice(0, 4) } : null,
      status: this.inThread ? "" : statusOf(state, channel, root),
      session: this.inThread ? "" : sessionOf(state, channel, root)?.status ?? "",
    };
  }

  #build(channel, message, facts) {
    const { state, names } = this.store;
    const author = authorOf(state, message);
    const mine = facts.message.user === facts.actor && !message.bot_id;
    const classes = ["message", facts.joined && "message-joined", message.ephemeral_for && "message-ephemeral", facts.open && "message-open", mine && "message-mine"];
    const head = el("div", { class: "message-head" },
      el("bdi", { class: "author", text: author.name }), author.bot ? el("span", { class: "badge", text: "APP" }) : null, timeOf(message.ts));
    const body = el("div", { class: "message-body" },
      message.ephemeral_for ? el("div", { class: "only-you" }, icon("eye", 14), "Only visible to you") : null,
      facts.joined ? null : head,
      el("div", { class: "message-content" }, content(message, { store: this.store, channel, names })),
      files(message), this.#reactions(channel, message), this.#threadLink(message, facts));
    const gutter = el("div", { class: "gutter" }, facts.joined ? timeOf(message.ts, "time time-gutter") : avatar(state, author.id, "normal", author.bot));
    return el("article", {
      class: classes.filter(Boolean).join(" "), data: { ts: message.ts, author: author.name, ephemeral: message.ephemeral_for ? "yes" : null },
    }, gutter, body, this.#toolbar(channel, message));
  }

  #reactions(channel, message) {
    if (!message.reactions?.length) return null;
    const { local, names } = this.store;
    return el("div", { class: "reactions" }, message.reactions.map((reaction) => {
      const users = reaction.users ?? [];
      const mine = users.includes(local.actor);
      return el("button", {
        type: "button", class: "reaction", "aria-pressed": String(mine), data: { reaction: reaction.name },
        title: `${users.map((id) => names.user(id)).join(", ")} reacted with :${reaction.name}:`,
        on: { click: () => this.#react(channel, message.ts, reaction.name, mine) },
      }, emoji(reaction.name), " ", String(reaction.count ?? users.length));
    }));
  }

  #react(channel, ts, name, remove) {
    return call("reaction", { user: this.store.local.actor, channel, ts, message_ts: ts, name, reaction: name, remove });
  }

  #threadLink(message, facts) {
    if (this.inThread || (!facts.replies && !facts.status && facts.session !== "processing")) return null;
    const { state } = this.store;
    const working = facts.status || (facts.session === "processing" ? "is working…" : "");
    const words = facts.replies ? `${facts.replies.count} ${facts.replies.count === 1 ? "reply" : "replies"}` : "Open thread";
    return el("button", { type: "button", class: "thread-link", on: { click: () => this.openThread(message.ts) } },
      facts.replies ? el("span", { class: "thread-faces" }, facts.replies.users.map((id) => avatar(state, id, "small"))) : null,
      el("span", { class: "thread-count", text: words }),
      working ? el("span", { class: "thread-working" }, el("span", { class: "spinner" }), `${state.bot.name} ${working}`) : null,
      !working && facts.replies ? el("span", { class: "quiet" }, "last reply ", timeOf(facts.replies.last, "")) : null);
  }

  #toolbar(channel, message) {
    if (message.ephemeral_for) return null;
    const { state, local } = this.store;
    const react = QUICK_REACTIONS.slice(0, 4).map((name) => tool(emoji(name), `React with ${name}`, () => this.#react(channel, message.ts, name, false)));
    const thread = this.inThread ? null : tool(icon("reply", 16), "Reply in thread", () => this.openThread(message.thread_ts ?? message.ts));
    const shortcuts = state.shortcuts.filter((shortcut) => ["message", "message_action"].includes(shortcut.type)).map((shortcut) =>
      tool([icon("bolt", 15), shortcut.name], shortcut.description || shortcut.name, () =>
        call("shortcut", { user: local.actor, callback_id: shortcut.callback_id, channel, message_ts: message.ts })));
    return el("div", { class: "toolbar", role: "toolbar", "aria-label": "Message actions" }, react, thread, shortcuts);
  }
}

function tool(face, label, action) {
  return el("button", { type: "button", class: "tool", title: label, "aria-label": label, on: { click: action } }, face);
}

function joins(before, message) {
  if (!before || before.ephemeral_for !== message.ephemeral_for || message.ephemeral_for) return false;
  if (before.user !== message.user || before.bot_id !== message.bot_id) return false;
  return Number(message.ts) - Number(before.ts) < GROUP_SECONDS && dayKey(moment(before.ts)) === dayKey(moment(message.ts));
}

function authorOf(state, message) {
  const bot = Boolean(message.bot_id);
  const user = state.users.find((item) => item.id === message.user);
  return { id: message.user, bot, name: (bot && message.username) || user?.name || message.bot_profile?.name || message.user || "unknown" };
}

function content(message, { store, channel, names }) {
  const ctx = messageContext(store, channel, message);
  const drawn = drawnContent(message, ctx);
  const attached = (message.attachments ?? []).map((item) => el("div", { class: "attachment" },
    item.blocks?.length ? renderBlocks(item.blocks, ctx) : el("div", { class: "text" }, mrkdwn(item.text ?? item.fallback ?? "", names))));
  const edited = message.edited ? el("span", { class: "edited", title: "This message was edited", text: "(edited)" }) : null;
  const caret = message.streaming ? el("span", { class: "caret", "aria-label": "still writing" }) : null;
  const last = drawn.at(-1);
  if (caret) deepestText(last).append(caret);
  if (edited && last.classList.contains("text")) append(last, [" ", edited]);
  return [drawn, attached, edited && !last.classList.contains("text") ? edited : null];
}

// A person's own words are shown as they were typed; only an app's message is drawn from its blocks.
function drawnContent(message, ctx) {
  // An edit replaces what was streamed; the blocks of a finished stream stand below its text.
  if (message.chunks && !message.edited) return orEmpty([...streamed(message, ctx), ...renderBlocks(message.streaming ? [] : message.blocks, ctx)]);
  if (message.bot_id && message.blocks?.length) return renderBlocks(message.blocks, ctx);
  return [el("div", { class: "text" }, mrkdwn(message.text ?? "", ctx.names))];
}

function orEmpty(nodes) {
  return nodes.length ? nodes : [el("div", { class: "markdown" })];
}

// The caret belongs after the last written word, which may be deep inside a list or paragraph.
function deepestText(node) {
  let at = node;
  while (at.lastElementChild && /^(P|UL|OL|LI|DIV|BLOCKQUOTE)$/.test(at.lastElementChild.tagName) && !at.lastChild.nodeValue) at = at.lastElementChild;
  return at;
}

function messageContext(store, channel, message) {
  const place = { channel, message_ts: message.ts };
  const found = () => document.querySelector(`article[data-ts="${CSS.escape(message.ts)}"]`);
  return {
    names: store.names,
    dispatches: true,
    scopeKey: `message-${message.ts}`,
    act: (action) => call("action", { user: store.local.actor, ...place, thread_ts: message.thread_ts, state: { values: found() ? stateOf(found()) : {} }, ...action }),
    suggest: async (query) => optionsIn(await call("options", { user: store.local.actor, ...place, ...query })),
  };
}

/** The options of an answer to a suggestion call, groups flattened. */
export function optionsIn(answer) {
  return answer?.options ?? (answer?.option_groups ?? []).flatMap((group) => group.options ?? []);
}

function files(message) {
  if (!message.files?.length) return null;
  return el("div", { class: "files" }, message.files.map((file) => {
    const address = file.page_url ?? file.url_private ?? file.permalink ?? "";
    const name = file.title || file.name || file.id;
    if (String(file.mimetype ?? "").startsWith("image/") && ownAddress(address)) {
      return el("figure", { class: "file-image" }, enlargeable(picture(address, file.alt_txt || name, "wide-image"), name), el("figcaption", { text: name }));
    }
    return el("div", { class: "file-card" }, icon("file", 18), download(address, name, name), el("span", { class: "quiet", text: size(file.size) }));
  }));
}

function size(bytes) {
  if (!Number.isFinite(bytes)) return "";
  return bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

// Put nodes in order without touching those already in place: a focused button keeps its focus.
function place(parent, nodes) {
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}

/** The messages that stand in a channel, and those of one of its threads (root first). */
export function topLevel(state, channel, actor) {
  return visibleMessages(state, channel, actor).filter(isTopLevel);
}

/** Root and replies of a thread. */
export function threadMessages(state, channel, threadTs, actor) {
  return visibleMessages(state, channel, actor).filter((message) => message.ts === threadTs || message.thread_ts === threadTs);
}
