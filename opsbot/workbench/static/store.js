// The page's copy of the workspace, and what this tab looks at: changed by frames, watched by the views.

/** How many traffic entries the page keeps. */
const LOG_LIMIT = 800;

const EMPTY = {
  team: { id: "", name: "", domain: "" }, bot: { id: "", name: "opsbot", online: false }, users: [], groups: [], channels: [],
  messages: {}, statuses: [], sessions: [], views: {}, homes: {}, commands: [], shortcuts: [], prompts: [], suggested_prompts: [], version: 0,
};

/** Create the store. Listeners run once per batch of changes. */
export function createStore() {
  const listeners = [];
  let scheduled = false;
  const store = {
    state: EMPTY,
    log: [],
    connected: null,
    local: { actor: "", channel: "", home: false, thread: "", inspector: false, hints: false, seen: {} },
    onNotice: () => {},
    watch: (listener) => listeners.push(listener),
    changed() {
      if (scheduled) return;
      scheduled = true;
      setTimeout(() => {
        scheduled = false;
        listeners.forEach((listener) => listener(store));
      }, 0);
    },
    setLocal(changes) {
      Object.assign(store.local, changes);
      store.changed();
    },
    apply(frame) {
      if (Object.hasOwn(FRAMES, frame?.type)) FRAMES[frame.type](store, frame);
      store.changed();
    },
  };
  store.names = namesOf(store);
  return store;
}

const FRAMES = {
  state: (store, { state }) => { store.state = { ...EMPTY, ...state }; },
  message: ({ state }, { channel, message }) => upsert(state, channel, message),
  message_deleted: ({ state }, { channel, ts }) => {
    state.messages[channel] = (state.messages[channel] ?? []).filter((message) => message.ts !== ts);
  },
  status: ({ state }, frame) => { state.statuses = replaced(state.statuses, frame, Boolean(frame.status)); },
  session: ({ state }, frame) => { state.sessions = replaced(state.sessions, frame.session ?? frame, true); },
  bot: ({ state }, { online }) => { state.bot = { ...state.bot, online }; },
  view: ({ state }, { user, views }) => { state.views = { ...state.views, [user]: views }; },
  home: ({ state }, { user, view }) => { state.homes = { ...state.homes, [user]: view }; },
  prompts: ({ state }, frame) => { state.prompts = [...state.prompts.filter((known) => known.channel !== frame.channel), frame]; },
  notice: (store, frame) => store.onNotice(frame),
  log: (store, { entry }) => {
    store.log.push(entry);
    if (store.log.length > LOG_LIMIT) store.log.splice(0, store.log.length - LOG_LIMIT);
  },
};

function upsert(state, channel, message) {
  const list = (state.messages[channel] ??= []);
  const at = list.findIndex((known) => known.ts === message.ts);
  if (at >= 0) list[at] = message;
  else list.push(message);
  list.sort((one, other) => Number(one.ts) - Number(other.ts));
}

function replaced(list, entry, keep) {
  const others = list.filter((known) => known.channel !== entry.channel || (known.thread_ts ?? "") !== (entry.thread_ts ?? ""));
  return keep ? [...others, entry] : others;
}

function namesOf(store) {
  const find = (list, id) => list.find((item) => item.id === id);
  return {
    user: (id) => find(store.state.users, id)?.name ?? (id === store.state.bot.id ? store.state.bot.name : ""),
    channel: (id) => find(store.state.channels, id)?.name ?? "",
    group: (id) => { const group = find(store.state.groups, id); return group?.handle ?? group?.name ?? ""; },
    isMe: (id) => id === store.local.actor,
    people: () => people(store.state),
    channels: () => store.state.channels.filter((channel) => !channel.is_im),
  };
}

/** The people of the workspace, without bots. */
export function people(state) {
  return state.users.filter((user) => !user.is_bot);
}

/** The colour number of a person: stable, and different for the first eight. */
export function hueOf(state, userId) {
  const at = people(state).findIndex((user) => user.id === userId);
  return at < 0 ? "bot" : String(at % 8);
}

/** The channels a person may look at, and the person's direct message with the bot. */
export function channelsOf(state, userId) {
  const mine = state.channels.filter((channel) => !channel.members?.length || channel.members.includes(userId) || channel.user === userId);
  return { channels: mine.filter((channel) => !channel.is_im), direct: mine.find((channel) => channel.is_im) };
}

/** Whether the bot has said anything yet. */
export function botHasSpoken(state) {
  return Object.values(state.messages).some((list) => list.some((message) => message.bot_id));
}

/** The messages of a channel that a person can see. */
export function visibleMessages(state, channel, userId) {
  return (state.messages[channel] ?? []).filter((message) => !message.hidden && (!message.ephemeral_for || message.ephemeral_for === userId));
}

/** Whether a message stands in the channel itself, not only in a thread. */
export function isTopLevel(message) {
  return !message.thread_ts || message.thread_ts === message.ts || message.subtype === "thread_broadcast";
}

/** The status text of a thread, or "". */
export function statusOf(state, channel, threadTs) {
  return state.statuses.find((status) => status.channel === channel && status.thread_ts === threadTs)?.status ?? "";
}

/** The agent session of a thread, or undefined. */
export function sessionOf(state, channel, threadTs) {
  return state.sessions.find((session) => session.channel === channel && session.thread_ts === threadTs);
}
