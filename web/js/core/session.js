// The key and what it allows. Invariant: the key is in this variable only, never in storage, in the address or in a
// link; it is gone with the page.

let key = null;
let grant = { required: false, scope: "admin" };
const RANK = { read: 1, write: 2, admin: 3 };

export const session = {
  get key() {
    return key;
  },
  set key(text) {
    key = text || null;
  },
  get grant() {
    return grant;
  },
  // { required, scope, name?, tenant?, database? } as GET /api/key answers it; scope is null where nothing is allowed.
  set grant(value) {
    grant = value;
  },
  may(scope) {
    return (RANK[grant.scope] ?? 0) >= RANK[scope];
  },
  // Why something is not allowed, in words; null if it is.
  reason(scope) {
    if (session.may(scope)) return null;
    const needed = scope === "admin" ? "an admin key" : "a key that may write";
    return `This needs ${needed}; the present key may only ${grant.scope ?? "do nothing"}.`;
  },
};
