// Small dialogs and toasts of the page itself.

import { el } from "./dom.js";
import { plainText, textObject } from "./mrkdwn.js";

/** Show a `confirm` object and resolve to whether the person agreed. */
export function askConfirmation(confirm, names) {
  return new Promise((resolve) => {
    const style = confirm.style === "danger" ? "button-danger" : "button-primary";
    const yes = el("button", { type: "button", class: `button ${style}`, data: { confirm: "yes" }, text: plainText(confirm.confirm) || "Yes" });
    const no = el("button", { type: "button", class: "button", data: { confirm: "no" }, text: plainText(confirm.deny) || "Cancel" });
    const dialog = el("dialog", { class: "dialog", "aria-label": plainText(confirm.title) || "Please confirm" },
      el("h2", { class: "dialog-title" }, textObject(confirm.title, names)),
      el("div", { class: "dialog-body text" }, textObject(confirm.text, names)),
      el("div", { class: "dialog-actions" }, no, yes));
    const end = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    yes.addEventListener("click", () => end(true));
    no.addEventListener("click", () => end(false));
    dialog.addEventListener("cancel", () => end(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A button around an image that shows it as large as the window allows. */
export function enlargeable(image, name) {
  const button = el("button", { type: "button", class: "enlarge", "aria-label": `Enlarge ${name}` }, image);
  button.addEventListener("click", () => {
    const close = el("button", { type: "button", class: "button", text: "Close" });
    const dialog = el("dialog", { class: "dialog dialog-image", "aria-label": name }, image.cloneNode(), el("div", { class: "dialog-actions" }, close));
    const end = () => {
      dialog.close();
      dialog.remove();
    };
    close.addEventListener("click", end);
    dialog.addEventListener("cancel", end);
    dialog.addEventListener("click", (event) => event.target === dialog && end());
    document.body.append(dialog);
    dialog.showModal();
  });
  return button;
}

const TOAST_MS = 9000;

/** Show a passing note. `kind`: info, warning or error. */
export function toast(text, kind = "info") {
  const close = el("button", { type: "button", class: "toast-close", "aria-label": "Dismiss", text: "×" });
  const node = el("div", { class: `toast toast-${kind}`, role: kind === "error" ? "alert" : "status" }, el("span", { class: "toast-text", text }), close);
  const remove = () => node.remove();
  close.addEventListener("click", remove);
  setTimeout(remove, TOAST_MS);
  rack().append(node);
}

function rack() {
  const found = document.querySelector(".toasts");
  if (found) return found;
  const made = el("div", { class: "toasts", "aria-live": "polite" });
  document.body.append(made);
  return made;
}
