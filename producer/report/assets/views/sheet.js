// The contact sheet. Only the lines near the window are in the page.

/** Pixels above and below the window in which lines are drawn. */
const BEYOND = 600;

class Sheet {
  /**
   * @param {HTMLElement} root
   * @param {Cells} cells  makes the cells of rows, and headings
   * @param {Selection} selection
   * @param {function(number)} open  called with a row that the user opens
   */
  constructor(root, cells, selection, open) {
    Object.assign(this, { root, cells, selection, open });
    /** @type {number[]} */ this.shown = [];
    /** @type {Line[]} */ this.lines = [];
    /** @type {Map<number, HTMLElement>} line → its element, for those in the page */ this.drawn = new Map();
    /** The position whose cell has the focus, or gets it with Tab. */
    this.active = 0;
    /** The position from which Shift selects. */
    this.anchor = 0;
    this.waiting = false;
    addEventListener("scroll", () => this.#soon(), { passive: true });
    root.classList.toggle("long", cells.long);
    new ResizeObserver(() => this.#resized()).observe(root);
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("click", (event) => this.#clicked(event));
    root.addEventListener("mousedown", (event) => { if (event.shiftKey) event.preventDefault(); }); // it would select text
  }

  /** Show rows, starting with the first. */
  show(shown, sectionOf) {
    Object.assign(this, { shown, sectionOf, active: 0, anchor: 0 });
    this.#layOut();
  }

  /** Mark the selected cells. */
  mark() {
    this.root.classList.toggle("selecting", this.selection.size > 0);
    for (const cell of this.root.querySelectorAll("[data-position]")) this.#marked(cell);
  }

  /** Redraw the lines in the page after a change of their rows. */
  refresh() {
    const held = this.root.contains(document.activeElement);
    this.#clear();
    this.#render();
    if (held) this.focus(this.active);
  }

  /** Move the focus to a position, and scroll to it. */
  focus(position) {
    this.active = Math.max(0, Math.min(this.shown.length - 1, position));
    this.#reveal(this.lines[this.#lineOf(this.active)]);
    this.#render();
    for (const cell of this.root.querySelectorAll('[tabindex="0"]')) cell.tabIndex = -1;
    const cell = this.root.querySelector(`[data-position="${this.active}"]`);
    cell.tabIndex = 0;
    cell.focus({ preventScroll: true });
  }

  /** Return the position of a row among the shown rows, or -1. */
  positionOf(row) {
    return this.shown.indexOf(row);
  }

  #resized() {
    if (this.root.clientWidth !== this.width) this.#layOut();
  }

  #layOut() {
    this.width = this.root.clientWidth;
    this.gap = parseInt(getComputedStyle(this.root).getPropertyValue("--gap"), 10);
    const least = this.width < 700 ? CELL_SMALL : CELL;
    this.columns = Math.max(1, Math.floor((this.width + this.gap) / (least + this.gap)));
    const cell = Math.floor((this.width + this.gap) / this.columns - this.gap);
    this.lines = layOut(this.shown, this.sectionOf, this.columns, cell + (this.cells.long ? CAPTION_LONG : CAPTION), this.gap);
    this.root.setAttribute("aria-rowcount", String(this.lines.length));
    const last = this.lines.at(-1);
    this.root.style.height = `${last ? last.top + last.height : 0}px`;
    this.#clear();
    this.#render();
  }

  #clear() {
    this.drawn.clear();
    this.root.replaceChildren();
  }

  /** Draw before the next frame, since scroll events are more frequent. */
  #soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#render();
    });
  }

  /** Draw the lines near the window and the one that Tab moves to, and remove the others. */
  #render() {
    if (!this.lines.length) return;
    const above = -this.root.getBoundingClientRect().top;
    const first = lastLine(this.lines, "top", above - BEYOND);
    const last = lastLine(this.lines, "top", above + innerHeight + BEYOND);
    const held = this.#lineOf(this.active);
    for (const [at, drawn] of this.drawn) {
      if ((at < first || at > last) && at !== held) {
        drawn.remove();
        this.drawn.delete(at);
      }
    }
    let after = held > last ? this.#drawn(held, null) : null;
    for (let at = last; at >= first; at -= 1) after = this.#drawn(at, after);
    if (held < first) this.#drawn(held, after);
  }

  /** Return the element of a line; a new one is inserted before another element. */
  #drawn(at, after) {
    if (!this.drawn.has(at)) this.root.insertBefore(this.#draw(at), after);
    return this.drawn.get(at);
  }

  #draw(at) {
    const line = this.lines[at];
    const made = element("div", { class: `line ${line.kind}`, role: "row", "aria-rowindex": at + 1 });
    made.style.transform = `translateY(${line.top - 4}px)`;
    made.style.height = `${line.height + 8}px`;
    if (line.kind === "heading") {
      made.append(this.cells.heading(line.section, this.shown.slice(line.from, line.to)));
    } else {
      made.style.gridTemplateColumns = line.kind === "cells" ? `repeat(${this.columns}, minmax(0, 1fr))` : "minmax(0, 1fr)";
      for (let position = line.from; position < line.to; position += 1) made.append(this.#cell(position, line.kind === "failed"));
    }
    this.drawn.set(at, made);
    return made;
  }

  #cell(position, line) {
    const cell = this.cells.cell(this.shown[position], line);
    cell.setAttribute("role", "gridcell");
    cell.dataset.position = String(position);
    this.#marked(cell);
    cell.tabIndex = position === this.active ? 0 : -1;
    return cell;
  }

  #marked(cell) {
    cell.setAttribute("aria-selected", String(this.selection.has(this.shown[Number(cell.dataset.position)])));
  }

  /** Return the line of a position. */
  #lineOf(position) {
    return lastLine(this.lines, "from", position);
  }

  #reveal(line) {
    const start = this.root.getBoundingClientRect().top + scrollY;
    const covered = document.getElementById("filters").getBoundingClientRect().bottom;
    const hidden = Math.max(0, Math.min(covered, 160)) + HEADING;
    if (start + line.top - hidden < scrollY) scrollTo(0, start + line.top - hidden);
    const bottom = start + line.top + line.height + 12;
    if (bottom > scrollY + innerHeight) scrollTo(0, bottom - innerHeight);
  }

  #key(event) {
    if (!this.shown.length || event.altKey || event.metaKey) return;
    if (this.#acts(event)) {
      event.preventDefault();
      return;
    }
    const position = movedBy(event, this.lines, this.active, this.shown.length - 1, this.gap);
    if (position === null) return;
    event.preventDefault();
    this.focus(position);
    if (event.shiftKey) this.#range();
    else this.anchor = this.active;
  }

  /** Run the action of a key that does not move the focus; return whether it has one. */
  #acts(event) {
    const row = this.shown[this.active];
    if (event.key === "Enter" || (event.key === " " && !event.ctrlKey)) this.open(row);
    else if (event.key === " ") this.selection.toggle(row);
    else if (event.key.toLowerCase() === "a" && event.ctrlKey) this.selection.set(this.shown);
    else if (event.key === "Escape" && this.selection.size) this.selection.set([]);
    else return false;
    return true;
  }

  /** Select from the anchor to the active cell. */
  #range() {
    const [from, to] = [this.anchor, this.active].sort((one, other) => one - other);
    this.selection.set(this.shown.slice(from, to + 1));
  }

  #clicked(event) {
    const cell = event.target.closest("[data-position]");
    if (!cell) return;
    this.focus(Number(cell.dataset.position));
    if (event.shiftKey) {
      this.#range();
      return;
    }
    this.anchor = this.active;
    const row = this.shown[this.active];
    if (event.ctrlKey || event.metaKey || event.target.closest(".pick")) this.selection.toggle(row);
    else this.open(row);
  }
}
