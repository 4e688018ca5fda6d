// An example body for a schema of OpenAPI, and a schema as an outline to read.

export function resolve(value, api) {
  let seen = 0;
  while (value && value.$ref && seen < 20) {
    value = value.$ref
      .slice(2)
      .split("/")
      .reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], api);
    seen += 1;
  }
  return value ?? {};
}

// Bodies that do something, for the routes that people try first. The others are made of their schemas.
const KNOWN = {
  "post /api/collections": { name: "notes", metric: "cosine" },
  "post /api/collections/{name}/add": {
    records: [{ id: "fog", embedding: [0.9, 0.1, 0], document: "The fog lifted.", metadata: { year: 2024 } }],
  },
  "post /api/collections/{name}/upsert": {
    records: [{ id: "fog", embedding: [0.9, 0.1, 0], document: "The fog lifted.", metadata: { year: 2025 } }],
  },
  "post /api/collections/{name}/update": { records: [{ id: "fog", metadata: { year: 2026 } }] },
  "post /api/collections/{name}/delete": { ids: ["fog"] },
  "post /api/collections/{name}/get": { limit: 5 },
  "post /api/collections/{name}/search": { text: "fog", k: 5 },
  "post /api/collections/{name}/count": { where: { year: { $gte: 2024 } } },
  "post /api/collections/{name}/facets": { facets: { theme: { values: 10 } } },
  "post /api/collections/{name}/embed": { texts: ["The fog lifted."] },
  "post /api/s3/sync": {},
  "post /mcp": { jsonrpc: "2.0", id: 1, method: "tools/list", params: {} },
};

export function example(method, path, schema, api) {
  return KNOWN[`${method} ${path}`] ?? made(schema, api, 0);
}

function made(schema, api, depth) {
  const s = resolve(schema, api);
  if (s.const !== undefined) return s.const;
  if (s.examples?.length) return s.examples[0];
  if (s.example !== undefined) return s.example;
  if (s.default !== undefined && s.default !== null) return s.default;
  if (s.enum?.length) return s.enum[0];
  if (depth > 5) return null;
  const parts = s.allOf ?? ((s.oneOf ?? s.anyOf) ? [(s.oneOf ?? s.anyOf)[0]] : null);
  if (parts) return Object.assign({}, ...parts.map((part) => made(part, api, depth + 1)));
  const type = [].concat(s.type ?? (s.properties ? "object" : "string")).find((each) => each !== "null");
  if (type === "object") {
    const required = s.required ?? [];
    return Object.fromEntries(required.map((name) => [name, made(s.properties?.[name], api, depth + 1)]));
  }
  if (type === "array") return [made(s.items, api, depth + 1)];
  return { integer: s.minimum ?? 1, number: 0.5, boolean: true }[type] ?? "text";
}

// Name, type, default and meaning, indented.
export function outline(schema, api, depth = 0) {
  const s = resolve(schema, api);
  if (depth > 5) return "…";
  const pad = "  ".repeat(depth + 1);
  const parts = s.allOf ? s.allOf.map((part) => resolve(part, api)) : [s];
  const fields = Object.assign({}, ...parts.map((part) => part.properties ?? {}));
  const required = parts.flatMap((part) => part.required ?? []);
  if (Object.keys(fields).length > 0) {
    const lines = Object.entries(fields).map(([name, field]) => {
      const f = resolve(field, api);
      const note = [
        f.default !== undefined && f.default !== null ? `default ${JSON.stringify(f.default)}` : "",
        f.description ?? "",
      ]
        .filter(Boolean)
        .join("; ");
      return `${pad}${name}${required.includes(name) ? "" : "?"}: ${outline(f, api, depth + 1)}${note ? `   // ${note}` : ""}`;
    });
    return `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
  }
  if (s.enum) return s.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (s.oneOf) return s.oneOf.map((part) => outline(part, api, depth + 1)).join(" | ");
  if (s.items) return `[${outline(s.items, api, depth)}]`;
  return [].concat(s.type ?? "value").join(" | ");
}
