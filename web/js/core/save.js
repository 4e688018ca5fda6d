// Gives the person a file.

export function save(name, parts, type) {
  const href = URL.createObjectURL(parts instanceof Blob ? parts : new Blob(parts, { type }));
  const anchor = document.createElement("a");
  anchor.setAttribute("href", href);
  anchor.setAttribute("download", name);
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  // The browser has taken what it needs by then.
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}
