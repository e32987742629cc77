// Slack's mrkdwn and plain_text as DOM nodes.

import { el, link } from "./dom.js";
import { emoji, withEmoji } from "./emoji.js";
import { formattedDate } from "./moments.js";

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };
const STYLE_TAGS = { "*": "strong", _: "em", "~": "del" };
const BARE_LINK = /^https?:\/\/[^\s<>|"'`]+[^\s<>|"'`.,;:!?)\]}*_~]/;

/** Undo the three escapes Slack knows. */
export function unescaped(text) {
  return String(text).replace(/&(?:amp|lt|gt);/g, (entity) => ENTITIES[entity]);
}

/** Render a text object (`plain_text` or `mrkdwn`) or a bare string (plain). */
export function textObject(object, names) {
  if (object === null || object === undefined) return [];
  if (typeof object === "string") return [unescaped(object)];
  if (object.type === "mrkdwn") return mrkdwn(object.text, names, { verbatim: object.verbatim });
  return [object.emoji === false ? unescaped(object.text ?? "") : withEmoji(unescaped(object.text ?? ""))];
}

/** The text of a text object without any markup. */
export function plainText(object) {
  return object === null || object === undefined ? "" : unescaped(typeof object === "string" ? object : object.text ?? "");
}

/** Render mrkdwn. `names` resolves ids: user(id), channel(id), group(id) -> string. */
export function mrkdwn(source, names, { verbatim = false } = {}) {
  const parts = String(source ?? "").split(/```/);
  const closed = parts.length % 2 === 1;
  return parts.flatMap((part, index) => {
    if (index % 2 === 0) return lines(part, { names, verbatim });
    if (index === parts.length - 1 && !closed) return lines("```" + part, { names, verbatim });
    return [el("pre", { class: "code-block" }, el("code", {}, codeText(part.replace(/^\n|\n$/g, ""))))];
  });
}

// Inside code Slack shows links and mentions as their label.
function codeText(text) {
  return unescaped(text.replace(/<([^<>\n]+)>/g, (_, body) => (body.includes("|") ? body.slice(body.indexOf("|") + 1) : body)));
}

function lines(text, scope) {
  const nodes = [];
  let quote = null;
  text.split("\n").forEach((line, index, all) => {
    const quoted = line.match(/^(?:&gt;|>)(?!&gt;)\s?(.*)$/);
    if (quoted) {
      if (quote) quote.append(el("br"));
      else nodes.push((quote = el("blockquote", { class: "quote" })));
      quote.append(...inline(quoted[1], scope));
      return;
    }
    const afterQuote = quote !== null;
    quote = null;
    if (index > 0 && !afterQuote && !(index === all.length - 1 && line === "" && all.length === 1)) nodes.push(el("br"));
    nodes.push(...inline(line, scope));
  });
  return nodes;
}

function inline(text, outer) {
  // A mark that has no closing partner from here on has none later in this text either: look once.
  const scope = { ...outer, unclosed: new Set() };
  const nodes = [];
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(unescaped(plain));
    plain = "";
  };
  for (let at = 0; at < text.length; ) {
    const found = special(text, at, scope);
    if (found) {
      flush();
      nodes.push(found.node);
      at += found.length;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  flush();
  return nodes;
}

function special(text, at, scope) {
  const char = text[at];
  if (char === "`") return codeSpan(text, at);
  if (char === "<") return control(text, at, scope);
  if (char === ":") return emojiAt(text, at);
  if (char in STYLE_TAGS) return styled(text, at, scope);
  if (char === "h" && !scope.verbatim && !isWord(text[at - 1])) return bareLink(text, at);
  return null;
}

function codeSpan(text, at) {
  const end = text.indexOf("`", at + 1);
  if (end <= at + 1) return null;
  return { node: el("code", { class: "code" }, codeText(text.slice(at + 1, end))), length: end + 1 - at };
}

function emojiAt(text, at) {
  const match = /^:([a-z0-9_+'-]{1,60}):/.exec(text.slice(at, at + 64));
  const drawn = match ? emoji(match[1]) : "";
  if (!drawn || drawn.startsWith(":")) return null;
  return { node: el("span", { class: "emoji", title: match[0], text: drawn }), length: match[0].length };
}

function bareLink(text, at) {
  const match = BARE_LINK.exec(text.slice(at));
  return match ? { node: link(unescaped(match[0]), unescaped(match[0])), length: match[0].length } : null;
}

function isWord(char) {
  return char !== undefined && /[\p{L}\p{N}]/u.test(char);
}

function styled(text, at, scope) {
  const mark = text[at];
  const next = text[at + 1];
  if (scope.unclosed.has(mark) || isWord(text[at - 1]) || text[at - 1] === mark) return null;
  if (next === undefined || next === mark || /\s/.test(next)) return null;
  for (let end = text.indexOf(mark, at + 1); end > 0; end = text.indexOf(mark, end + 1)) {
    if (end === at + 1 || /\s/.test(text[end - 1]) || isWord(text[end + 1])) continue;
    return { node: el(STYLE_TAGS[mark], {}, inline(text.slice(at + 1, end), scope)), length: end + 1 - at };
  }
  scope.unclosed.add(mark);
  return null;
}

function control(text, at, scope) {
  const end = text.indexOf(">", at + 1);
  if (end <= at + 1) return null;
  const node = controlNode(text.slice(at + 1, end), scope.names);
  return node ? { node, length: end + 1 - at } : null;
}

function controlNode(body, names) {
  const bar = body.indexOf("|");
  const target = bar < 0 ? body : body.slice(0, bar);
  const label = bar < 0 ? "" : unescaped(body.slice(bar + 1));
  if (target.startsWith("@")) return userMention(target.slice(1), names, label);
  if (target.startsWith("#")) return channelMention(target.slice(1), names, label);
  if (target.startsWith("!")) return bangMention(target.slice(1), names, label);
  if (!/^[a-z][a-z0-9+.-]*:/i.test(target)) return null;
  return link(unescaped(target), label || unescaped(target).replace(/^mailto:/, ""));
}

/** A user's name as a mention. */
export function userMention(id, names, label = "") {
  return el("span", { class: names.isMe?.(id) ? "mention mention-me" : "mention" }, `@${names.user(id) || label || id}`);
}

/** A channel's name as a mention. */
export function channelMention(id, names, label = "") {
  return el("span", { class: "mention" }, `#${names.channel(id) || label || id}`);
}

/** A user group's handle as a mention. */
export function groupMention(id, names, label = "") {
  return el("span", { class: "mention" }, `@${names.group(id) || label.replace(/^@/, "") || id}`);
}

function bangMention(body, names, label) {
  const [kind, ...rest] = body.split("^");
  if (kind === "date") return formattedDate(rest[0], unescaped(rest[1] ?? ""), label);
  if (kind === "subteam") return groupMention(rest[0] ?? "", names, label);
  if (["here", "channel", "everyone"].includes(kind)) return el("span", { class: "mention mention-me", text: `@${kind}` });
  return el("span", { text: label || `<${body}>` });
}
