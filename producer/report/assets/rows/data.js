// Reads the rows, describes them as text, and filters them.

/**
 * @typedef {Object} Rows  columns with an entry for each row; a row is known by its number
 * @property {string[]} path  a byte that is not UTF-8 is a lone surrogate, U+DC80 to U+DCFF
 * @property {number[]} label  an index into `labels`, or -1 for an error
 * @property {(number|null)[]} confidence  0 to 1
 * @property {(number|null)[]} unknown  0 to 1, the probability that the image belongs to no class
 * @property {number[]} review  1 if the row is marked for review
 * @property {string[]} error  `kind: message`, or empty
 * @property {number[]} model  an index into `models`
 * @property {number[][]} top  the most probable classes: index, probability, index, probability, …
 * @property {number[]} [truth]  an index into `labels`, or -1 if it is not known; the label "" means no class
 * @property {(number|null)[]} [size]  size of the file in bytes
 * @property {(number|null)[]} [date]  modification time of the file, in seconds since the epoch
 * @property {string[]} labels  several labels of one image are joined by |; "" is an image without a label
 * @property {string[]} models
 */

/** The probability from which an image that is marked for review counts as unknown. */
const UNKNOWN = 0.5;

/** Read the page's blocks of JSON of one kind, and remove them from the page. */
function takeBlocks(kind) {
  return [...document.querySelectorAll(`script[data-kind="${kind}"]`)].map((block) => {
    const value = JSON.parse(block.textContent);
    block.remove();
    return value;
  });
}

/** @returns {Rows} all rows of the page */
function readRows(facts) {
  const rows = { labels: facts.labels, models: facts.models };
  const blocks = takeBlocks("rows");
  const always = ["path", "label", "confidence", "unknown", "review", "error", "model", "top"];
  for (const column of new Set([...always, ...Object.keys(blocks[0] ?? {})])) {
    rows[column] = [].concat(...blocks.map((block) => block[column]));
  }
  return rows;
}

/** @returns {Map<number, {picture: string, why: string}>} row → its thumbnail, or the reason for its absence */
function readThumbnails() {
  const found = new Map();
  for (const { row, picture, why } of takeBlocks("thumbnails")) {
    row.forEach((number, at) => found.set(number, { picture: picture[at], why: why[at] }));
  }
  return found;
}

/** Return the label of a row as text. */
const labelOf = (rows, row) => rows.labels[rows.label[row]] || "no label";

/** Return the true label of a row as text; null if it is not known. */
const truthOf = (rows, row) => ((rows.truth?.[row] ?? -1) < 0 ? null : rows.labels[rows.truth[row]] || "unknown");

/** Return whether an image counts as unknown. */
const isUnknown = (rows, row) => Boolean(rows.review[row]) && rows.unknown[row] >= UNKNOWN;

/** Return whether a row's label is right; null for an error row, or if the true label is not known. */
function isRight(rows, row) {
  if ((rows.truth?.[row] ?? -1) < 0 || rows.error[row]) return null;
  const unknown = rows.labels[rows.truth[row]] === ""; // it belongs to no class: no label can be right
  return rows.truth[row] === rows.label[row] || (unknown && isUnknown(rows, row));
}

/** Describe the certainty of a row: its confidence, how likely it is unknown, and whether it is to review. */
function certainty(rows, row) {
  const unknown = isUnknown(rows, row) ? `unknown ${percent(rows.unknown[row])}` : "";
  return [percent(rows.confidence[row]), unknown, rows.review[row] ? "to review" : ""].filter(Boolean).join(", ");
}

/** Describe a row as text, for screen readers and tooltips. */
function describe(rows, row) {
  const path = shownPath(rows.path[row]);
  if (rows.error[row]) return `${path}: ${rows.error[row]}`;
  const wrong = isRight(rows, row) === false ? `wrong, true label ${truthOf(rows, row)}` : "";
  return `${path}: ${[labelOf(rows, row), certainty(rows, row), wrong].filter(Boolean).join(", ")}`;
}

/** Count each value. */
function countBy(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** Return the kind of an error: the text before its colon. */
const kindOf = (error) => error.split(":", 1)[0];

/** Choice of "Show" → whether it includes a row. `error:KIND`, for one kind of error, is not listed here. */
const STATUSES = {
  "": () => true,
  review: (row, rows) => rows.review[row] === 1,
  open: (row, rows, decisions) => rows.review[row] === 1 && decisions.of(row) === undefined,
  wrong: (row, rows) => isRight(rows, row) === false,
  unknown: (row, rows) => isUnknown(rows, row),
  error: (row, rows) => rows.error[row] !== "",
  reviewed: (row, rows, decisions) => decisions.of(row) !== undefined,
  changed: (row, rows, decisions) => decisions.changes(row),
};

/** Return the function that decides whether a row matches a choice of "Show". */
function hasStatus(status) {
  if (!status.startsWith("error:")) return STATUSES[status] ?? STATUSES[""];
  const kind = status.slice("error:".length);
  return (row, rows) => rows.error[row] !== "" && kindOf(rows.error[row]) === kind;
}

/**
 * Return the rows that match a filter, in their order.
 * @param {{path: string, label: number|null, truth: number|null, show: string, low: number|null, high: number|null}} filter
 *   `low` and `high` from 0 to 1; null: any
 */
function filtered(order, rows, filter, decisions) {
  const text = filter.path.toLowerCase();
  const names = text ? searchable(rows) : null;
  const status = hasStatus(filter.show);
  const within = (confidence) => confidence !== null
    && (filter.low === null || confidence >= filter.low) && (filter.high === null || confidence <= filter.high);
  const anyConfidence = filter.low === null && filter.high === null;
  return order.filter((row) => (filter.label === null || rows.label[row] === filter.label)
    && (filter.truth === null || rows.truth[row] === filter.truth)
    && status(row, rows, decisions)
    && (anyConfidence || within(rows.confidence[row]))
    && (names === null || names[row].includes(text)));
}

/** Return the paths in lower case; they are computed at the first search. */
function searchable(rows) {
  rows.searchable ??= rows.path.map((path) => shownPath(path).toLowerCase());
  return rows.searchable;
}
