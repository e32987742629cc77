// Where a person writes: a growing text field with completion, files and a send button.

import { addressesBot, commandHint, completions } from "./composing.js";
import { call } from "./connection.js";
import { toast } from "./dialogs.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";

const TALLEST_PX = 220;
const LARGEST_FILE_BYTES = 8 * 1024 * 1024;

/** One composer. `place()` says where to post; `sent(answer, text)` is told about each accepted message. */
export class Composer {
  constructor(store, { name, place, sent }) {
    this.store = store;
    this.place = place;
    this.sent = sent;
    this.files = [];
    this.offer = null;
    this.chosen = 0;
    this.input = el("textarea", { class: "composer-input", rows: "1", "aria-label": "Message", spellcheck: "true", role: "combobox",
      "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": `${name}-completions`, data: { composer: name } });
    this.popup = el("div", { class: "completions", id: `${name}-completions`, role: "listbox", "aria-label": "Completions", hidden: true });
    this.hint = el("div", { class: "command-hint quiet" });
    this.chips = el("div", { class: "chips" });
    this.sendButton = el("button", { type: "submit", class: "send", "aria-label": "Send", title: "Send (Enter)" }, icon("send", 18));
    this.node = el("form", { class: "composer", data: { form: name } }, this.popup, this.chips, this.input,
      el("div", { class: "composer-bar" }, this.#attach(), this.hint, el("span", { class: "composer-keys quiet", text: "Enter sends · Shift+Enter new line" }), this.sendButton));
    this.#listen();
  }

  /** Put text into the field, ready to be sent. */
  fill(text) {
    this.input.value = text;
    this.#grow();
    this.#offerCompletions();
    this.input.focus();
  }

  /** Move the keyboard here. */
  focus() {
    this.input.focus({ preventScroll: true });
  }

  /** Name the place in the empty field. */
  setPlaceholder(text) {
    if (this.input.placeholder !== text) this.input.placeholder = text;
  }

  #attach() {
    const chooser = el("input", { type: "file", class: "file-chooser", multiple: true, "aria-label": "Attach files", tabindex: "-1" });
    chooser.addEventListener("change", async () => {
      await this.#addFiles([...chooser.files]);
      chooser.value = "";
    });
    return el("label", { class: "icon-button", title: "Attach files", tabindex: "0", role: "button", on: { keydown: (event) => event.key === "Enter" && chooser.click() } }, icon("clip"), chooser);
  }

  #listen() {
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.input.addEventListener("input", () => {
      this.#grow();
      this.#offerCompletions();
    });
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("blur", () => setTimeout(() => this.#closeOffer(), 150));
    this.input.addEventListener("paste", (event) => event.clipboardData?.files.length && this.#addFiles([...event.clipboardData.files]));
    this.node.addEventListener("dragover", (event) => event.preventDefault());
    this.node.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#addFiles([...event.dataTransfer.files]);
    });
  }

  #key(event) {
    if (event.isComposing) return;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (this.offer && event.key in moves) this.#choose(this.chosen + moves[event.key], event);
    else if (this.offer && event.key === "Escape") this.#closeOffer(event);
    else if (this.offer && (event.key === "Tab" || (event.key === "Enter" && !this.#exact()))) this.#accept(this.offer.entries[this.chosen], event);
    else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    }
  }

  // A word that is already complete is sent by Enter, not completed once more.
  #exact() {
    return this.offer.entries[this.chosen].text.toLowerCase() === this.offer.word.toLowerCase();
  }

  #offerCompletions() {
    this.offer = completions(this.input.value, this.input.selectionStart, this.store.state, { commands: !this.place().thread_ts });
    this.chosen = 0;
    this.hint.textContent = commandHint(this.input.value, this.store.state);
    this.#drawOffer();
  }

  #drawOffer() {
    this.popup.hidden = !this.offer;
    this.input.setAttribute("aria-expanded", String(Boolean(this.offer)));
    if (!this.offer) return this.input.removeAttribute("aria-activedescendant");
    fill(this.popup, this.offer.entries.map((entry, index) => el("div", {
      class: "completion", id: `${this.popup.id}-${index}`, role: "option", "aria-selected": String(index === this.chosen),
      on: { mousedown: (event) => this.#accept(entry, event) },
    }, el("span", { class: "completion-label", text: entry.label }), el("span", { class: "quiet", text: entry.note ?? "" }))));
    this.input.setAttribute("aria-activedescendant", `${this.popup.id}-${this.chosen}`);
  }

  #choose(index, event) {
    event.preventDefault();
    const count = this.offer.entries.length;
    this.chosen = (index + count) % count;
    this.#drawOffer();
  }

  #accept(entry, event) {
    event.preventDefault();
    const rest = this.input.value.slice(this.input.selectionStart);
    this.input.value = `${this.input.value.slice(0, this.offer.from)}${entry.text} ${rest.replace(/^ /, "")}`;
    const caret = this.offer.from + entry.text.length + 1;
    this.input.setSelectionRange(caret, caret);
    this.#offerCompletions();
    this.input.focus();
  }

  #closeOffer(event) {
    event?.preventDefault();
    event?.stopPropagation();
    this.offer = null;
    this.#drawOffer();
  }

  #grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, TALLEST_PX)}px`;
  }

  async #addFiles(files) {
    for (const file of files) {
      if (file.size > LARGEST_FILE_BYTES) toast(`${file.name} is larger than 8 MB`, "warning");
      else this.files.push({ name: file.name, mimetype: file.type || "application/octet-stream", content_base64: await asBase64(file) });
    }
    this.#drawChips();
  }

  #drawChips() {
    fill(this.chips, this.files.map((file) => el("button", { type: "button", class: "chip", title: "Remove", text: `📎 ${file.name} ×`,
      on: { click: () => { this.files = this.files.filter((other) => other !== file); this.#drawChips(); } } })));
  }

  async #send() {
    const typed = this.input.value.trim();
    if ((!typed && !this.files.length) || this.sending) return;
    this.#closeOffer();
    const { channel, thread_ts } = this.place();
    const command = this.files.length ? null : /^(\/[\w-]+)(?:\s+([\s\S]*))?$/.exec(typed);
    if (command && thread_ts) {
      toast(`Slack does not run slash commands in threads. Write @${this.store.state.bot.name} !${command[2] ?? "help"} instead.`, "warning");
      return;
    }
    this.sending = true;
    this.node.classList.add("sending");
    const answer = await (command ? this.#command(channel, command) : this.#message(channel, thread_ts, typed));
    this.sending = false;
    this.node.classList.remove("sending");
    if (answer) this.#clear();
  }

  #command(channel, [, command, text = ""]) {
    const { state, local } = this.store;
    if (state.commands.length && !state.commands.some((known) => known.command === command)) {
      toast(`${command} is not a command of this app. Known: ${state.commands.map((known) => known.command).join(", ")}.`, "warning");
      return null;
    }
    return call("command", { user: local.actor, channel, command, text });
  }

  async #message(channel, threadTs, typed) {
    const { state, local } = this.store;
    const body = { user: local.actor, channel, text: typed, ...(threadTs ? { thread_ts: threadTs } : {}), ...(this.files.length ? { files: this.files } : {}) };
    const answer = await call("message", body);
    if (answer) this.sent(answer, { addressed: addressesBot(typed, state) });
    return answer;
  }

  #clear() {
    this.input.value = "";
    this.files = [];
    this.#drawChips();
    this.#grow();
    this.#offerCompletions();
  }
}

function asBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(String(reader.result).split(",", 2)[1] ?? ""));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}
