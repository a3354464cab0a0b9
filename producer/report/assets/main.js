// Connects the parts of the page.

class Page {
  constructor() {
    const [facts] = takeBlocks("facts");
    const rows = readRows(facts);
    const decisions = new Decisions(rows, facts.digest);
    const pictures = new Pictures(rows, readThumbnails(), facts.links);
    Object.assign(this, { facts, rows, decisions, form: byId("filters"), hero: new Hero(rows, decisions) });
    offerChoices(this.form, rows);
    this.address = new Address(this.form, rows, () => this.#arrived());
    this.selection = new Selection(byId("selection"), rows, decisions, {
      changed: () => this.sheet.mark(), decided: () => this.#decided(),
    });
    this.sheet = new Sheet(byId("sheet"), new Cells(rows, decisions, pictures), this.selection, (row) => this.viewer.open(this.sheet.shown, row));
    this.viewer = new Viewer(rows, decisions, pictures, {
      decided: () => this.#showProgress(),
      shown: (row, opened) => this.address.write(row, opened && !this.arriving),
      closed: (row) => this.#closed(row),
      exported: () => this.#export(),
    });
    this.arriving = false;
    this.#listen();
  }

  start() {
    const { facts, rows } = this;
    startTheme(byId("theme"));
    showTiles(rows);
    showFacts(facts, rows);
    byId("labels-chart").append(labelsChart(rows, (label) => this.#set({ label: String(label) })));
    if (rows.truth) {
      showTruth(byId("truth"), rows, (truth, label) => this.#set(truth === null ? { show: "wrong" }
        : { truth: String(truth), label: label === truth ? "" : String(label), show: label === truth ? "" : "wrong" }));
    }
    keepDrawn(byId("confidence-chart"), (width) => confidenceChart(rows, width));
    this.#showProgress();
    this.#arrived();
  }

  #listen() {
    const { form } = this;
    for (const field of form.elements) {
      if (!field.name) continue; // the fieldset
      const select = field.tagName === "SELECT";
      field.addEventListener(select ? "change" : "input", () => this.#changed(select));
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => this.#changed(true))); // the fields are reset after this event
    byId("export").addEventListener("click", () => this.#export());
    byId("review").addEventListener("click", () => this.#review());
    byId("all").addEventListener("click", () => this.selection.set(this.sheet.shown));
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault(); // the address has the filters
      byId("sheet").focus();
    });
    addEventListener("storage", (event) => { // another tab changed the progress of this report
      if (event.key !== this.decisions.key) return;
      this.decisions.load();
      this.#decided();
    });
  }

  /** Show the rows that match the filters. */
  #apply() {
    const { form, rows, sheet } = this;
    const sort = form.elements.sort.value;
    const shown = filtered(orderOf(rows, sort), rows, filterOf(form), this.decisions);
    sheet.show(shown, sectionsOf(rows, sort));
    byId("count").textContent = shown.length === rows.path.length
      ? counted(shown.length) : `${inWords(shown.length)} of ${counted(rows.path.length)}`;
    byId("none").hidden = shown.length > 0;
    byId("all").disabled = shown.length === 0;
    this.selection.keep(shown);
  }

  #changed(step) {
    this.address.write(null, step);
    this.#apply();
  }

  /** Set some filters, clear the others, and scroll to the sheet. */
  #set(values) {
    const sort = this.form.elements.sort.value;
    for (const name of FIELDS) this.form.elements[name].value = values[name] ?? "";
    this.form.elements.sort.value = sort;
    this.#changed(true);
    this.form.scrollIntoView();
  }

  /** Show the state of the address. */
  #arrived() {
    this.arriving = true;
    const row = this.address.read();
    this.#apply();
    const { viewer, sheet } = this;
    if (row === null) viewer.dialog.close();
    else viewer.open(sheet.positionOf(row) < 0 ? [row] : sheet.shown, row);
    this.arriving = false;
  }

  /** Show the number of decisions, and the notes. */
  #showProgress() {
    const count = this.decisions.latest.size;
    byId("export").disabled = count === 0;
    byId("export").textContent = count ? `Export ${inWords(count)} reviewed` : "Export";
    const notes = notesOf(this.facts, this.rows, this.decisions);
    byId("note").replaceChildren(...notes.map((note) => element("p", {}, note)));
    byId("note").hidden = notes.length === 0;
    this.hero.show();
  }

  #decided() {
    this.#showProgress();
    this.sheet.refresh();
  }

  #closed(row) {
    if (["open", "reviewed", "changed"].includes(this.form.elements.show.value)) this.#apply();
    else this.sheet.refresh();
    const position = this.sheet.positionOf(row);
    if (position >= 0) this.sheet.focus(position);
    this.address.close();
  }

  /** Open the rows to review that match the other filters, at the first that is not reviewed. */
  #review() {
    this.form.elements.show.value = "review";
    this.form.elements.sort.value = "doubt";
    this.#changed(true);
    if (!this.sheet.shown.length) return;
    this.viewer.open(this.sheet.shown, this.sheet.shown.find((row) => this.decisions.of(row) === undefined));
  }

  #export() {
    save(correctionsOf(this.rows, this.decisions, this.facts.csv_safe), "corrections.csv");
  }
}

new Page().start();
