// The state of the page in its address: filters, order, and the image that is open.

/** The fields of the filters, by their names in the form and in the address. */
const FIELDS = ["path", "label", "truth", "show", "low", "high", "sort"];
const NAMED = ["label", "truth"]; // the address has names, which a report of other rows knows too

class Address {
  /** @param {function()} changed  is called when a person goes back or forward, or edits the address */
  constructor(form, rows, changed) {
    Object.assign(this, { form, rows, changed });
    /** What is to be written when the browser has gone back. */
    this.pending = null;
    this.leaving = false;
    addEventListener("popstate", () => this.#arrived());
  }

  /** Set the form as the address says, and return the row that is open, or null. */
  read() {
    const found = new URLSearchParams(location.hash.slice(1));
    const { elements } = this.form;
    for (const name of FIELDS) {
      let value = found.get(name) ?? "";
      if (NAMED.includes(name) && found.has(name)) value = String(this.rows.labels.indexOf(value));
      const known = elements[name].options === undefined || [...elements[name].options].some((one) => one.value === value);
      elements[name].value = known ? value : "";
    }
    elements.sort.value ||= "doubt";
    const row = Number(found.get("image")) - 1;
    return Number.isInteger(row) && row >= 0 && row < this.rows.path.length ? row : null;
  }

  /**
   * Write the form and the open row to the address.
   * @param {number|null} row
   * @param {boolean} step  whether "back" shall lead to what was there before
   */
  write(row, step) {
    if (this.leaving) {
      this.pending = [row, step];
      return;
    }
    const text = this.#text(row);
    if (text === location.hash.slice(1)) return;
    history[step ? "pushState" : "replaceState"](row === null ? null : { opened: step || history.state?.opened }, "", `#${text}`);
  }

  /** Leave the image that is open: back to the sheet, if it was opened from there. */
  close() {
    if (!history.state?.opened) {
      this.write(null, false);
      return;
    }
    this.leaving = true;
    history.back();
  }

  #arrived() {
    const left = this.leaving;
    this.leaving = false;
    if (!left) this.changed();
    if (left) this.write(...(this.pending ?? [null, false]));
    this.pending = null;
  }

  #text(row) {
    const said = new URLSearchParams();
    for (const name of FIELDS) {
      const { value } = this.form.elements[name];
      if (value === "" || (name === "sort" && value === "doubt")) continue;
      said.set(name, NAMED.includes(name) ? this.rows.labels[Number(value)] : value);
    }
    if (row !== null) said.set("image", String(row + 1));
    return said.toString();
  }
}
