// Paths as people see them, as links, and as CSV: three spellings of the same bytes.

const LONE = /([\udc80-\udcff])/u;
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Spell a path so that nothing in it is invisible, turns the text around, or is half a character. */
function shownPath(path) {
  return path.replace(UNSEEN, (char) => {
    const code = char.codePointAt(0);
    return code >= 0xdc80 && code <= 0xdcff
      ? `\\x${(code - 0xdc00).toString(16)}`
      : `\\u{${code.toString(16)}}`;
  });
}

/**
 * Return a text as what a Blob is made of: texts, and single bytes where it has some that are no UTF-8.
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

/** Quote a field of CSV where it needs that. */
function csvField(text) {
  return /[,"\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Put a quote before what a spreadsheet would take for a formula, as `safe_text` in csv_rows.py does. */
function guarded(text) {
  return /^[=+\-@\t\r']/.test(text) ? `'${text}` : text;
}

/**
 * Return corrections.csv: a line for each row that was reviewed, in the order of the rows.
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

/** Have the browser save a file. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
