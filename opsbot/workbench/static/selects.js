// Select menus: static ones as native selects, external ones as a search field with suggestions.

import { marks, perform, valued } from "./acting.js";
import { el, fill } from "./dom.js";
import { plainText } from "./mrkdwn.js";

const EMPTY = "";

/** A single select. `item.answer` names another field than `selected_option`, which then holds the bare value. */
export function select(item, at, ctx) {
  const options = optionsOf(item);
  const initial = item.initial ?? item.initial_option?.value ?? EMPTY;
  const placeholder = plainText(item.placeholder) || "Choose…";
  const node = el("select", { class: "field field-short", "aria-label": ctx.label || placeholder, data: marks(at) },
    el("option", { value: EMPTY, selected: initial === EMPTY, text: placeholder }),
    grouped(item, (option) => el("option", { value: option.value, selected: option.value === initial, text: plainText(option.text) })));
  const chosen = () => options.find((option) => option.value === node.value) ?? null;
  const read = () => (item.answer ? { [item.answer]: chosen()?.value ?? null } : { selected_option: chosen() });
  node.addEventListener("change", () => ctx.dispatches && node.value !== EMPTY && perform(node, item, ctx, { ...at, ...read() }));
  return valued(node, at, item, read);
}

/** A select of several options: a list of check boxes; where a choice is an action of its own, in a menu that opens. */
export function multiSelect(item, at, ctx) {
  const before = new Set(item.initial ?? (item.initial_options ?? []).map((option) => option.value));
  const boxes = optionsOf(item).map((option) => ({ option, box: el("input", { type: "checkbox", checked: before.has(option.value), data: marks(at, option.value) }) }));
  const chosen = () => boxes.filter(({ box }) => box.checked).map(({ option }) => option);
  const read = () => (item.answer ? { [item.answer]: chosen().map((option) => option.value) } : { selected_options: chosen() });
  const label = ctx.label || plainText(item.placeholder) || "Options";
  const list = el("div", { class: "multi-select", role: "group", "aria-label": label },
    boxes.map(({ option, box }) => el("label", { class: "choice" }, box, el("span", { text: plainText(option.text) }))));
  if (!ctx.dispatches) return valued(list, at, item, read);
  const node = el("details", { class: "multi-menu", data: marks(at) }, el("summary", { class: "button", text: label }),
    el("div", { class: "multi-menu-list" }, list, el("button", { type: "button", class: "button", text: "Done", data: { confirms: item.confirm ? "yes" : null }, on: { click: () => { node.open = false; } } })));
  // As in Slack, the app hears of all that was chosen once the menu is closed. A choice taken back is none.
  let known = JSON.stringify(read());
  node.addEventListener("toggle", async () => {
    if (node.open || JSON.stringify(read()) === known) return;
    if (await perform(node, item, ctx, { ...at, ...read() })) known = JSON.stringify(read());
    else boxes.forEach(({ option, box }) => { box.checked = before.has(option.value); });
  });
  return valued(node, at, item, read);
}

function optionsOf(item) {
  return item.options ?? (item.option_groups ?? []).flatMap((group) => group.options ?? []);
}

function grouped(item, build) {
  if (!item.option_groups || item.options) return optionsOf(item).map(build);
  return item.option_groups.map((group) => el("optgroup", { label: plainText(group.label) }, (group.options ?? []).map(build)));
}

/** A select whose options the app supplies while the person types. */
export function external(item, at, ctx, { several = false } = {}) {
  const first = several ? item.initial_options ?? [] : [item.initial_option].filter(Boolean);
  const picked = new Map(first.map((option) => [option.value, option]));
  const label = ctx.label || plainText(item.placeholder) || "Search";
  const input = el("input", { type: "text", class: "field", role: "combobox", autocomplete: "off", placeholder: plainText(item.placeholder) || "Type to search",
    "aria-label": label, "aria-expanded": "false", data: marks(at) });
  const list = el("div", { class: "suggestions", role: "listbox", hidden: true });
  const chips = el("div", { class: "chips" });
  const node = el("div", { class: "external" }, chips, input, list);
  const read = () => (several ? { selected_options: [...picked.values()] } : { selected_option: [...picked.values()][0] ?? null });

  const showPicked = () => fill(chips, [...picked.values()].map((option) => el("button", {
    type: "button", class: "chip", title: "Remove", text: `${plainText(option.text)} ×`,
    on: { click: () => { picked.delete(option.value); showPicked(); } },
  })));
  const choose = (option) => {
    if (!several) picked.clear();
    picked.set(option.value, option);
    input.value = "";
    close();
    showPicked();
    if (ctx.dispatches) perform(input, item, ctx, { ...at, ...read() });
  };
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
  };
  let latest = 0;
  const search = async () => {
    if (input.value.length < (item.min_query_length ?? 3)) return close();
    const mine = (latest += 1);
    const options = await ctx.suggest({ ...at, value: input.value });
    if (mine !== latest) return;
    fill(list, options.length ? options.map((option) => suggestion(option, choose)) : el("p", { class: "quiet", text: "No match" }));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  };
  input.addEventListener("input", search);
  input.addEventListener("focus", search);
  node.addEventListener("focusout", (event) => node.contains(event.relatedTarget) || close());
  showPicked();
  return valued(node, at, item, read);
}

function suggestion(option, choose) {
  return el("button", { type: "button", role: "option", class: "menu-item", data: { value: option.value }, text: plainText(option.text), on: { click: () => choose(option) } });
}
