// Assigns keys to labels.

/** The keys for labels; `u`, `x` and `z` have other actions. */
const CLASS_KEYS = "123456789abcdefghijklmnopqrstvwy";
const NUMBERS = CLASS_KEYS.slice(0, 9);

const isDigit = (text) => /^[0-9]$/.test(text);

/**
 * Return the keys for an image. If all classes are digits, each has its own key. Up to nine classes have 1 to 9. With
 * more classes, the most probable ones of this image come first, then the labels of the last decisions.
 * @returns {{keys: Map<string, string>, likely: boolean}} key → label; `likely`: whether the keys differ by image
 */
function classKeys(rows, decisions, row) {
  const named = modelLabelsOf(rows);
  const digits = named.every(isDigit);
  if (!digits && named.length > NUMBERS.length) return { keys: likelyKeys(rows, decisions, row), likely: true };
  const known = digits ? rows.labels.filter(isDigit) : named;
  const keys = new Map([...known].sort(inOrder).map((label, at) => [digits ? label : CLASS_KEYS[at], label]));
  for (const label of decisions.added()) {
    // Among digits, a key stays that of its digit even if no row has it.
    const free = digits && isDigit(label) ? label : [...CLASS_KEYS].find((key) => !keys.has(key) && !(digits && isDigit(key)));
    if (free) keys.set(free, label);
  }
  return { keys, likely: false };
}

/** Return the labels of the model; a true label may not be among them. */
function modelLabelsOf(rows) {
  rows.modelLabels ??= [...new Set([...rows.label, ...rows.top.flatMap((top) => top.filter((_, at) => at % 2 === 0))])]
    .map((index) => rows.labels[index]).filter(Boolean);
  return rows.modelLabels;
}

function likelyKeys(rows, decisions, row) {
  const top = rows.top[row].filter((_, at) => at % 2 === 0).map((index) => rows.labels[index]);
  rows.frequent ??= [...countBy(rows.label.filter((label) => label >= 0))]
    .sort(([, one], [, other]) => other - one).slice(0, NUMBERS.length).map(([index]) => rows.labels[index]);
  const answer = rows.error[row] ? [] : [rows.labels[rows.label[row]]];
  const labels = new Set([...top, ...answer, ...decisions.recent(), ...rows.frequent].filter((label) => label !== UNKNOWN_LABEL));
  return new Map([...labels].slice(0, NUMBERS.length).map((label, at) => [NUMBERS[at], label]));
}
