// The contact sheet: of all its lines, only those near the window are in the page.

/** Pixels: of a cell at least, below its picture, of a line with an error, of a heading; and beyond the window. */
const CELL = 132;
const CELL_SMALL = 104;
const CAPTION = 34;
const FAILED = 58;
const HEADING = 54;
const BEYOND = 600;

/**
 * @typedef {Object} Line
 * @property {"heading"|"cells"|"failed"} kind
 * @property {number} from  position of its first row among those shown
 * @property {number} to  and of the one after its last
 * @property {number} top  in pixels
 * @property {number} height
 */

/**
 * Lay rows out in lines: a heading before each label, full lines of cells below it, a line for each error.
 * @returns {Line[]}
 */
function layOut(shown, rows, columns, cell, gap) {
  const lines = [];
  let top = 0;
  const add = (kind, from, to, height) => {
    lines.push({ kind, from, to, top, height });
    top += height + gap;
  };
  for (let from = 0; from < shown.length;) {
    const label = rows.label[shown[from]];
    let end = from + 1;
    while (end < shown.length && rows.label[shown[end]] === label) end += 1;
    add("heading", from, end, HEADING);
    const [kind, step, height] = label < 0 ? ["failed", 1, FAILED] : ["cells", columns, cell + CAPTION];
    for (; from < end; from += step) add(kind, from, Math.min(end, from + step), height);
    from = end;
  }
  return lines;
}

/** Find the last line that begins at or above a height. */
function lineAt(lines, top) {
  let [low, high] = [0, lines.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (lines[middle].top <= top) low = middle;
    else high = middle - 1;
  }
  return low;
}

class Sheet {
  /**
   * @param {HTMLElement} root
   * @param {Rows} rows
   * @param {{cell: function(number): HTMLElement, heading: function(number, number): HTMLElement}} make
   *   a cell of a row; the heading of the rows from one position to another
   * @param {function(number)} open  is called with a row that a person opens
   */
  constructor(root, rows, make, open) {
    Object.assign(this, { root, rows, make, open });
    /** @type {number[]} */ this.shown = [];
    /** @type {Line[]} */ this.lines = [];
    /** @type {Map<number, HTMLElement>} line → its element, for those in the page */ this.drawn = new Map();
    /** The position whose cell has the focus, or gets it by Tab. */
    this.active = 0;
    this.waiting = false;
    addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.#resized()).observe(root);
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("click", (event) => this.#clicked(event));
  }

  /** Show these rows, from the first. */
  show(shown) {
    this.shown = shown;
    this.active = 0;
    this.#layOut();
  }

  /** Draw again what is in the page: something about its rows has changed. */
  refresh() {
    const held = this.root.contains(document.activeElement);
    this.#clear();
    this.#render();
    if (held) this.focus(this.active);
  }

  /** Move the focus to a position, and the window to where it is seen. */
  focus(position) {
    this.active = Math.max(0, Math.min(this.shown.length - 1, position));
    this.#reveal(this.lines[this.#lineOf(this.active)]);
    this.#render();
    for (const cell of this.root.querySelectorAll('[tabindex="0"]')) cell.tabIndex = -1;
    const cell = this.root.querySelector(`[data-position="${this.active}"]`);
    cell.tabIndex = 0;
    cell.focus({ preventScroll: true });
  }

  /** Give the position of a row among those shown, or -1. */
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
    this.lines = layOut(this.shown, this.rows, this.columns, cell, this.gap);
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

  /** Draw before the next frame; a scroll event comes more often. */
  #soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#render();
    });
  }

  /** Have those lines in the page that are near the window, and the one that Tab leads to; in their order. */
  #render() {
    if (!this.lines.length) return;
    const above = -this.root.getBoundingClientRect().top;
    const first = lineAt(this.lines, above - BEYOND);
    const last = lineAt(this.lines, above + innerHeight + BEYOND);
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

  /** Give the element of a line; one that is not in the page yet comes before another. */
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
      made.append(this.make.heading(line.from, line.to));
    } else {
      made.style.gridTemplateColumns = line.kind === "cells" ? `repeat(${this.columns}, minmax(0, 1fr))` : "minmax(0, 1fr)";
      for (let position = line.from; position < line.to; position += 1) made.append(this.#cell(position));
    }
    this.drawn.set(at, made);
    return made;
  }

  #cell(position) {
    const cell = this.make.cell(this.shown[position]);
    cell.setAttribute("role", "gridcell");
    cell.dataset.position = String(position);
    cell.tabIndex = position === this.active ? 0 : -1;
    return cell;
  }

  /** Give the line that a position's cell is in. */
  #lineOf(position) {
    let [low, high] = [0, this.lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lines[middle].from <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #reveal(line) {
    const start = this.root.getBoundingClientRect().top + scrollY;
    const covered = document.getElementById("filters").getBoundingClientRect().bottom;
    const hidden = Math.max(0, Math.min(covered, 160)) + HEADING;
    if (start + line.top - hidden < scrollY) scrollTo(0, start + line.top - hidden);
    const bottom = start + line.top + line.height + 12;
    if (bottom > scrollY + innerHeight) scrollTo(0, bottom - innerHeight);
  }

  /** Give the position in the same column of the next line of cells in a direction; headings are passed over. */
  #vertically(direction, lines = 1) {
    let at = this.#lineOf(this.active);
    const column = this.active - this.lines[at].from;
    let found = this.active;
    for (let left = lines; left > 0; left -= 1) {
      do at += direction; while (this.lines[at]?.kind === "heading");
      if (!this.lines[at]) break;
      found = Math.min(this.lines[at].from + column, this.lines[at].to - 1);
    }
    return found;
  }

  #moves(event) {
    const line = this.lines[this.#lineOf(this.active)];
    const page = Math.max(1, Math.floor(innerHeight / (line.height + this.gap)) - 1);
    switch (event.key) {
      case "ArrowRight": return this.active + 1;
      case "ArrowLeft": return this.active - 1;
      case "ArrowDown": return this.#vertically(1);
      case "ArrowUp": return this.#vertically(-1);
      case "PageDown": return this.#vertically(1, page);
      case "PageUp": return this.#vertically(-1, page);
      case "Home": return event.ctrlKey ? 0 : line.from;
      case "End": return event.ctrlKey ? this.shown.length - 1 : line.to - 1;
      default: return null;
    }
  }

  #key(event) {
    if (!this.shown.length || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.open(this.shown[this.active]);
      return;
    }
    const position = this.#moves(event);
    if (position === null) return;
    event.preventDefault();
    this.focus(position);
  }

  #clicked(event) {
    const cell = event.target.closest("[data-position]");
    if (!cell) return;
    this.focus(Number(cell.dataset.position));
    this.open(this.shown[this.active]);
  }
}
