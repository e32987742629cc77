// Modal views as a stack of dialogs, and the App Home.

import { stateOf } from "./acting.js";
import { renderBlocks } from "./blocks.js";
import { call } from "./connection.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { optionsIn } from "./messages.js";
import { plainText, textObject } from "./mrkdwn.js";

function viewContext(store, view, root) {
  const where = { user: store.local.actor, view_id: view.id };
  return {
    names: store.names,
    dispatches: true,
    scopeKey: `view-${view.id}`,
    act: (action) => call("action", { ...where, state: { values: stateOf(root()) }, ...action }),
    suggest: async (query) => optionsIn(await call("options", { ...where, ...query })),
  };
}

/** Keeps the dialogs of the acting person's view stack in step with the store. */
export class Modals {
  constructor(store) {
    this.store = store;
    this.open = new Map();
  }

  draw() {
    const { state, local } = this.store;
    const views = state.views[local.actor] ?? [];
    const wanted = new Set(views.map((view) => view.id));
    for (const [id, shown] of this.open) {
      if (wanted.has(id) && shown.actor === local.actor) continue;
      shown.dialog.close();
      shown.dialog.remove();
      this.open.delete(id);
    }
    views.forEach((view, depth) => this.#show(view, depth));
  }

  #show(view, depth) {
    const known = this.open.get(view.id);
    const signature = JSON.stringify([view.hash, view.blocks]);
    if (known?.signature === signature) return showErrors(known.dialog, view.errors);
    const dialog = known?.dialog ?? el("dialog", { class: "modal", data: { view: view.id } });
    const typed = known ? stateOf(dialog) : {};
    this.#fill(dialog, view, depth);
    retype(dialog, typed);
    this.open.set(view.id, { dialog, signature, actor: this.store.local.actor });
    if (!known) {
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        this.#close(view.id);
      });
      document.body.append(dialog);
      dialog.showModal();
    }
    showErrors(dialog, view.errors);
  }

  #fill(dialog, view, depth) {
    const { names } = this.store;
    dialog.setAttribute("aria-label", plainText(view.title) || "Dialog");
    const ctx = { ...viewContext(this.store, view, () => dialog), dispatches: true };
    const form = el("form", { class: "modal-form" },
      el("header", { class: "modal-head" }, el("h2", { class: "dialog-title" }, textObject(view.title, names)), depth ? el("span", { class: "quiet", text: `step ${depth + 1}` }) : null,
        el("button", { type: "button", class: "icon-button", "aria-label": "Close", on: { click: () => this.#close(view.id) } }, icon("close"))),
      el("div", { class: "modal-body" }, renderBlocks(view.blocks, ctx)),
      el("footer", { class: "dialog-actions" },
        el("button", { type: "button", class: "button", data: { viewClose: view.id }, on: { click: () => this.#close(view.id) }, text: plainText(view.close) || (view.submit ? "Cancel" : "Close") }),
        view.submit ? el("button", { type: "submit", class: "button button-primary", data: { viewSubmit: view.id }, disabled: view.submit_disabled === true, text: plainText(view.submit) }) : null));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(view, dialog, form.querySelector("[data-view-submit]"));
    });
    fill(dialog, form);
  }

  async #submit(view, dialog, button) {
    const missing = missingInputs(dialog);
    showErrors(dialog, Object.fromEntries(missing.map((block) => [block, "Please fill in this field."])));
    if (missing.length) return;
    button?.classList.add("pending");
    const values = stateOf(dialog);
    const answer = await call("view_submit", { user: this.store.local.actor, view_id: view.id, state: { values } });
    button?.classList.remove("pending");
    if (answer?.errors) showErrors(dialog, answer.errors);
  }

  #close(viewId) {
    call("view_close", { user: this.store.local.actor, view_id: viewId });
  }
}

function missingInputs(dialog) {
  return [...dialog.querySelectorAll("[data-input-block]:not([data-optional])")].filter((block) => {
    const control = block.querySelector(".has-value");
    if (!control) return false;
    const { type, ...value } = control.readValue();
    return Object.values(value).every((item) => item === null || (Array.isArray(item) && item.length === 0 && type !== "checkboxes"));
  }).map((block) => block.dataset.inputBlock);
}

function showErrors(dialog, errors) {
  for (const block of dialog.querySelectorAll("[data-input-block]")) {
    const message = errors?.[block.dataset.inputBlock] ?? "";
    block.querySelector(".input-error").textContent = message;
    block.classList.toggle("has-error", Boolean(message));
  }
}

// What was typed survives an update of the view, where block and action stayed the same.
function retype(dialog, values) {
  for (const node of dialog.querySelectorAll("input.has-value, textarea.has-value, select.has-value")) {
    const before = values[node.dataset.blockId]?.[node.dataset.actionId];
    const text = before?.value ?? before?.selected_option?.value ?? before?.selected_date ?? before?.selected_time;
    if (text) node.value = text;
  }
}

/** Draw the acting person's App Home into a node. */
export function drawHome(node, store) {
  const { state, local } = store;
  const view = state.homes[local.actor];
  const shape = JSON.stringify([local.actor, view?.hash, view?.blocks]);
  if (node.dataset.shape === shape) return;
  node.dataset.shape = shape;
  if (view?.blocks?.length) fill(node, el("div", { class: "home-inner" }, renderBlocks(view.blocks, viewContext(store, view, () => node))));
  else fill(node, el("div", { class: "home-inner" }, el("p", { class: "empty-note", text: `${state.bot.name} has not published an App Home for this person.` })));
}
