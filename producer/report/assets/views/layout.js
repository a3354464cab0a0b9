// Computes the position of each line of the contact sheet.

/** In pixels: minimal width of a cell, height below its picture, height of an error's line and of a heading. */
const CELL = 132;
const CELL_SMALL = 104;
const CAPTION = 34;
const CAPTION_LONG = 68;
const FAILED = 58;
const HEADING = 54;

/**
 * @typedef {Object} Line
 * @property {"heading"|"cells"|"failed"} kind
 * @property {number|null} section  the line's section
 * @property {number} from  position of its first row among the shown rows
 * @property {number} to  position after its last row
 * @property {number} top  in pixels
 * @property {number} height
 */

/**
 * Lay rows out in lines: a heading before each section, full lines of cells below it, a line for each error.
 * @param {function(number): number|null} sectionOf  a row's section; null: it has no heading
 * @param {number} height  of a cell
 * @returns {Line[]}
 */
function layOut(shown, sectionOf, columns, height, gap) {
  const lines = [];
  let top = 0;
  const add = (kind, section, from, to, tall) => {
    lines.push({ kind, section, from, to, top, height: tall });
    top += tall + gap;
  };
  for (let from = 0; from < shown.length;) {
    const section = sectionOf(shown[from]);
    let end = from + 1;
    while (end < shown.length && sectionOf(shown[end]) === section) end += 1;
    if (section !== null) add("heading", section, from, end, HEADING);
    const [kind, step, tall] = section === ERRORS ? ["failed", 1, FAILED] : ["cells", columns, height];
    for (; from < end; from += step) add(kind, section, from, Math.min(end, from + step), tall);
    from = end;
  }
  return lines;
}

/** Find the last line whose `field` is at or below a value. */
function lastLine(lines, field, value) {
  let [low, high] = [0, lines.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (lines[middle][field] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Return the position in the same column of the next line of cells in a direction; headings are skipped. */
function vertically(lines, active, direction, count = 1) {
  let at = lastLine(lines, "from", active);
  const column = active - lines[at].from;
  let found = active;
  for (let left = count; left > 0; left -= 1) {
    do at += direction; while (lines[at]?.kind === "heading");
    if (!lines[at]) break;
    found = Math.min(lines[at].from + column, lines[at].to - 1);
  }
  return found;
}

/** Return the position that a key moves to, or null. */
function movedBy(event, lines, active, last, gap) {
  const line = lines[lastLine(lines, "from", active)];
  const page = Math.max(1, Math.floor(innerHeight / (line.height + gap)) - 1);
  switch (event.key) {
    case "ArrowRight": return active + 1;
    case "ArrowLeft": return active - 1;
    case "ArrowDown": return vertically(lines, active, 1);
    case "ArrowUp": return vertically(lines, active, -1);
    case "PageDown": return vertically(lines, active, 1, page);
    case "PageUp": return vertically(lines, active, -1, page);
    case "Home": return event.ctrlKey ? 0 : line.from;
    case "End": return event.ctrlKey ? last : line.to - 1;
    default: return null;
  }
}
