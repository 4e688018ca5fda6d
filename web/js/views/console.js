// Every route of openapi.json: what it does, an example to send, its answer, and the same as curl and Python.

import { link } from "../core/address.js";
import { api, send, url } from "../core/api.js";
import { bytes, seconds } from "../core/format.js";
import { session } from "../core/session.js";
import { danger } from "../data/danger.js";
import { example, outline, resolve } from "../data/example.js";
import { curl, python } from "../data/snippets.js";
import { area, button, field, input } from "../ui/controls.js";
import { confirm } from "../ui/dialog.js";
import { h, put } from "../ui/dom.js";
import { heading } from "../ui/heading.js";
import { copyButton } from "../ui/copy.js";
import { empty, message } from "../ui/notice.js";

export const title = (path) => (path[2] ? `${path[1].toUpperCase()} ${path[2]}` : "Console");

const LONGEST_SHOWN = 200_000;

export async function show({ path: [, method, path], query, signal }) {
  const description = await api.openapi({ signal });
  const operation = operationAt(description, method, path);
  const chosen = operation
    ? route(new Operation(description, method, path, operation, query, signal))
    : empty({
        title: "Choose a route",
        text: "Each has an example to send from here, and the same as a line of curl and of Python.",
        icon: "console",
      });
  const skip =
    operation &&
    button("Skip to the route", {
      kind: "compact unseen-without-focus",
      click: () => chosen.querySelector("h2").focus(),
    });
  return [
    heading("Console", { lead: description.info.description }),
    skip,
    h("div", { class: "console" }, routes(description, method, path), chosen),
  ];
}

// Only what the description itself has is a route.
function operationAt({ paths }, method, path) {
  const methods = path !== undefined && Object.hasOwn(paths, path) ? paths[path] : {};
  return method !== undefined && Object.hasOwn(methods, method) ? methods[method] : null;
}

function routes(description, method, path) {
  const list = h("div", { class: "stack-s" });
  const draw = (wanted) =>
    put(
      list,
      description.tags.map(({ name: tag }) => {
        const found = Object.entries(description.paths).flatMap(([each, methods]) =>
          Object.entries(methods)
            .filter(
              ([verb, { tags, summary }]) =>
                tags.includes(tag) && `${verb} ${each} ${summary}`.toLowerCase().includes(wanted),
            )
            .map(([verb, { summary }]) =>
              h(
                "a",
                {
                  href: link(["console", verb, each]),
                  title: summary,
                  "aria-current": verb === method && each === path ? "page" : undefined,
                },
                h("span", { class: `method ${verb}` }, verb.toUpperCase()),
                h("span", { class: "path" }, each),
              ),
            ),
        );
        return found.length > 0 && [h("h3", {}, tag), h("div", {}, found)];
      }),
    );
  draw("");
  return h(
    "nav",
    { class: "routes", "aria-label": "Routes", tabindex: "0" },
    input({
      type: "search",
      placeholder: "Find a route",
      "aria-label": "Find a route",
      on: { input: (e) => draw(e.target.value.toLowerCase()) },
    }),
    list,
  );
}

// One route with what the person typed for it.
class Operation {
  constructor(description, method, path, operation, query, signal) {
    Object.assign(this, { description, method, path, operation, query, signal, values: {} });
    this.parameters = (operation.parameters ?? []).map((each) => resolve(each, description));
    const content = resolve(operation.requestBody, description).content ?? {};
    this.media = content["application/json"] ? "application/json" : Object.keys(content)[0];
    this.isJson = this.media === "application/json";
    this.body = this.isJson
      ? JSON.stringify(example(method, path, content[this.media].schema, description), null, 2)
      : "";
    for (const { name } of this.parameters) if (query[`p.${name}`]) this.values[name] = query[`p.${name}`];
    this.scopes = [...new Set((operation.security ?? []).flatMap((form) => Object.values(form).flat()))];
  }

  // What is to be confirmed before it is sent.
  get danger() {
    const { method, path, scopes, values } = this;
    return danger({ method, path, target: this.target().path, scopes, values });
  }

  // The path with its parameters in place; a parameter of files may have slashes.
  target() {
    const path = this.path.replace(/\{([^}]+)\}/g, (_, name) =>
      (this.values[name] ?? `{${name}}`)
        .split("/")
        .map((part) => (part.startsWith("{") ? part : encodeURIComponent(part)))
        .join("/"),
    );
    const query = Object.fromEntries(
      this.parameters.filter(({ in: place }) => place === "query").map(({ name }) => [name, this.values[name]]),
    );
    return { path, query };
  }

  headers() {
    return Object.fromEntries(
      this.parameters
        .filter(({ in: place, name }) => place === "header" && this.values[name])
        .map(({ name }) => [name, this.values[name]]),
    );
  }

  missing() {
    return this.parameters
      .filter(({ in: place, name }) => place === "path" && !this.values[name])
      .map(({ name }) => name);
  }

  asText() {
    const { path, query } = this.target();
    const request = {
      method: this.method.toUpperCase(),
      url: this.missing().reduce((href, name) => href.replaceAll(`%7B${name}%7D`, `{${name}}`), url(path, query).href),
      body: this.media ? this.body : "",
      media: this.media === "*/*" ? "application/octet-stream" : this.media,
      hasKey: Boolean(session.key),
    };
    return { curl: curl(request), python: python(request) };
  }
}

function route(operation) {
  const {
    method,
    path,
    description,
    operation: { summary, description: about },
    scopes,
  } = operation;
  const snippets = h("div", { class: "stack-s" }),
    answer = h("div", { class: "stack-s", "aria-live": "polite" });
  const told = () => {
    const { curl: line, python: code } = operation.asText();
    put(snippets, snippet("curl", line), snippet("Python, with httpx", code));
  };
  const submit = (event) => {
    event.preventDefault();
    run(operation, answer);
  };
  told();
  return h(
    "article",
    { class: "stack" },
    h(
      "div",
      { class: "stack-s" },
      h(
        "h2",
        { tabindex: "-1" },
        h("span", { class: `method ${method}` }, method.toUpperCase()),
        " ",
        h("code", {}, path),
      ),
      h("p", {}, summary, ". ", about),
      scopes.length > 0 &&
        h("p", { class: "quiet small" }, `Needs a key that may ${scopes.join(" or ")}, if the server has keys.`),
    ),
    h(
      "form",
      { class: "card", on: { submit, input: told } },
      parameters(operation),
      bodyField(operation),
      h(
        "div",
        { class: "row" },
        button("Send", { kind: `primary ${operation.danger ? "danger" : ""}`, type: "submit" }),
        h("span", { class: "quiet small" }, "It is carried out on this server."),
      ),
    ),
    answer,
    snippets,
    reference(operation, description),
  );
}

// What has to be filled in, and folded behind it what may be.
function parameters(operation) {
  const [needed, further] = [true, false].map((wanted) =>
    operation.parameters.filter(({ required }) => Boolean(required) === wanted),
  );
  const used = further.some(({ name }) => operation.values[name]);
  return [
    fields(operation, needed),
    further.length > 0 &&
      h(
        "details",
        { class: "fold", open: used },
        h("summary", {}, `Optional: ${further.map(({ name }) => name).join(", ")}`),
        fields(operation, further),
      ),
  ];
}

function fields(operation, list) {
  return (
    list.length > 0 &&
    h(
      "div",
      { class: "columns-2" },
      list.map(({ name, in: place, required, schema, description }) => {
        const s = resolve(schema, operation.description);
        return field(
          `${name}${required ? "" : ", optional"}`,
          input({
            value: operation.values[name] ?? "",
            placeholder: s.default ?? (s.enum ?? []).join(" or ") ?? "",
            on: {
              input: (e) => {
                operation.values[name] = e.target.value;
              },
            },
          }),
          `${place}. ${description ?? ""}`,
        );
      }),
    )
  );
}

function bodyField(operation) {
  if (!operation.media) return null;
  if (!operation.isJson)
    return h("p", { class: "quiet" }, `This route takes ${operation.media}: use Files, or the line of curl.`);
  return field(
    "Body",
    area(
      {
        class: "code",
        rows: String(Math.min(18, operation.body.split("\n").length + 1)),
        on: {
          input: (e) => {
            operation.body = e.target.value;
          },
        },
      },
      operation.body,
    ),
  );
}

async function run(operation, node) {
  const missing = operation.missing();
  if (missing.length > 0) {
    put(node, message(`Fill in ${missing.join(" and ")} first.`, "warn"));
    return;
  }
  const { danger: asked } = operation;
  if (asked && !(await confirm({ ...asked, action: "Send it" }))) return;
  const { path, query } = operation.target();
  const hasBody = operation.media && operation.body !== "";
  const began = performance.now();
  try {
    const answer = await send(operation.method.toUpperCase(), path, {
      query,
      signal: operation.signal,
      headers: { ...operation.headers(), ...(hasBody && { "content-type": operation.media }) },
      ...(hasBody && { body: operation.body }),
    });
    const text = await answer.text();
    put(node, shown(answer, text, performance.now() - began));
  } catch (error) {
    if (error.name !== "AbortError") put(node, message(error.message, "bad"));
  }
}

function shown(answer, text, ms) {
  let pretty = text;
  try {
    pretty = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    /* Not all answers are JSON. */
  }
  const cut = pretty.length > LONGEST_SHOWN;
  return [
    h(
      "div",
      { class: "row" },
      h("span", { class: `badge ${answer.ok ? "good" : "bad"}` }, `${answer.status} ${answer.statusText}`),
      h(
        "span",
        { class: "quiet number" },
        `${seconds(ms / 1000)}, ${bytes(text.length)}, ${answer.headers.get("content-type") ?? "no type"}`,
      ),
    ),
    pretty !== "" &&
      h(
        "pre",
        { class: "block", tabindex: "0", "aria-label": "Answer" },
        pretty.slice(0, LONGEST_SHOWN),
        cut ? "\n… cut here" : "",
      ),
  ];
}

function snippet(name, text) {
  return h(
    "div",
    { class: "stack-s" },
    h("div", { class: "spread" }, h("h3", {}, name), copyButton(text, { label: `Copy the line of ${name}` })),
    h("pre", { class: "block wrap", tabindex: "0" }, text),
  );
}

function reference({ operation }, description) {
  const contents = (heading, content) =>
    Object.entries(content ?? {}).map(([media, { schema }]) => {
      const s = resolve(schema, description);
      return [
        h("h3", {}, `${heading}: ${media}`),
        h(
          "pre",
          { class: "block outline wrap", tabindex: "0" },
          s.format === "binary" ? (s.description ?? "bytes") : outline(schema, description),
        ),
      ];
    });
  return h(
    "details",
    { class: "fold" },
    h("summary", {}, "Fields and answers"),
    h(
      "div",
      { class: "stack" },
      contents("Body", resolve(operation.requestBody, description).content),
      Object.entries(operation.responses ?? {}).map(([status, response]) => {
        const r = resolve(response, description);
        return status < "300"
          ? [h("p", {}, h("b", {}, status), ` ${r.description ?? ""}`), contents("Answer", r.content)]
          : h("p", {}, h("b", {}, status), ` ${r.description ?? ""}`);
      }),
    ),
  );
}
