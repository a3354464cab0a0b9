// Sorts the rows, and divides them into sections.

/** Compare names with numbers in them by value: 2 before 10. */
const inOrder = new Intl.Collator("en", { numeric: true }).compare;

/** The section of errors, which are listed line by line. */
const ERRORS = -1;

/** Return the rank of each label in alphabetical order. */
function ranks(rows) {
  const rank = new Array(rows.labels.length);
  rows.labels.map((name, index) => ({ name, index }))
    .sort((one, other) => inOrder(one.name, other.name))
    .forEach(({ index }, place) => { rank[index] = place; });
  return rank;
}

const confidenceIn = (rows) => (one, other) => rows.confidence[one] - rows.confidence[other]; // null counts as 0
const doubtIn = (rows) => (one, other) => rows.review[other] - rows.review[one] || confidenceIn(rows)(one, other);
const unknownIn = (rows) => (one, other) => (rows.unknown[other] ?? -1) - (rows.unknown[one] ?? -1);

/** Choice of "Sort" → the comparison of two rows, and the section of a row; `mixed`: errors are not moved to the end. */
const ORDERS = {
  doubt: { compare: doubtIn },
  label: {
    compare: (rows) => {
      const [rank, doubt] = [ranks(rows), doubtIn(rows)];
      return (one, other) => rank[rows.label[one]] - rank[rows.label[other]] || doubt(one, other);
    },
    section: (rows) => (row) => rows.label[row],
  },
  confidence: { compare: confidenceIn },
  unknown: { compare: unknownIn },
  path: { compare: (rows) => (one, other) => inOrder(rows.path[one], rows.path[other]), mixed: true },
  submitted: { compare: () => () => 0, mixed: true },
};

/** Return all rows in an order; each order is computed once. */
function orderOf(rows, name) {
  rows.orders ??= {};
  return rows.orders[name] ??= sorted(rows, ORDERS[name]);
}

function sorted(rows, { compare, mixed }) {
  const order = compare(rows);
  const failed = (row) => Number(!mixed && rows.label[row] < 0);
  return rows.path.map((_, row) => row).sort((one, other) => failed(one) - failed(other)
    || (failed(one) ? 0 : order(one, other)) || one - other);
}

/** Return the function for the section of a row in an order: a label, ERRORS, or null for no heading. */
function sectionsOf(rows, name) {
  const { section, mixed } = ORDERS[name];
  if (section) return section(rows);
  return (row) => (!mixed && rows.label[row] < 0 ? ERRORS : null);
}
