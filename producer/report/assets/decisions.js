// What a person has decided: a log, of which everything else is told, and which survives a reload.

/** The label of a decision that none fits. */
const NONE = "";

class Decisions {
  /**
   * @param {Rows} rows
   * @param {string} digest  of the rows: the same report finds its progress again, and no other does
   */
  constructor(rows, digest) {
    this.rowsOfPage = rows;
    this.key = `pigeonhole:decisions:${digest}`;
    /** @type {[number, string][]} row and label, in the order they were decided */
    this.log = [];
    /** @type {Map<number, string>} */
    this.latest = new Map();
    /** Why progress is not kept; empty while it is. */
    this.trouble = "";
    this.load();
  }

  /** Read what an earlier visit, or another tab, has kept. */
  load() {
    try {
      const kept = localStorage.getItem(this.key);
      const log = JSON.parse(kept ?? "[]");
      if (!Array.isArray(log) || !log.every((one) => this.#isDecision(one))) throw new SyntaxError("it is no log");
      this.log = log;
    } catch (error) {
      this.trouble = error instanceof SyntaxError
        ? "What was kept of an earlier review can't be read, and is left out."
        : `This browser keeps nothing for this page (${error.name}).`;
    }
    this.latest = new Map(this.log);
  }

  /** Give what was decided of a row: a label, NONE, or undefined. */
  of(row) {
    return this.latest.get(row);
  }

  /** Tell whether a row was given another label than it had. */
  changes(row) {
    const label = this.latest.get(row);
    return label !== undefined && label !== this.rowsOfPage.labels[this.rowsOfPage.label[row]];
  }

  /** Give the rows that were decided, in their order. */
  rows() {
    return [...this.latest.keys()].sort((one, other) => one - other);
  }

  /** Give the labels that a person typed, which the rows don't have. */
  added() {
    const known = new Set(this.rowsOfPage.labels);
    return [...new Set(this.log.map(([, label]) => label))].filter((label) => label !== NONE && !known.has(label));
  }

  decide(row, label) {
    this.log.push([row, label]);
    this.latest.set(row, label);
    this.#keep();
  }

  /** Take back the last decision; gives its row, or undefined where there is none. */
  undo() {
    const last = this.log.pop();
    if (!last) return undefined;
    const before = this.log.findLast(([row]) => row === last[0]);
    if (before) this.latest.set(...before);
    else this.latest.delete(last[0]);
    this.#keep();
    return last[0];
  }

  #isDecision(value) {
    return Array.isArray(value) && value.length === 2 && typeof value[1] === "string"
      && Number.isInteger(value[0]) && value[0] >= 0 && value[0] < this.rowsOfPage.path.length;
  }

  #keep() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.log));
      this.trouble = "";
    } catch (error) {
      this.trouble = `This browser keeps nothing for this page (${error.name}).`;
    }
  }
}
