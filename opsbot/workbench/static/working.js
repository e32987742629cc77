// The line above a composer that says what the bot is doing, with the Stop button.

import { call } from "./connection.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { sessionOf, statusOf } from "./store.js";

/** Draw the line for a thread; it is empty when nothing is going on. */
export function drawWorking(node, store, channel, threadTs) {
  const { state, local } = store;
  const status = threadTs ? statusOf(state, channel, threadTs) : "";
  const session = threadTs ? sessionOf(state, channel, threadTs) : undefined;
  const shape = JSON.stringify([status, session?.status, channel, threadTs, local.actor]);
  if (node.dataset.shape === shape) return;
  node.dataset.shape = shape;
  const processing = session?.status === "processing";
  const words = status ? `${state.bot.name} ${status}` : processing ? `${state.bot.name} is working…` : "";
  const waiting = !words && session?.status === "suspended" ? el("span", { class: "pill", text: "Waiting for a person" }) : null;
  fill(node, words ? [el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), el("span", { class: "working-words", text: words })] : waiting,
    processing ? stopButton(local.actor, channel, threadTs) : null);
}

function stopButton(user, channel, threadTs) {
  const node = el("button", { type: "button", class: "button stop", data: { stop: threadTs } }, icon("stop", 14), "Stop");
  node.addEventListener("click", async () => {
    node.disabled = true;
    await call("stop", { user, channel, thread_ts: threadTs });
    node.disabled = false;
  });
  return node;
}
