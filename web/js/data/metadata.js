// Metadata as it came out of JSON. Keys are anybody's words, such as "constructor", so only own ones count.

export const valueOf = (metadata, key) => (metadata && Object.hasOwn(metadata, key) ? metadata[key] : undefined);

// The keys of some records, in the order in which they first come.
export const keysOf = (records) => [...new Set(records.flatMap(({ metadata }) => Object.keys(metadata ?? {})))];
