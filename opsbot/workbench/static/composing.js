// What the page reads in text that is being typed: whom it addresses, and what could complete it.

/** Whether typed text addresses the bot by its name; the server itself turns names into ids. */
export function addressesBot(typed, state) {
  const name = state.bot.name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(^|[^\\w@])@${name}(?![\\w-])`, "i").test(typed) || typed.includes(`<@${state.bot.id}>`);
}

/** What may complete the word before the caret: `{from, entries: [{text, label, note}]}`, or null. */
export function completions(typed, caret, state, { commands }) {
  const before = typed.slice(0, caret);
  const command = commands ? /^\/[\w-]*$/.exec(before) : null;
  if (command) return offer(0, command[0], state.commands.map((item) => ({ text: item.command, label: `${item.command} ${item.usage_hint ?? ""}`, note: item.description })));
  const name = /(?:^|[\s(])([@#][\p{L}\p{N}._-]*)$/u.exec(before);
  if (!name) return null;
  const entries = name[1][0] === "@" ? peopleEntries(state) : channelEntries(state);
  return offer(caret - name[1].length, name[1], entries);
}

function offer(from, word, entries) {
  const fitting = entries.filter((entry) => entry.text.toLowerCase().startsWith(word.toLowerCase()));
  return fitting.length ? { from, word, entries: fitting.slice(0, 8) } : null;
}

function peopleEntries(state) {
  const bots = state.users.filter((user) => user.is_bot);
  const others = state.users.filter((user) => !user.is_bot);
  return [...bots, ...others].map((user) => ({ text: `@${user.name}`, label: `@${user.name}`, note: user.is_bot ? "app" : user.real_name, user: user.id }))
    .concat(state.groups.map((group) => ({ text: `@${group.handle ?? group.name}`, label: `@${group.handle ?? group.name}`, note: group.name })));
}

function channelEntries(state) {
  return state.channels.filter((channel) => !channel.is_im).map((channel) => ({ text: `#${channel.name}`, label: `#${channel.name}`, note: "channel" }));
}

/** The hint of the command being typed, once its name is complete. */
export function commandHint(typed, state) {
  const match = /^(\/[\w-]+)\s/.exec(typed);
  const command = match && state.commands.find((item) => item.command === match[1]);
  return command ? `${command.command} ${command.usage_hint ?? ""}` : "";
}
