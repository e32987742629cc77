// Builds DOM nodes: the only place where elements are created, so that text can never become markup.

const SVG = "http://www.w3.org/2000/svg";

// Attributes a renderer may set. Event handlers, styles and addresses have their own, checked ways.
const PLAIN_ATTRIBUTES = new Set([
  "id", "type", "name", "placeholder", "title", "value", "for", "role", "rows", "min", "max", "step", "maxlength",
  "autocomplete", "spellcheck", "tabindex", "colspan", "start", "datetime", "dir", "alt", "multiple", "accept",
  "disabled", "checked", "selected", "open", "label", "hidden", "loading", "scope",
]);

/**
 * Create an element.
 *
 * options: class (string), text (string), data (object), on (event -> handler), and plain attributes; `aria-*` too.
 * children: nodes, strings, or nested arrays of them; null and false are skipped.
 */
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) setOption(node, name, value);
  append(node, children);
  return node;
}

function setOption(node, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name === "class") node.className = value;
  else if (name === "text") node.textContent = value;
  else if (name === "data") Object.entries(value).forEach(([key, item]) => setData(node, key, item));
  else if (name === "on") Object.entries(value).forEach(([event, handler]) => node.addEventListener(event, handler));
  else if (PLAIN_ATTRIBUTES.has(name) || name.startsWith("aria-")) node.setAttribute(name, value === true ? "" : value);
  else throw new Error(`attribute not allowed: ${name}`);
}

function setData(node, key, value) {
  if (value !== undefined && value !== null) node.dataset[key] = String(value);
}

/** Append nodes and strings, flattening arrays. */
export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child);
  }
  return node;
}

/** Replace everything inside a node. */
export function fill(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

/** Create an icon from path data of our own; `names` of icons are in icons.js. */
export function svg(paths, size = 18) {
  const node = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 20 20", width: size, height: size, fill: "none", stroke: "currentColor",
    "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" };
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  for (const path of paths) {
    const shape = document.createElementNS(SVG, "path");
    shape.setAttribute("d", path);
    node.append(shape);
  }
  return node;
}

/** Return the address if it is absolute http or https, else "". */
export function webAddress(address) {
  try {
    const url = new URL(String(address));
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : "";
  } catch {
    return "";
  }
}

/** A link to an http(s) address; any other address becomes plain text with the address shown. */
export function link(address, ...label) {
  const href = webAddress(address);
  if (!href) return el("span", { class: "dead-link", title: "Not a web link" }, label, ` (${address})`);
  const node = el("a", { class: "link", title: href }, label);
  node.href = href;
  node.rel = "noopener noreferrer nofollow";
  node.target = "_blank";
  return node;
}

/** An image of this server; a picture from anywhere else is named, not loaded. */
export function picture(address, alt, className) {
  const href = ownAddress(address);
  if (!href) return el("span", { class: "no-image" }, `🖼 ${alt || "image"}`, webAddress(address) ? [" · ", link(address, "open")] : null);
  const node = el("img", { class: className, alt: alt || "", loading: "lazy" });
  node.src = href;
  return node;
}

/** Return the address if it belongs to this server (http, same origin), else "". */
export function ownAddress(address) {
  try {
    const url = new URL(String(address), document.baseURI);
    return url.origin === location.origin && url.protocol.startsWith("http") ? url.href : "";
  } catch {
    return "";
  }
}

/** A download link to a file of this server. */
export function download(address, name, ...label) {
  const href = ownAddress(address);
  if (!href) return el("span", {}, label);
  const node = el("a", { class: "link" }, label);
  node.href = href;
  node.download = name;
  return node;
}
