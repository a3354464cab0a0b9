// The texts of the large view: the result, its alternatives, and facts about the file.

/** Create the text of the result: the label, its certainty, and the true label if it is known. */
function resultOf(rows, row) {
  if (rows.error[row]) return [element("p", { class: "why" }, rows.error[row])];
  const sure = element("span", rows.review[row] ? { class: "doubt" } : {}, certainty(rows, row));
  const right = isRight(rows, row);
  const truth = right === null ? [] : [element("p", { class: right ? "mine" : "why" }, right ? "✓ right" : `✗ wrong, the true label is ${truthOf(rows, row)}`)];
  return [element("p", { class: "result" }, element("b", {}, labelOf(rows, row)), sure), ...truth];
}

/**
 * Create the list of alternatives with their probabilities, and the probability that the image is unknown.
 * @param {Map<string, string>} keys  label → key, for the labels that a button sets
 */
function alternativesOf(rows, row, keys) {
  const { top } = rows;
  const made = [];
  for (let at = 0; at < top[row].length; at += 2) {
    const label = rows.labels[top[row][at]];
    made.push(alternative(label, top[row][at + 1], keys.get(label)));
  }
  if (rows.unknown[row] !== null) made.push(alternative("unknown", rows.unknown[row], undefined, "unlike"));
  return made;
}

function alternative(label, share, key, kind = "") {
  const fill = element("span", { class: "fill" });
  fill.style.width = `${share * 100}%`;
  const parts = [element("span", { class: "name" }, label), element("span", { class: "track" }, fill), element("span", { class: "count" }, percent(share))];
  if (key === undefined) return element("li", { class: kind }, element("div", {}, ...parts));
  const button = element("button", { type: "button", "aria-pressed": "false" }, element("kbd", {}, key), ...parts);
  button.dataset.label = label;
  return element("li", { class: kind }, button);
}

/** Create the facts about the file; `image` is the loaded picture, and `isFile` is false for a thumbnail. */
function factsOf(rows, row, image, isFile) {
  const natural = image && `${inWords(image.naturalWidth)} × ${inWords(image.naturalHeight)}`;
  const known = {
    Pixels: natural && (isFile ? natural : `thumbnail, ${natural}`),
    Size: rows.size?.[row] != null && sizeInWords(rows.size[row]),
    Modified: rows.date?.[row] != null && dateInWords(rows.date[row]),
    Submitted: `as number ${inWords(row + 1)} of ${inWords(rows.path.length)}`,
    Model: rows.models.length > 1 && rows.models[rows.model[row]],
  };
  return Object.entries(known).filter(([, value]) => value)
    .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
}

/** Copy a text to the clipboard; return whether the browser allowed it. */
async function copyText(text, place) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // a page from disk may not use the clipboard API: use the older way
    const field = element("textarea", { class: "unseen", readonly: "" });
    field.value = text;
    place.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}
