// One image at a time: to look at, and to decide its label by the keyboard.

/** Keys for classes that are no digits; `u` and `x` have a meaning of their own. */
const CLASS_KEYS = "123456789abcdefghijklmnopqrstvwyz";

const isDigit = (text) => /^[0-9]$/.test(text);

/**
 * Give each class a key: a digit its own, where all are digits; otherwise 1 to 9 and then letters, in order. Where there
 * are more classes than keys, the most frequent have one, and the others are typed.
 * @returns {Map<string, string>} key → label
 */
function classKeys(rows, added) {
  const named = rows.labels.filter((label) => label !== NONE);
  const digits = named.every(isDigit);
  const counts = countBy(rows.label);
  const often = rows.labels.map((label, index) => ({ label, count: counts.get(index) ?? 0 }))
    .filter((one) => one.label !== NONE).sort((one, other) => other.count - one.count).slice(0, CLASS_KEYS.length).map((one) => one.label);
  often.sort(inOrder);
  const keys = new Map(often.map((label, at) => [digits ? label : CLASS_KEYS[at], label]));
  for (const label of added) {
    // Beside digits, a key that is one stays that digit's, also where no row has it.
    const free = digits && isDigit(label) ? label : [...CLASS_KEYS].find((key) => !keys.has(key) && !(digits && isDigit(key)));
    if (free) keys.set(free, label);
  }
  return keys;
}

class Viewer {
  /**
   * @param {Rows} rows
   * @param {Decisions} decisions
   * @param {function(number): HTMLElement} picture  of a row, in full where it can be had
   * @param {{decided: function(), closed: function(number), exported: function()}} on  is told what happens;
   *   `closed` with the row that was shown last
   */
  constructor(rows, decisions, picture, on) {
    Object.assign(this, { rows, decisions, picture, on });
    this.dialog = document.getElementById("viewer");
    /** @type {number[]} */ this.queue = [];
    this.at = 0;
    this.actions = {
      close: () => this.dialog.close(),
      confirm: () => this.#decide(rows.labels[rows.label[this.row]]),
      none: () => this.#decide(NONE),
      undo: () => this.#undo(),
      previous: () => this.#show(this.at - 1),
      next: () => this.#show(this.at + 1),
      type: () => this.#part("other").elements.label.focus(),
      export: () => on.exported(),
    };
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("click", (event) => this.#clicked(event));
    this.dialog.addEventListener("close", () => on.closed(this.row));
    this.#part("other").addEventListener("submit", (event) => this.#typed(event));
  }

  get row() {
    return this.queue[this.at];
  }

  /** Go through rows from one of them. */
  open(queue, row) {
    this.queue = queue;
    this.#classes();
    this.dialog.showModal();
    this.#show(Math.max(0, queue.indexOf(row)));
  }

  #part(name) {
    return document.getElementById(`viewer-${name}`);
  }

  /** Show a row; beyond the first and the last there is none. */
  #show(at, said = "") {
    if (at < 0 || at >= this.queue.length) {
      this.#say(at < 0 ? "This is the first image." : `This is the last image. ${said}`);
      return;
    }
    this.at = at;
    const { rows, row } = this;
    const failed = rows.error[row] !== "";
    const reviewed = this.queue.reduce((sum, one) => sum + (this.decisions.of(one) === undefined ? 0 : 1), 0);
    this.#part("title").textContent = `${inWords(at + 1)} of ${inWords(this.queue.length)}`
      + (reviewed ? `, ${inWords(reviewed)} reviewed` : "");
    this.#part("path").textContent = shownPath(rows.path[row]);
    this.#part("picture").replaceChildren(this.picture(row));
    this.#part("answer").replaceChildren(...(failed ? [this.#error(row)] : this.#answer(row)));
    this.#part("decide").hidden = failed;
    this.#decision();
    this.#say(said, describe(rows, row));
    this.#part("title").focus();
  }

  #answer(row) {
    const { rows } = this;
    const sure = element("span", rows.review[row] ? { class: "doubt" } : {}, certainty(rows, row));
    const others = [];
    const first = rows.top[row][0] === rows.label[row] ? 2 : 0; // several labels, or none, are no class of it
    for (let at = first; at < rows.top[row].length; at += 2) {
      others.push(element("span", {}, element("b", {}, rows.labels[rows.top[row][at]]), ` ${percent(rows.top[row][at + 1])}`));
    }
    return [
      element("p", { class: "answer" }, element("b", {}, labelOf(rows, row)), sure),
      ...(others.length ? [element("p", { class: "others" }, first ? "or" : "of", ...others)] : []),
      ...(rows.models.length > 1 ? [element("p", { class: "muted" }, `by ${rows.models[rows.model[row]]}`)] : []),
    ];
  }

  #error(row) {
    return element("p", { class: "why" }, this.rows.error[row]);
  }

  /** Show what is decided of the row. */
  #decision() {
    const decided = this.decisions.of(this.row);
    const was = this.rows.labels[this.rows.label[this.row]];
    this.#part("decision").textContent = decided === undefined ? "" : wordsFor(decided, was);
    for (const button of this.#part("classes").children) {
      button.setAttribute("aria-pressed", String(button.dataset.label === decided));
    }
    this.dialog.querySelector('[data-action="undo"]').disabled = !this.decisions.log.length;
    this.dialog.querySelector('[data-action="export"]').disabled = !this.decisions.log.length;
  }

  /** Make a button for each class that has a key. */
  #classes() {
    const added = this.decisions.added();
    this.keys = classKeys(this.rows, added);
    const shown = [...this.keys].sort(([, one], [, other]) => inOrder(one, other));
    this.#part("classes").replaceChildren(...shown.map(([key, label]) => {
      const button = element("button", { type: "button", "aria-pressed": "false", title: label },
        element("kbd", {}, key), ...(key === label ? [] : [element("span", {}, label)]));
      button.dataset.label = label;
      return button;
    }));
    this.#part("classes").classList.toggle("short", shown.every(([key, label]) => key === label));
    this.#part("labels").replaceChildren(
      ...[...this.rows.labels, ...added].filter((label) => label !== NONE).map((label) => element("option", { value: label })));
  }

  #decide(label) {
    if (this.rows.error[this.row] !== "" || label === undefined) return;
    this.decisions.decide(this.row, label);
    this.on.decided();
    this.#decision();
    this.#show(this.at + 1, this.at + 1 < this.queue.length ? said(label) : `${said(label)} Export saves what you decided.`);
  }

  #undo() {
    const row = this.decisions.undo();
    if (row === undefined) {
      this.#say("There is nothing to undo.");
      return;
    }
    this.on.decided();
    if (!this.queue.includes(row)) this.queue = [row, ...this.queue];
    this.#show(this.queue.indexOf(row), "Undone.");
  }

  #typed(event) {
    event.preventDefault();
    const input = event.target.elements.label;
    const label = input.value.trim();
    if (!label) return;
    input.value = "";
    this.#decide(label);
    this.#classes();
    this.#decision();
    this.#part("title").focus();
  }

  /** Say what happened, and to who does not see the picture what is there now. */
  #say(message, now = "") {
    this.#part("said").textContent = message;
    this.#part("now").textContent = now;
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("input")) {
      if (event.key !== "Escape") return;
      event.preventDefault(); // it leaves the field, not the review
      this.#part("title").focus();
      return;
    }
    const act = this.#actFor(event);
    if (!act) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) act(); // a key held down decides once
  }

  /** Give what a key does, if anything. */
  #actFor(event) {
    const key = event.key.toLowerCase();
    if (key === " ") return event.target.matches("button") ? null : this.actions.confirm; // else it presses the button
    const named = { u: "undo", x: "none", "/": "type", arrowleft: "previous", arrowup: "previous", arrowright: "next", arrowdown: "next" };
    if (named[key]) return this.actions[named[key]];
    return this.keys.has(key) ? () => this.#decide(this.keys.get(key)) : null;
  }

  #clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.action) this.actions[button.dataset.action]();
    else if (button.dataset.label !== undefined) this.#decide(button.dataset.label);
  }
}

const said = (label) => (label === NONE ? "None of these." : `Set to ${label}.`);

/** Say what was decided. */
function wordsFor(decided, was) {
  if (decided === NONE) return "✓ none of these";
  return decided === was ? `✓ ${decided}, confirmed` : `✓ ${decided}, was ${was ?? "none"}`;
}
