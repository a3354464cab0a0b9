// Keeps the state of the page in its address: filters, order, and the open image.

/** The names of the filters, in the form and in the address. */
const FIELDS = ["path", "label", "truth", "show", "low", "high", "sort"];
const NAMED = ["label", "truth"]; // as names in the address, so that it also works in a report of other rows

class Address {
  /** @param {function()} changed  called after the user goes back or forward, or edits the address */
  constructor(form, rows, changed) {
    Object.assign(this, { form, rows, changed });
    /** The arguments of `write` to apply once the browser has gone back. */
    this.pending = null;
    this.leaving = false;
    addEventListener("popstate", () => this.#arrived());
  }

  /** Fill the form from the address, and return the open row, or null. */
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
   * @param {boolean} step  whether the browser's "back" returns to the previous state
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

  /** Close the open image: go back to the sheet if it was opened from there. */
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
