// Interactive elements: each builder returns a node that knows its value and reports what the person did.
//
// A renderer context (`ctx`) holds `names`, `act(action)` and `suggest({block_id, action_id, value})`; both return
// promises. A control that has a value carries `readValue()`, used for the state of a view or message.

import { marks, perform, valued } from "./acting.js";
import { append, el, link, picture } from "./dom.js";
import { icon } from "./icons.js";
import { plainText, textObject } from "./mrkdwn.js";
import { external, multiSelect, select } from "./selects.js";

const BUILDERS = {
  button,
  icon_button: iconButton,
  workflow_button: button,
  feedback_buttons: feedback,
  overflow,
  static_select: (item, at, ctx) => select(item, at, ctx),
  users_select: (item, at, ctx) => select(withPeople(item, ctx), at, ctx),
  channels_select: (item, at, ctx) => select(withChannels(item, ctx), at, ctx),
  conversations_select: (item, at, ctx) => select(withChannels(item, ctx), at, ctx),
  external_select: (item, at, ctx) => external(item, at, ctx),
  multi_static_select: (item, at, ctx) => multiSelect(item, at, ctx),
  multi_users_select: (item, at, ctx) => multiSelect(withPeople(item, ctx), at, ctx),
  multi_channels_select: (item, at, ctx) => multiSelect(withChannels(item, ctx), at, ctx),
  multi_conversations_select: (item, at, ctx) => multiSelect(withChannels(item, ctx), at, ctx),
  multi_external_select: (item, at, ctx) => external(item, at, ctx, { several: true }),
  checkboxes: (item, at, ctx) => choices(item, at, ctx, "checkbox"),
  radio_buttons: (item, at, ctx) => choices(item, at, ctx, "radio"),
  datepicker: (item, at, ctx) => picker(item, at, ctx, { type: "date", initial: item.initial_date, field: "selected_date" }),
  timepicker: (item, at, ctx) => picker(item, at, ctx, { type: "time", initial: item.initial_time, field: "selected_time" }),
  datetimepicker: momentPicker,
  plain_text_input: (item, at, ctx) => textInput(item, at, ctx, item.multiline ? "textarea" : "text"),
  email_text_input: (item, at, ctx) => textInput(item, at, ctx, "email"),
  url_text_input: (item, at, ctx) => textInput(item, at, ctx, "url"),
  number_input: (item, at, ctx) => textInput(item, at, ctx, "number"),
  rich_text_input: (item, at, ctx) => textInput(item, at, ctx, "textarea"),
  image: (item) => picture(item.image_url ?? item.slack_file?.url, item.alt_text, "thumb"),
};

/** Render an element of a block, or the red placeholder for one this page does not know. */
export function control(item, blockId, ctx) {
  if (!Object.hasOwn(BUILDERS, item?.type)) return el("span", { class: "unknown-block", text: `unknown element: ${item?.type}` });
  return BUILDERS[item.type](item, { block_id: blockId, action_id: item.action_id }, ctx);
}

function button(item, at, ctx) {
  const style = ["primary", "danger"].includes(item.style) ? ` button-${item.style}` : "";
  const node = el("button", {
    type: "button", class: `button${style}`, data: { ...marks(at, item.value), confirms: item.confirm ? "yes" : null },
    "aria-label": item.accessibility_label ? plainText(item.accessibility_label) : null,
  }, el("span", { class: "button-label" }, textObject(item.text, ctx.names)));
  node.addEventListener("click", () => perform(node, item, ctx, { ...at, value: item.value, text: item.text }));
  if (!item.url) return node;
  const address = link(item.url, "↗");
  address.setAttribute("aria-label", `Open ${item.url}`);
  return el("span", { class: "button-with-link" }, node, address);
}

function iconButton(item, at, ctx) {
  const label = plainText(item.text) || item.icon || "action";
  const node = el("button", { type: "button", class: "button button-icon", title: label, "aria-label": label, data: marks(at, item.value) },
    icon(item.icon === "trash" ? "cross" : "dots", 16), " ", label);
  node.addEventListener("click", () => perform(node, item, ctx, { ...at, value: item.value }));
  return node;
}

function feedback(item, at, ctx) {
  const choice = (data, name) => {
    const label = plainText(data?.text);
    const node = el("button", {
      type: "button", class: "button button-icon button-quiet", title: label, "aria-label": plainText(data?.accessibility_label) || label,
      "aria-pressed": "false", data: marks(at, data?.value),
    }, icon(name, 16));
    node.addEventListener("click", async () => {
      if (!(await perform(node, item, ctx, { ...at, value: data?.value }))) return;
      group.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === node)));
    });
    return node;
  };
  const group = el("span", { class: "feedback", role: "group", "aria-label": "Feedback" },
    choice(item.positive_button, "thumbUp"), choice(item.negative_button, "thumbDown"));
  return group;
}

function overflow(item, at, ctx) {
  const summary = el("summary", { class: "button button-icon button-quiet", "aria-label": "More actions", title: "More actions", data: marks(at) }, icon("dots", 16));
  const menu = el("details", { class: "menu" }, summary);
  const entry = (option) => {
    const node = el("button", { type: "button", class: "menu-item", data: marks(at, option.value) }, textObject(option.text, ctx.names),
      option.description ? el("span", { class: "menu-note" }, textObject(option.description, ctx.names)) : null);
    node.addEventListener("click", () => {
      menu.open = false;
      perform(node, item, ctx, { ...at, selected_option: option });
    });
    return node;
  };
  return append(menu, [el("div", { class: "menu-list" }, (item.options ?? []).map(entry))]);
}

function choices(item, at, ctx, type) {
  const initial = new Set((item.initial_options ?? [item.initial_option]).filter(Boolean).map((option) => option.value));
  const group = `${ctx.scopeKey}-${at.block_id}-${at.action_id}`;
  const inputs = (item.options ?? []).map((option) => ({ option, box: el("input", {
    type, name: group, value: option.value, checked: initial.has(option.value), data: marks(at, option.value) }) }));
  const chosen = () => inputs.filter(({ box }) => box.checked).map(({ option }) => option);
  const read = () => (type === "radio" ? { selected_option: chosen()[0] ?? null } : { selected_options: chosen() });
  const node = el("div", { class: "choices", role: type === "radio" ? "radiogroup" : "group" }, inputs.map(({ option, box }) =>
    el("label", { class: "choice" }, box, el("span", {}, textObject(option.text, ctx.names),
      option.description ? el("span", { class: "choice-note" }, textObject(option.description, ctx.names)) : null))));
  node.addEventListener("change", () => ctx.dispatches && perform(node, item, ctx, { ...at, ...read() }));
  return valued(node, at, item, read);
}

function picker(item, at, ctx, { type, initial, field }) {
  const input = el("input", { type, class: "field field-short", value: initial, "aria-label": plainText(item.placeholder) || type, data: marks(at) });
  const read = () => ({ [field]: input.value || null });
  input.addEventListener("change", () => ctx.dispatches && perform(input, item, ctx, { ...at, ...read() }));
  return valued(input, at, item, read);
}

function momentPicker(item, at, ctx) {
  const input = el("input", { type: "datetime-local", class: "field field-short", "aria-label": "Date and time", data: marks(at) });
  if (item.initial_date_time) {
    const local = new Date(item.initial_date_time * 1000 - new Date().getTimezoneOffset() * 60000);
    input.value = local.toISOString().slice(0, 16);
  }
  const read = () => ({ selected_date_time: input.value ? Math.floor(new Date(input.value).getTime() / 1000) : null });
  input.addEventListener("change", () => ctx.dispatches && perform(input, item, ctx, { ...at, ...read() }));
  return valued(input, at, item, read);
}

function textInput(item, at, ctx, type) {
  const shared = {
    class: "field", placeholder: plainText(item.placeholder) || null, maxlength: item.max_length ?? null,
    "aria-label": ctx.label || plainText(item.placeholder) || at.action_id, data: marks(at),
  };
  const numeric = type === "number" ? { min: item.min_value ?? null, max: item.max_value ?? null, step: item.is_decimal_allowed ? "any" : "1" } : {};
  const input = type === "textarea" ? el("textarea", { ...shared, rows: "4" }) : el("input", { ...shared, ...numeric, type });
  input.value = typeof item.initial_value === "string" ? item.initial_value : "";
  const read = () => (item.type === "rich_text_input" ? { rich_text_value: asRichText(input.value) } : { value: input.value === "" ? null : input.value });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || type === "textarea" || !ctx.dispatches) return;
    event.preventDefault();
    perform(input, item, ctx, { ...at, ...read() });
  });
  return valued(input, at, item, read);
}

function asRichText(text) {
  return { type: "rich_text", elements: [{ type: "rich_text_section", elements: text ? [{ type: "text", text }] : [] }] };
}

function withPeople(item, ctx) {
  const options = ctx.names.people().map((user) => ({ text: { type: "plain_text", text: `@${user.name}` }, value: user.id }));
  return { ...item, options, initial: item.initial_user ?? item.initial_users, answer: item.type.startsWith("multi") ? "selected_users" : "selected_user" };
}

function withChannels(item, ctx) {
  const options = ctx.names.channels().map((channel) => ({ text: { type: "plain_text", text: `#${channel.name}` }, value: channel.id }));
  const kind = item.type.includes("conversations") ? "conversation" : "channel";
  const initial = item[`initial_${kind}`] ?? item[`initial_${kind}s`];
  return { ...item, options, initial, answer: item.type.startsWith("multi") ? `selected_${kind}s` : `selected_${kind}` };
}
