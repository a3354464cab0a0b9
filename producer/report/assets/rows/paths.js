// Formats paths as text, as links and as CSV.

const LONE = /([\udc80-\udcff])/u;
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Escape invisible characters, changes of text direction and lone surrogates in a path. */
function shownPath(path) {
  return path.replace(UNSEEN, (char) => {
    const code = char.codePointAt(0);
    return code >= 0xdc80 && code <= 0xdcff
      ? `\\x${(code - 0xdc00).toString(16)}`
      : `\\u{${code.toString(16)}}`;
  });
}

/**
 * Return a text as parts of a Blob: texts, and single bytes for those that are not UTF-8.
 * @returns {(string|Uint8Array)[]}
 */
function bytesOf(text) {
  if (!LONE.test(text)) return [text];
  return text.split(LONE).map((part) => (LONE.test(part) ? Uint8Array.of(part.charCodeAt(0) - 0xdc00) : part));
}

/** Return the URL of the image of a row, relative to this page. */
function linkOf(path, links) {
  const encoded = bytesOf(path).map((part) => (typeof part === "string"
    ? encodeURIComponent(part).replaceAll("%2F", "/")
    : `%${part[0].toString(16)}`));
  return (path.startsWith("/") ? links.absolute : links.relative) + encoded.join("");
}

/** Quote a field of CSV if necessary. */
function csvField(text) {
  return /[,"\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Put a quote before a text that a spreadsheet would read as a formula, as `safe_text` in csv_rows.py does. */
function guarded(text) {
  return /^[=+\-@\t\r']/.test(text) ? `'${text}` : text;
}

/**
 * Return corrections.csv: a line for each reviewed row, in the order of the rows.
 * The label of an unknown image is empty.
 */
function correctionsOf(rows, decisions, csvSafe) {
  const field = (text) => csvField(csvSafe ? guarded(text) : text);
  const lines = decisions.rows().map((row) => {
    const fields = [decisions.of(row), rows.labels[rows.label[row]] ?? "", String(rows.confidence[row] ?? "")];
    return [...bytesOf(field(rows.path[row])), `,${fields.map(field).join(",")}\n`];
  });
  const path = csvSafe ? '"path"' : "path";
  return new Blob([`${path},label,was,confidence\n`, ...lines.flat()], { type: "text/csv" });
}

/** Save a file through the browser. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
