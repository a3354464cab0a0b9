// What the large view says of an image: the answer, its alternatives, and facts about the file.

/** Make the answer in words: the label, how sure it is, and the true label where that is known. */
function answerOf(rows, row) {
  if (rows.error[row]) return [element("p", { class: "why" }, rows.error[row])];
  const sure = element("span", rows.review[row] ? { class: "doubt" } : {}, certainty(rows, row));
  const right = isRight(rows, row);
  const truth = right === null ? [] : [element("p", { class: right ? "mine" : "why" }, right ? "✓ right" : `✗ wrong, the true label is ${truthOf(rows, row)}`)];
  return [element("p", { class: "answer" }, element("b", {}, labelOf(rows, row)), sure), ...truth];
}

/**
 * Make the alternatives with their probabilities, and how likely the image is unknown.
 * @param {Map<string, string>} keys  label → its key, for those that a button sets
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

/** Make the facts about the file; `image` is what is loaded of it, `isFile` false for a thumbnail. */
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

/** Copy a text; return whether that was allowed. */
async function copyText(text, place) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // a page from disk may not: then as browsers did before
    const field = element("textarea", { class: "unseen", readonly: "" });
    field.value = text;
    place.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}
