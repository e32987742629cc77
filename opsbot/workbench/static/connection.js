// The page's two ways to the server: a WebSocket that brings changes, and calls that act as a person.

import { toast } from "./dialogs.js";

const FIRST_RETRY_MS = 400;
const LONGEST_RETRY_MS = 5000;

/** Keep the store in step with the server; reconnects for ever and says so in `store.connected`. */
export function connect(store) {
  let wait = FIRST_RETRY_MS;
  const open = () => {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/_control/ws`);
    socket.addEventListener("open", () => { wait = FIRST_RETRY_MS; });
    socket.addEventListener("message", (event) => {
      store.connected = true;
      store.apply(JSON.parse(event.data));
    });
    socket.addEventListener("close", () => {
      store.connected = false;
      store.changed();
      setTimeout(open, wait);
      wait = Math.min(wait * 2, LONGEST_RETRY_MS);
    });
  };
  open();
}

/** POST one control call and return its answer; a failure is shown as a toast and returned as null. */
export async function call(operation, body) {
  try {
    const response = await fetch(`/_control/${operation}`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok && answer.ok !== false) return answer;
    toast(`${operation.replace("_", " ")}: ${answer.error || `HTTP ${response.status}`}`, "error");
  } catch {
    toast("The workbench server does not answer.", "error");
  }
  return null;
}

/** GET one control resource; null when it cannot be read. */
export async function read(resource) {
  try {
    const response = await fetch(`/_control/${resource}`);
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
