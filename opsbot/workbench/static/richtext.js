// `rich_text` blocks as DOM nodes: sections, lists, preformatted text and quotes.

import { el, link } from "./dom.js";
import { emoji } from "./emoji.js";
import { formattedDate } from "./moments.js";
import { channelMention, groupMention, userMention } from "./mrkdwn.js";

/** Render a rich_text block. */
export function richText(block, names) {
  return el("div", { class: "rich-text" }, lists(block.elements ?? [], names));
}

const SECTIONS = {
  rich_text_section: (item, names) => el("div", { class: "rt-section" }, inlines(item.elements, names)),
  rich_text_preformatted: (item, names) => el("pre", { class: "code-block" }, el("code", {}, inlines(item.elements, names))),
  rich_text_quote: (item, names) => el("blockquote", { class: "quote" }, inlines(item.elements, names)),
  rich_text_list: (item, names) => list(item, names),
};

function lists(elements, names) {
  return elements.map((item) => (Object.hasOwn(SECTIONS, item?.type) ? SECTIONS[item.type](item, names) : unknown(item?.type)));
}

function list(item, names) {
  const ordered = item.style === "ordered";
  const indent = Math.min(Math.max(Number(item.indent) || 0, 0), 8);
  const options = {
    class: `list indent-${indent}${item.border ? " list-border" : ""}`,
    start: ordered && Number(item.offset) ? String(Number(item.offset) + 1) : null,
  };
  return el(ordered ? "ol" : "ul", options, (item.elements ?? []).map((entry) => el("li", {}, lists([entry], names))));
}

const INLINES = {
  text: (item) => styled(String(item.text ?? ""), item.style),
  link: (item) => styled(link(item.url, item.text || item.url), item.style),
  user: (item, names) => styled(userMention(item.user_id, names), item.style),
  usergroup: (item, names) => styled(groupMention(item.usergroup_id, names), item.style),
  channel: (item, names) => styled(channelMention(item.channel_id, names), item.style),
  emoji: (item) => el("span", { class: "emoji", title: `:${item.name}:`, text: emoji(item.name) }),
  date: (item) => formattedDate(item.timestamp, item.format, item.fallback),
  broadcast: (item) => el("span", { class: "mention mention-me", text: `@${item.range}` }),
  color: (item) => el("code", { class: "code", text: String(item.value ?? "") }),
  team: (item) => el("span", { class: "mention", text: String(item.team_id ?? "") }),
};

/** Render the inline elements of a section. */
export function inlines(elements, names) {
  return (elements ?? []).map((item) => (Object.hasOwn(INLINES, item?.type) ? INLINES[item.type](item, names) : unknown(item?.type)));
}

const STYLES = [["code", "code"], ["strike", "del"], ["underline", "u"], ["italic", "em"], ["bold", "strong"]];

function styled(content, style) {
  return STYLES.reduce((node, [name, tag]) => (style?.[name] ? el(tag, tag === "code" ? { class: "code" } : {}, node) : node), content);
}

function unknown(type) {
  return el("span", { class: "unknown-block", text: `unknown rich text: ${type}` });
}
