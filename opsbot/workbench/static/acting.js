// What all controls share: their marks in the DOM, how an action runs, and how values are read back.

import { askConfirmation } from "./dialogs.js";

/** The data attributes every control carries. */
export function marks(at, value) {
  return { blockId: at.block_id, actionId: at.action_id, value };
}

/** Run an action while its control shows that it is on its way; ask first if the element says so. */
export async function perform(node, item, ctx, action) {
  if (item.confirm && !(await askConfirmation(item.confirm, ctx.names))) return false;
  node.classList.add("pending");
  node.setAttribute("aria-busy", "true");
  if ("disabled" in node) node.disabled = true;
  try {
    await ctx.act({ type: item.type, ...action });
  } finally {
    node.classList.remove("pending");
    node.removeAttribute("aria-busy");
    if ("disabled" in node) node.disabled = false;
  }
  return true;
}

/** Attach the way to read a control's value to its node. */
export function valued(node, at, item, read) {
  node.dataset.blockId = at.block_id ?? "";
  node.dataset.actionId = at.action_id ?? "";
  node.classList.add("has-value");
  node.readValue = () => ({ type: item.type, ...read() });
  return node;
}

/** Collect the values of all controls in a node, as Slack's `state.values`. */
export function stateOf(root) {
  const values = {};
  for (const node of root.querySelectorAll(".has-value")) {
    const { blockId, actionId } = node.dataset;
    values[blockId] = { ...values[blockId], [actionId]: node.readValue() };
  }
  return values;
}
