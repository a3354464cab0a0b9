// Logs the decisions of a review, and saves them in the browser.

/** The label of a decision that an image is unknown. */
const UNKNOWN_LABEL = "";

class Decisions {
  /**
   * @param {Rows} rows
   * @param {string} digest  digest of the rows, under which the progress of this report is saved
   */
  constructor(rows, digest) {
    this.rowsOfPage = rows;
    this.key = `pigeonhole:decisions:${digest}`;
    /** @type {[number, string, number?][]} row, label, and the number of rows if several were decided at once; oldest first */
    this.log = [];
    /** @type {Map<number, string>} */
    this.latest = new Map();
    /** The reason why progress is not saved; empty if it is. */
    this.trouble = "";
    this.load();
  }

  /** Load the progress that an earlier visit or another tab saved. */
  load() {
    try {
      const kept = localStorage.getItem(this.key);
      const log = JSON.parse(kept ?? "[]");
      if (!Array.isArray(log) || !log.every((one) => this.#isDecision(one))) throw new SyntaxError("not a log");
      this.log = log;
      this.trouble = "";
    } catch (error) {
      this.trouble = error instanceof SyntaxError
        ? "The saved progress of an earlier review can't be read and is ignored."
        : `This browser does not save your progress (${error.name}).`;
    }
    this.latest = new Map(this.log.map(([row, label]) => [row, label]));
  }

  /** Return the decision on a row: a label, UNKNOWN_LABEL, or undefined. */
  of(row) {
    return this.latest.get(row);
  }

  /** Return whether a decision changed the label of a row. */
  changes(row) {
    const label = this.latest.get(row);
    return label !== undefined && label !== this.rowsOfPage.labels[this.rowsOfPage.label[row]];
  }

  /** Return the reviewed rows, in their order. */
  rows() {
    return [...this.latest.keys()].sort((one, other) => one - other);
  }

  /** Return the labels that were typed and that no row has. */
  added() {
    const known = new Set(this.rowsOfPage.labels);
    return [...new Set(this.log.map(([, label]) => label))].filter((label) => label !== UNKNOWN_LABEL && !known.has(label));
  }

  /** Return all labels to choose from, in order. */
  classes() {
    return [...this.rowsOfPage.labels, ...this.added()].filter((label) => label !== UNKNOWN_LABEL).sort(inOrder);
  }

  /** Return the labels of the last decisions, latest first, each once. */
  recent() {
    return [...new Set(this.log.slice(-200).reverse().map(([, label]) => label))].filter((label) => label !== UNKNOWN_LABEL);
  }

  decide(row, label) {
    this.decideAll([[row, label]]);
  }

  /** Decide several rows at once; one undo reverts them all. */
  decideAll(pairs) {
    const several = pairs.length > 1 ? [(this.log.findLast((one) => one.length === 3)?.[2] ?? 0) + 1] : [];
    for (const [row, label] of pairs) {
      this.log.push([row, label, ...several]);
      this.latest.set(row, label);
    }
    this.#keep();
  }

  /** Undo the last decision, on one row or on several; return its rows, or an empty list. */
  undo() {
    const group = this.log.at(-1)?.[2];
    const undone = [];
    do undone.push(...this.log.splice(-1)); while (group !== undefined && this.log.at(-1)?.[2] === group);
    for (const [row] of undone) this.latest.delete(row);
    const rows = new Set(undone.map(([row]) => row));
    for (const [row, label] of this.log) if (rows.has(row)) this.latest.set(row, label);
    this.#keep();
    return [...rows].reverse();
  }

  #isDecision(value) {
    return Array.isArray(value) && (value.length === 2 || Number.isInteger(value[2])) && typeof value[1] === "string"
      && Number.isInteger(value[0]) && value[0] >= 0 && value[0] < this.rowsOfPage.path.length;
  }

  #keep() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.log));
      this.trouble = "";
    } catch (error) {
      this.trouble = `This browser does not save your progress (${error.name}).`;
    }
  }
}

/** Return a decision as text. */
function wordsFor(decided, was) {
  if (decided === UNKNOWN_LABEL) return "✓ unknown";
  return decided === was ? `✓ ${decided}, confirmed` : `✓ ${decided}, was ${was || "no label"}`;
}
