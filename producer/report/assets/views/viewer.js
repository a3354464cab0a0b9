// The large view, which shows one image at a time and is operated by the keyboard.

/** The number of neighbours on each side in the strip below the picture. */
const NEIGHBOURS = 4;

class Viewer {
  /**
   * @param {Rows} rows
   * @param {Decisions} decisions
   * @param {Pictures} pictures
   * @param {{decided: function(number[]), shown: function(number, boolean), closed: function(number), exported: function()}} on
   *   callbacks: `decided` gets the rows, `shown` a row and whether the view was opened for it, `closed` the last row
   */
  constructor(rows, decisions, pictures, on) {
    Object.assign(this, { rows, decisions, pictures, on });
    this.dialog = byId("viewer");
    /** @type {number[]} */ this.queue = [];
    this.at = 0;
    this.keys = new Map();
    this.zoom = new Zoom(this.#part("picture"), this.#part("zoom"));
    this.picker = new Picker(this.#part("picker"), "Find a label, or type a new one", () => decisions.classes(), (label) => this.#picked(label));
    this.actions = {
      close: () => this.dialog.close(),
      confirm: () => this.#decide(rows.labels[rows.label[this.row]]),
      unknown: () => this.#decide(UNKNOWN_LABEL),
      undo: () => this.#undo(),
      previous: () => this.#show(this.at - 1),
      next: () => this.#show(this.at + 1),
      type: () => this.picker.focus(),
      copy: () => this.#copy(),
      export: () => on.exported(),
      zoom: this.zoom.actions.toggle,
      larger: this.zoom.actions.larger,
      smaller: this.zoom.actions.smaller,
    };
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("click", (event) => this.#clicked(event));
    this.dialog.addEventListener("close", () => on.closed(this.row));
    addEventListener("resize", () => { if (this.dialog.open) this.zoom.refresh(); });
  }

  get row() {
    return this.queue[this.at];
  }

  /** Open the view with a queue of rows, at one of them. */
  open(queue, row) {
    this.queue = queue;
    this.at = 0;
    if (!this.dialog.open) this.dialog.showModal();
    this.#show(Math.max(0, queue.indexOf(row)), "", true);
  }

  #part(name) {
    return byId(`viewer-${name}`);
  }

  /** Show the row at a position of the queue, or a message if there is none. */
  #show(at, message = "", opened = false) {
    if (at < 0 || at >= this.queue.length) {
      this.#progress(); // a decision may have changed it
      this.#announce(at < 0 ? "This is the first image." : `This is the last image. ${message}`);
      return;
    }
    this.at = at;
    const { rows, row } = this;
    this.on.shown(row, opened);
    this.#progress();
    this.#part("path").textContent = shownPath(rows.path[row]);
    this.#part("result").replaceChildren(...resultOf(rows, row));
    this.#facts(null, false);
    this.zoom.show(this.pictures.full(row, (image, isFile) => {
      if (row !== this.row) return;
      this.#facts(image, isFile);
      this.zoom.refresh();
    }));
    this.#neighbours();
    this.#part("decide").hidden = rows.error[row] !== "";
    this.#classes();
    this.#decision();
    this.#announce(message, describe(rows, row));
    this.#part("title").focus();
  }

  /** Show the position in the queue, and how much of the queue is reviewed. */
  #progress() {
    const reviewed = this.queue.reduce((sum, row) => sum + (this.decisions.of(row) === undefined ? 0 : 1), 0);
    this.#part("title").textContent = `${inWords(this.at + 1)} of ${inWords(this.queue.length)}`;
    Object.assign(this.#part("progress"), { max: this.queue.length, value: reviewed });
    this.#part("reviewed").textContent = `${inWords(reviewed)} reviewed`;
  }

  #facts(image, isFile) {
    this.#part("facts").replaceChildren(...factsOf(this.rows, this.row, image, isFile));
  }

  #neighbours() {
    const strip = [];
    for (let at = this.at - NEIGHBOURS; at <= this.at + NEIGHBOURS; at += 1) {
      const row = this.queue[at];
      if (row === undefined) continue;
      const button = element("button", { type: "button", tabindex: -1, "aria-label": `Go to ${describe(this.rows, row)}` }, this.pictures.small(row));
      if (at === this.at) button.setAttribute("aria-current", "true");
      button.dataset.at = String(at);
      strip.push(button);
    }
    this.#part("strip").replaceChildren(...strip);
  }

  /** Create the alternatives, and a button for each other class that has a key. */
  #classes() {
    const { keys, likely } = classKeys(this.rows, this.decisions, this.row);
    this.keys = keys;
    const byLabel = new Map([...keys].map(([key, label]) => [label, key]));
    const alternatives = alternativesOf(this.rows, this.row, likely ? byLabel : new Map());
    this.#part("alternatives").replaceChildren(...alternatives);
    this.#part("alternatives").hidden = !alternatives.length;
    const there = new Set(likely ? [...this.#part("alternatives").querySelectorAll("[data-label]")].map((one) => one.dataset.label) : []);
    const shown = [...keys].filter(([, label]) => !there.has(label)).sort(([one], [other]) => inOrder(one, other));
    this.#part("classes").replaceChildren(...shown.map(([key, label]) => this.#button(key, label)));
    this.#part("classes").hidden = !shown.length;
  }

  #button(key, label) {
    const own = key === label; // a digit needs no name beside its key
    const button = element("button", { type: "button", "aria-pressed": "false", title: label, class: own ? "own" : "named" },
      element("kbd", {}, key), ...(own ? [] : [element("span", {}, label)]));
    button.dataset.label = label;
    return button;
  }

  /** Show the decision on the row. */
  #decision() {
    const decided = this.decisions.of(this.row);
    const was = this.rows.labels[this.rows.label[this.row]];
    this.#part("decision").textContent = decided === undefined ? "" : wordsFor(decided, was);
    for (const button of this.dialog.querySelectorAll("button[data-label]")) {
      button.setAttribute("aria-pressed", String(button.dataset.label === decided));
    }
    for (const name of ["undo", "export"]) {
      this.dialog.querySelector(`[data-action="${name}"]`).disabled = !this.decisions.log.length;
    }
  }

  #decide(label) {
    if (this.rows.error[this.row] !== "" || label === undefined) return;
    this.decisions.decide(this.row, label);
    this.on.decided([this.row]);
    this.#decision();
    const message = label === UNKNOWN_LABEL ? "Unknown." : `Set to ${label}.`;
    this.#show(this.at + 1, this.at + 1 < this.queue.length ? message : `${message} Export saves your decisions.`);
  }

  #picked(label) {
    this.#decide(label);
    this.#classes();
    this.#decision();
    this.#part("title").focus();
  }

  #undo() {
    const rows = this.decisions.undo();
    if (!rows.length) {
      this.#announce("There is nothing to undo.");
      return;
    }
    this.on.decided(rows);
    const there = new Set(this.queue);
    this.queue = [...rows.filter((row) => !there.has(row)), ...this.queue];
    this.#show(this.queue.indexOf(rows.at(-1)), "Undone.");
  }

  async #copy() {
    const path = shownPath(this.rows.path[this.row]);
    this.#announce(await copyText(path, this.dialog) ? "Path copied." : "This browser does not allow the page to copy.");
  }

  /** Show a message, and describe the current image to screen readers. */
  #announce(message, now = "") {
    this.#part("said").textContent = message;
    this.#part("now").textContent = now;
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("input")) {
      if (event.key !== "Escape") return;
      event.preventDefault(); // it closes the field, not the view
      this.#part("title").focus();
      return;
    }
    const act = this.#actFor(event);
    if (!act) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) act(); // a key held down decides once
  }

  /** Return the action of a key, if it has one. */
  #actFor(event) {
    const key = event.key.toLowerCase();
    if (key === " ") return event.target.matches("button") ? null : this.actions.confirm; // else it presses the button
    if (event.shiftKey && key.startsWith("arrow")) {
      const [x, y] = { arrowleft: [-80, 0], arrowright: [80, 0], arrowup: [0, -80], arrowdown: [0, 80] }[key];
      return () => this.zoom.pan(x, y);
    }
    const named = {
      u: "undo", x: "unknown", z: "zoom", "+": "larger", "=": "larger", "-": "smaller", "/": "type",
      arrowleft: "previous", arrowup: "previous", arrowright: "next", arrowdown: "next",
    };
    if (named[key]) return this.actions[named[key]];
    return this.keys.has(key) ? () => this.#decide(this.keys.get(key)) : null;
  }

  #clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.action) this.actions[button.dataset.action]();
    else if (button.dataset.at !== undefined) this.#show(Number(button.dataset.at));
    else if (button.dataset.label !== undefined) this.#decide(button.dataset.label);
  }
}
