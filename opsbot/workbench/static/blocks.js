// Block Kit blocks as DOM nodes, one renderer per block type; an unknown block is a visible red placeholder.

import { control } from "./controls.js";
import { el, link, picture } from "./dom.js";
import { markdown } from "./markdown.js";
import { plainText, textObject } from "./mrkdwn.js";
import { richText } from "./richtext.js";
import { dataTable, table } from "./tables.js";
import { plan, taskCard } from "./tasks.js";

const RENDERERS = {
  header: (block, ctx) => el("h3", { class: "block-header" }, textObject(block.text, ctx.names)),
  section,
  divider: () => el("hr", { class: "divider" }),
  context: (block, ctx) => el("div", { class: "block-context" }, (block.elements ?? []).map((item) => contextItem(item, ctx))),
  actions: (block, ctx) => el("div", { class: "block-actions" }, (block.elements ?? []).map((item) => control(item, block.block_id, ctx))),
  context_actions: (block, ctx) => el("div", { class: "block-actions block-context-actions" }, (block.elements ?? []).map((item) => control(item, block.block_id, ctx))),
  input,
  image,
  rich_text: (block, ctx) => richText(block, ctx.names),
  markdown: (block, ctx) => el("div", { class: "markdown" }, markdown(block.text, ctx.names)),
  table: (block, ctx) => table(block, ctx.names),
  data_table: (block, ctx) => dataTable(block, ctx.names),
  plan: (block, ctx) => plan(block, ctx.names),
  task_card: (block, ctx) => taskCard(block, ctx.names),
  card,
  carousel: (block, ctx) => el("div", { class: "carousel" }, (block.elements ?? []).map((item) => renderBlock(item, ctx))),
  container,
  alert: (block, ctx) => el("div", { class: `alert alert-${ALERTS.has(block.level) ? block.level : "default"}`, role: "note" }, textObject(block.text, ctx.names)),
  file: (block) => el("div", { class: "file-card" }, `📎 remote file ${block.external_id ?? ""}`),
  video: (block, ctx) => el("div", { class: "file-card" }, el("span", {}, "▶ ", textObject(block.title, ctx.names), " "), block.title_url ? link(block.title_url, "open") : null),
};
const ALERTS = new Set(["default", "info", "warning", "error", "success"]);

/** Render a list of blocks. */
export function renderBlocks(blocks, ctx) {
  return (blocks ?? []).map((block) => renderBlock(block, ctx));
}

/** Render one block; a fault of one block never hides the others. */
export function renderBlock(block, ctx) {
  if (!Object.hasOwn(RENDERERS, block?.type)) return placeholder(`unknown block: ${block?.type}`);
  try {
    const node = RENDERERS[block.type](block, ctx);
    node.classList.add("block");
    if (block.block_id) node.dataset.block = block.block_id;
    return node;
  } catch (error) {
    console.error("block not drawn", block, error);
    return placeholder(`block not drawn: ${block.type}`);
  }
}

function placeholder(text) {
  return el("div", { class: "unknown-block block", text });
}

function section(block, ctx) {
  const body = [
    block.text ? el("div", { class: "text" }, textObject(block.text, ctx.names)) : null,
    block.fields?.length ? el("div", { class: "fields" }, block.fields.map((field) => el("div", { class: "field-cell text" }, textObject(field, ctx.names)))) : null,
  ];
  const accessory = block.accessory ? el("div", { class: "accessory" }, control(block.accessory, block.block_id, ctx)) : null;
  return el("div", { class: "block-section" }, el("div", { class: "section-body" }, body), accessory);
}

function contextItem(item, ctx) {
  if (item.type === "image") return picture(item.image_url ?? item.slack_file?.url, item.alt_text, "context-image");
  if (item.type !== "mrkdwn" && item.type !== "plain_text") return placeholder(`unknown context element: ${item.type}`);
  return el("span", { class: "context-text" }, textObject(item, ctx.names));
}

function input(block, ctx) {
  const label = plainText(block.label);
  const inner = { ...ctx, label, dispatches: block.dispatch_action === true };
  return el("div", { class: "block-input", data: { inputBlock: block.block_id, optional: block.optional ? "yes" : null } },
    el("div", { class: "input-label" }, textObject(block.label, ctx.names), block.optional ? el("span", { class: "quiet", text: " (optional)" }) : null),
    control(block.element, block.block_id, inner),
    block.hint ? el("div", { class: "input-hint" }, textObject(block.hint, ctx.names)) : null,
    el("div", { class: "input-error", role: "alert" }));
}

function image(block, ctx) {
  return el("figure", { class: "block-image" },
    block.title ? el("figcaption", {}, textObject(block.title, ctx.names)) : null,
    picture(block.image_url ?? block.slack_file?.url ?? "", block.alt_text, "wide-image"));
}

function card(block, ctx) {
  return el("div", { class: "card" },
    block.hero_image ? picture(block.hero_image.image_url, block.hero_image.alt_text, "card-hero") : null,
    el("div", { class: "card-head" },
      block.icon ? picture(block.icon.image_url, block.icon.alt_text, "card-icon") : null,
      el("div", {},
        block.title ? el("div", { class: "card-title" }, textObject(block.title, ctx.names)) : null,
        block.subtitle ? el("div", { class: "card-subtitle" }, textObject(block.subtitle, ctx.names)) : null)),
    block.body ? el("div", { class: "card-body text" }, textObject(block.body, ctx.names)) : null,
    block.actions?.length ? el("div", { class: "block-actions" }, block.actions.map((item) => control(item, block.block_id, ctx))) : null);
}

function container(block, ctx) {
  const title = block.rich_text_title ? richText(block.rich_text_title, ctx.names) : textObject(block.title, ctx.names);
  const head = [
    block.icon ? picture(block.icon.image_url, block.icon.alt_text, "card-icon") : null,
    el("div", {}, el("div", { class: "card-title" }, title), block.subtitle ? el("div", { class: "card-subtitle" }, textObject(block.subtitle, ctx.names)) : null),
  ];
  const width = ["narrow", "standard", "wide", "full"].includes(block.width) ? block.width : "standard";
  const classes = `card container width-${width}${block.has_header_divider ? " with-divider" : ""}`;
  const children = el("div", { class: "container-body" }, renderBlocks(block.child_blocks, ctx));
  if (!block.is_collapsible) return el("div", { class: classes }, el("div", { class: "card-head" }, head), children);
  return el("details", { class: classes, open: !block.default_collapsed }, el("summary", { class: "card-head" }, head), children);
}
