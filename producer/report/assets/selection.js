// Manages the selected images, and the bar that decides them.

class Selection {
  /**
   * @param {HTMLElement} bar
   * @param {{changed: function(), decided: function(number[])}} on  callbacks
   */
  constructor(bar, rows, decisions, on) {
    Object.assign(this, { bar, rows, decisions, on });
    /** @type {Set<number>} */ this.selected = new Set();
    this.picker = new Picker(bar.querySelector(".picker"), "Set all to…", () => decisions.classes(), (label) => this.#decide(() => label));
    this.actions = {
      confirm: () => this.#decide((row) => rows.labels[rows.label[row]]),
      unknown: () => this.#decide(() => UNKNOWN_LABEL),
      undo: () => this.#undo(),
      clear: () => this.set([]),
    };
    bar.addEventListener("click", (event) => this.actions[event.target.closest("[data-action]")?.dataset.action]?.());
    bar.addEventListener("keydown", (event) => { if (event.key === "Escape") this.set([]); });
  }

  get size() {
    return this.selected.size;
  }

  has(row) {
    return this.selected.has(row);
  }

  /** Select these rows and no others; error rows can't be selected. */
  set(rows) {
    this.selected = new Set(rows.filter((row) => !this.rows.error[row]));
    this.#changed();
  }

  toggle(row) {
    if (this.rows.error[row]) return;
    if (!this.selected.delete(row)) this.selected.add(row);
    this.#changed();
  }

  /** Deselect rows that are no longer shown, so that only visible images are decided. */
  keep(shown) {
    if (!this.size) return;
    const there = new Set(shown);
    this.set([...this.selected].filter((row) => there.has(row)));
  }

  #changed(message = "") {
    const count = inWords(this.size);
    this.bar.hidden = !this.size && !message;
    this.bar.querySelector("[role=status]").textContent = message || `${count} selected`;
    this.bar.querySelector('[data-action="confirm"]').textContent = `Confirm ${this.size === 1 ? "it" : `these ${count}`}`;
    for (const part of this.bar.querySelectorAll("[data-needs]")) part.hidden = (part.dataset.needs === "selection") !== (this.size > 0);
    this.on.changed();
  }

  #decide(labelFor) {
    const pairs = [...this.selected].map((row) => [row, labelFor(row)]);
    this.decisions.decideAll(pairs);
    this.selected = new Set();
    this.on.decided(pairs.map(([row]) => row));
    this.#changed(`${counted(pairs.length)} reviewed.`);
    this.bar.querySelector('[data-action="undo"]').focus();
  }

  #undo() {
    const rows = this.decisions.undo();
    this.on.decided(rows);
    this.set(rows);
  }
}
