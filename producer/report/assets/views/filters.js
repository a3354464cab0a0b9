// The form with the filters and the order.

/** Fill the form with the labels, true labels and kinds of errors of the rows. */
function offerChoices(form, rows) {
  const { label, truth, show, sort } = form.elements;
  label.append(...labelChoices(rows, rows.label, "no label"));
  if (rows.truth) truth.append(...labelChoices(rows, rows.truth, "unknown"));
  truth.closest("label").hidden = !rows.truth;
  if (!rows.truth) show.querySelector('[value="wrong"]').remove();
  if (rows.unknown.every((share) => share === null)) {
    show.querySelector('[value="unknown"]').remove();
    sort.querySelector('[value="unknown"]').remove();
  }
  const kinds = countBy(rows.error.filter(Boolean).map(kindOf));
  show.append(...[...kinds].sort(([one], [other]) => inOrder(one, other))
    .map(([kind, count]) => element("option", { value: `error:${kind}` }, `error: ${kind} (${inWords(count)})`)));
}

function labelChoices(rows, column, none) {
  const counts = countBy(column);
  return rows.labels.map((name, index) => ({ name, index })).filter(({ index }) => counts.has(index))
    .sort((one, other) => inOrder(one.name, other.name))
    .map(({ name, index }) => element("option", { value: index }, `${name || none} (${inWords(counts.get(index))})`));
}

/** Return the filter of the form. */
function filterOf(form) {
  const { path, label, truth, show, low, high } = form.elements;
  const share = (input) => (Number.isNaN(input.valueAsNumber) ? null : input.valueAsNumber / 100);
  const index = (select) => (select.value === "" ? null : Number(select.value));
  return { path: path.value, label: index(label), truth: index(truth), show: show.value, low: share(low), high: share(high) };
}
