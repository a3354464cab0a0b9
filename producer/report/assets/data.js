// The rows as columns, what they say in words, and which of them a filter lets through.

/**
 * @typedef {Object} Rows  a row is its number; each column has one entry for it
 * @property {string[]} path  a byte that is no UTF-8 is a lone surrogate, U+DC80 to U+DCFF
 * @property {number[]} label  an index into `labels`, or -1 for an error
 * @property {(number|null)[]} confidence  0 to 1
 * @property {(number|null)[]} unknown  0 to 1, the probability that the image belongs to no class
 * @property {number[]} review  1 where the model was in doubt
 * @property {string[]} error  `kind: message`, or empty
 * @property {number[]} model  an index into `models`
 * @property {number[][]} top  the best classes: index, probability, index, probability, …
 * @property {number[]} [truth]  an index into `labels`, or -1 where it is not known; the label "" is no class
 * @property {(number|null)[]} [size]  of the file, in bytes
 * @property {(number|null)[]} [date]  of its last change, in seconds since the epoch
 * @property {string[]} labels  several of one image are one, joined by |; none of one that is no error is ""
 * @property {string[]} models
 */

/** The probability from which on an image that is marked for review is called unknown. */
const UNKNOWN = 0.5;

/** Read the page's blocks of JSON of one kind, and let go of their text. */
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

/** @returns {Map<number, {picture: string, why: string}>} row → its embedded picture, or why it has none */
function readThumbnails() {
  const found = new Map();
  for (const { row, picture, why } of takeBlocks("thumbnails")) {
    row.forEach((number, at) => found.set(number, { picture: picture[at], why: why[at] }));
  }
  return found;
}

/** Return the label of a row in words. */
const labelOf = (rows, row) => rows.labels[rows.label[row]] || "no label";

/** Return the true label of a row in words; null where it is not known. */
const truthOf = (rows, row) => ((rows.truth?.[row] ?? -1) < 0 ? null : rows.labels[rows.truth[row]] || "unknown");

/** Return whether an image is called unknown. */
const isUnknown = (rows, row) => Boolean(rows.review[row]) && rows.unknown[row] >= UNKNOWN;

/** Tell whether a row's answer is right; null where it has none, or its true label is not known. */
function isRight(rows, row) {
  if ((rows.truth?.[row] ?? -1) < 0 || rows.error[row]) return null;
  const unknown = rows.labels[rows.truth[row]] === ""; // it belongs to no class: no label can be right
  return rows.truth[row] === rows.label[row] || (unknown && isUnknown(rows, row));
}

/** Say how sure a row is: its confidence, how likely it is unknown, and whether it is to review. */
function certainty(rows, row) {
  const unknown = isUnknown(rows, row) ? `unknown ${percent(rows.unknown[row])}` : "";
  return [percent(rows.confidence[row]), unknown, rows.review[row] ? "to review" : ""].filter(Boolean).join(", ");
}

/** Say in words what a row is: for who does not see the picture. */
function describe(rows, row) {
  const path = shownPath(rows.path[row]);
  if (rows.error[row]) return `${path}: ${rows.error[row]}`;
  const wrong = isRight(rows, row) === false ? `wrong, true label ${truthOf(rows, row)}` : "";
  return `${path}: ${[labelOf(rows, row), certainty(rows, row), wrong].filter(Boolean).join(", ")}`;
}

/** Count how often each value comes. */
function countBy(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** Return the kind of an error: what stands before its colon. */
const kindOf = (error) => error.split(":", 1)[0];

/** Which rows each choice of "Show" lets through; `error:KIND` are those of that kind. */
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

/** Return what tells whether a row has a status. */
function hasStatus(status) {
  if (!status.startsWith("error:")) return STATUSES[status] ?? STATUSES[""];
  const kind = status.slice("error:".length);
  return (row, rows) => rows.error[row] !== "" && kindOf(rows.error[row]) === kind;
}

/**
 * Return the rows that a filter lets through, in their order.
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

/** Return the paths in lower case; made when the first search is. */
function searchable(rows) {
  rows.searchable ??= rows.path.map((path) => shownPath(path).toLowerCase());
  return rows.searchable;
}
