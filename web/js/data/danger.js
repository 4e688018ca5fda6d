// Which routes destroy something or are an administrator's, and what a person has to confirm before one is sent.

const DROPS = /\/(reset|delete)$/;

// The word to type: the name of what is dropped, or that of the route where it drops everything.
function wordFor(path, values) {
  const last = path.split("/").at(-1);
  const name = /^\{(.+)\}$/.exec(last)?.[1];
  return name === undefined ? last : (values[name] ?? "");
}

// { title, text, word? } to confirm, or null where a route may be sent as it is. `target` is the path as it is sent.
export function danger({ method, path, target, scopes, values }) {
  const verb = method.toUpperCase();
  if (method === "delete" || path.endsWith("/reset")) {
    const word = wordFor(path, values);
    return { title: `Drop ${word}?`, text: `${verb} ${target} drops it, and all that it holds.`, word };
  }
  if (DROPS.test(path)) return { title: "Delete this?", text: `${verb} ${target} deletes what its body names.` };
  if (method !== "get" && scopes.includes("admin"))
    return {
      title: "Send this?",
      text: `${verb} ${target} is an administrator's: it changes more than a few records.`,
    };
  return null;
}
