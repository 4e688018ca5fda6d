// Makes elements. Invariant: text becomes a text node, never markup, and no attribute can run a script; so nothing
// that a record, a file or an error holds can become an element.

const SVG = "http://www.w3.org/2000/svg";
// Set as properties, because the attribute is only their beginning.
const PROPERTIES = new Set(["value", "checked", "selected", "disabled", "hidden", "open", "indeterminate", "readOnly"]);

// h("p", { class: "lead", on: { click }, vars: { "--part": 0.5 } }, "text", child, [more])
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (name === "vars") for (const [key, part] of Object.entries(value)) node.style.setProperty(key, part);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, checked(name, value === true ? "" : String(value)));
  }
  append(node, children);
  return node;
}

function checked(name, value) {
  if (name.startsWith("on") || name === "style") throw new Error(`${name} is not set by attribute`);
  if ((name === "href" || name === "src") && !/^(#|blob:|page\/|openapi\.json$|api\/)/.test(value)) {
    throw new Error(`a link to ${value.slice(0, 40)} is not made`);
  }
  return value;
}

function append(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(node, child);
    else if (child !== undefined && child !== null && child !== false) {
      node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }
}

// Replaces what an element holds.
export function put(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

let counter = 0;
// A fresh id, for labels.
export function freshId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}
