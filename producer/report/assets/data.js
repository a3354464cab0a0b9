"use strict";
// The rows as columns, their order, and which of them a filter lets through.

/**
 * @typedef {Object} Rows  a row is its number; each column has one entry for it
 * @property {string[]} path  a byte that is no UTF-8 is a lone surrogate, U+DC80 to U+DCFF
 * @property {number[]} label  an index into `labels`, or -1 for an error
 * @property {(number|null)[]} confidence  0 to 1
 * @property {number[]} review  1 where the checkpoint was in doubt
 * @property {string[]} error  `kind: message`, or empty
 * @property {number[]} model  an index into `models`
 * @property {number[][]} top  the best classes: index, probability, index, probability, …
 * @property {string[]} labels  several of one image are one, joined by |; none of one that is no error is ""
 * @property {string[]} models
 */

/** Read the page's blocks of JSON of one kind, and let go of their text. */
function takeBlocks(kind) {
  return [...document.querySelectorAll(`script[data-kind="${kind}"]`)].map((element) => {
    const value = JSON.parse(element.textContent);
    element.remove();
    return value;
  });
}

/** @returns {Rows} all rows of the page */
function readRows(facts) {
  const rows = { labels: facts.labels, models: facts.models };
  const blocks = takeBlocks("rows");
  for (const column of ["path", "label", "confidence", "review", "error", "model", "top"]) {
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

/** Give the label of a row in words. */
const labelOf = (rows, row) => rows.labels[rows.label[row]] || "no label";

/** Sort names as people do: 2 before 10. */
const inOrder = new Intl.Collator("en", { numeric: true }).compare;

/** Give the rows by label, those in doubt first, then the less sure first; errors come last. */
function orderOf(rows) {
  const rank = new Array(rows.labels.length);
  rows.labels.map((name, index) => ({ name, index }))
    .sort((one, other) => inOrder(one.name, other.name))
    .forEach(({ index }, position) => { rank[index] = position; });
  const place = rows.path.map((_, row) => (rows.label[row] < 0 ? rank.length : rank[rows.label[row]]));
  return rows.path.map((_, row) => row).sort((one, other) =>
    place[one] - place[other] || rows.review[other] - rows.review[one]
    || rows.confidence[one] - rows.confidence[other] || one - other);
}

/** Count how often each value comes. */
function countBy(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** Give the kind of an error: what stands before its colon. */
const kindOf = (error) => error.split(":", 1)[0];

/** Which rows each choice of "Show" lets through; `error:KIND` are those of that kind. */
const STATUSES = {
  "": () => true,
  doubtful: (row, rows) => rows.review[row] === 1,
  error: (row, rows) => rows.error[row] !== "",
  reviewed: (row, rows, decisions) => decisions.of(row) !== undefined,
  changed: (row, rows, decisions) => decisions.changes(row),
};

/** Give what tells whether a row has a status. */
function hasStatus(status) {
  if (!status.startsWith("error:")) return STATUSES[status];
  const kind = status.slice("error:".length);
  return (row, rows) => rows.error[row] !== "" && kindOf(rows.error[row]) === kind;
}

/**
 * Give the rows that a filter lets through, in their order.
 * @param {{text: string, label: number|null, status: string, low: number|null, high: number|null}} filter
 *   `low` and `high` from 0 to 1; null: any
 */
function filtered(order, rows, filter, decisions) {
  const text = filter.text.toLowerCase();
  const names = text ? searchable(rows) : null;
  const status = hasStatus(filter.status);
  const within = (confidence) => confidence !== null
    && (filter.low === null || confidence >= filter.low) && (filter.high === null || confidence <= filter.high);
  const anyConfidence = filter.low === null && filter.high === null;
  return order.filter((row) => (filter.label === null || rows.label[row] === filter.label)
    && status(row, rows, decisions)
    && (anyConfidence || within(rows.confidence[row]))
    && (names === null || names[row].includes(text)));
}

/** Give the paths in lower case; made when the first search is. */
function searchable(rows) {
  rows.searchable ??= rows.path.map((path) => shownPath(path).toLowerCase());
  return rows.searchable;
}
