// A request as a line of curl and as Python, with every value quoted for the language it stands in.

const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export function curl({ method, url, body, media, hasKey }) {
  const parts = ["curl"];
  if (method !== "GET" && !(method === "POST" && body)) parts.push("-X", method);
  parts.push(shell(url));
  if (hasKey) parts.push("-H", '"X-API-Key: $KEY"');
  if (body) parts.push("-H", shell(`Content-Type: ${media}`), "-d", shell(body));
  return parts.join(" ");
}

// JSON text is a Python literal but for three words.
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object")
    return `{${Object.entries(value)
      .map(([key, inner]) => `${JSON.stringify(key)}: ${literal(inner)}`)
      .join(", ")}}`;
  return JSON.stringify(value);
}

export function python({ method, url, body, hasKey }) {
  const parts = [JSON.stringify(url)];
  if (hasKey) parts.push('headers={"X-API-Key": key}');
  if (body) {
    let value;
    try {
      value = `json=${literal(JSON.parse(body))}`;
    } catch {
      value = `content=${JSON.stringify(body)}`;
    }
    parts.push(value);
  }
  return `httpx.request(${JSON.stringify(method)}, ${parts.join(", ")})`;
}
