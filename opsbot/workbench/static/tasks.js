// `plan` and `task_card` blocks: progress of a piece of work.

import { el, link } from "./dom.js";
import { icon } from "./icons.js";
import { plainText } from "./mrkdwn.js";
import { richText } from "./richtext.js";

const STATES = { pending: "waiting", in_progress: "running", complete: "done", error: "failed" };

/** Render a plan with its tasks. */
export function plan(block, names) {
  const tasks = block.tasks ?? [];
  const done = tasks.filter((task) => task.status === "complete").length;
  return el("div", { class: "plan" },
    el("div", { class: "plan-head" }, el("span", { class: "plan-title", text: plainText(block.title) }),
      tasks.length ? el("span", { class: "plan-count", text: `${done} of ${tasks.length}` }) : null),
    el("div", { class: "plan-tasks" }, tasks.map((task) => taskCard(task, names))));
}

/** Render one task with its state, details, output and sources. */
export function taskCard(task, names) {
  const state = Object.hasOwn(STATES, task.status) ? task.status : "pending";
  const more = [
    task.details ? el("div", { class: "task-details" }, rich(task.details, names)) : null,
    task.output ? el("div", { class: "task-output" }, rich(task.output, names)) : null,
    task.sources?.length ? el("div", { class: "task-sources" }, task.sources.map((source) => link(source.url, source.text || source.url))) : null,
  ].filter(Boolean);
  return el("div", { class: `task task-${state}`, data: { taskId: task.task_id ?? task.id } },
    el("span", { class: "task-mark", title: STATES[state], "aria-label": STATES[state], role: "img" }, mark(state)),
    el("div", { class: "task-body" }, el("div", { class: "task-title", text: plainText(task.title) }), more));
}

function rich(value, names) {
  return typeof value === "object" ? richText(value, names) : String(value);
}

function mark(state) {
  if (state === "complete") return icon("check", 14);
  if (state === "error") return icon("cross", 14);
  return el("span", { class: state === "in_progress" ? "spinner" : "ring" });
}
