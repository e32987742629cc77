// A streamed message: what its chunks say, drawn while more may come.

import { renderBlocks } from "./blocks.js";
import { el } from "./dom.js";
import { markdown } from "./markdown.js";
import { plan, taskCard } from "./tasks.js";

/** Render the chunks of a stream: tasks first (as a plan or a timeline), then the text, then its blocks. */
export function streamed(message, ctx) {
  const { text, tasks, title, blocks } = gathered(message.chunks);
  const asPlan = message.task_display_mode === "plan" || title;
  return [
    tasks.length && asPlan ? plan({ title: title || "Plan", tasks }, ctx.names) : null,
    tasks.length && !asPlan ? el("div", { class: "plan plan-timeline" }, tasks.map((task) => taskCard(task, ctx.names))) : null,
    text ? el("div", { class: "markdown" }, markdown(text, ctx.names)) : null,
    ...renderBlocks(blocks, ctx),
  ].filter(Boolean);
}

function gathered(chunks) {
  const tasks = new Map();
  const found = { text: "", title: "", blocks: [] };
  for (const chunk of chunks) {
    if (chunk.type === "markdown_text") found.text += chunk.text ?? "";
    else if (chunk.type === "plan_update") found.title = chunk.title;
    else if (chunk.type === "blocks") found.blocks.push(...(chunk.blocks ?? []));
    else if (chunk.type === "task_update") tasks.set(chunk.id, mergedTask(tasks.get(chunk.id), chunk));
  }
  return { ...found, tasks: [...tasks.values()] };
}

// An update replaces title and status; details are appended.
function mergedTask(before, { id, title, status, details, output, sources }) {
  return {
    task_id: id, title: title || before?.title || "", status: status || before?.status,
    details: (before?.details ?? "") + (details ?? "") || null, output: output ?? before?.output, sources: sources ?? before?.sources,
  };
}
