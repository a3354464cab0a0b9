// What a person has decided: a log, of which everything else is told, and which survives a reload.

/** The label of a decision that the image belongs to no class: it is unknown. */
const NONE = "";

class Decisions {
  /**
   * @param {Rows} rows
   * @param {string} digest  of the rows: the same report finds its progress again, and no other does
   */
  constructor(rows, digest) {
    this.rowsOfPage = rows;
    this.key = `pigeonhole:decisions:${digest}`;
    /** @type {[number, string, number?][]} row, label, and for several at once their number; in the order they were decided */
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
      this.trouble = "";
    } catch (error) {
      this.trouble = error instanceof SyntaxError
        ? "What was kept of an earlier review can't be read, and is left out."
        : `This browser keeps nothing for this page (${error.name}).`;
    }
    this.latest = new Map(this.log.map(([row, label]) => [row, label]));
  }

  /** Return what was decided of a row: a label, NONE, or undefined. */
  of(row) {
    return this.latest.get(row);
  }

  /** Tell whether a row was given another label than it had. */
  changes(row) {
    const label = this.latest.get(row);
    return label !== undefined && label !== this.rowsOfPage.labels[this.rowsOfPage.label[row]];
  }

  /** Return the rows that were decided, in their order. */
  rows() {
    return [...this.latest.keys()].sort((one, other) => one - other);
  }

  /** Return the labels that a person typed, which the rows don't have. */
  added() {
    const known = new Set(this.rowsOfPage.labels);
    return [...new Set(this.log.map(([, label]) => label))].filter((label) => label !== NONE && !known.has(label));
  }

  /** Return all labels that an image can be given, in order. */
  classes() {
    return [...this.rowsOfPage.labels, ...this.added()].filter((label) => label !== NONE).sort(inOrder);
  }

  /** Return the labels that were decided, the last first, each once. */
  recent() {
    return [...new Set(this.log.slice(-200).reverse().map(([, label]) => label))].filter((label) => label !== NONE);
  }

  decide(row, label) {
    this.decideAll([[row, label]]);
  }

  /** Decide several rows at once, which one undo takes back. */
  decideAll(pairs) {
    const several = pairs.length > 1 ? [(this.log.findLast((one) => one.length === 3)?.[2] ?? 0) + 1] : [];
    for (const [row, label] of pairs) {
      this.log.push([row, label, ...several]);
      this.latest.set(row, label);
    }
    this.#keep();
  }

  /** Take back the last decision, of one row or of several; return its rows, none where there is no decision. */
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
      this.trouble = `This browser keeps nothing for this page (${error.name}).`;
    }
  }
}

/** Say what was decided of a row. */
function wordsFor(decided, was) {
  if (decided === NONE) return "✓ unknown";
  return decided === was ? `✓ ${decided}, confirmed` : `✓ ${decided}, was ${was || "no label"}`;
}
