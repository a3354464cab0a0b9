// The keys that set a label.

/** Keys of classes; `u`, `x` and `z` have a meaning of their own. */
const CLASS_KEYS = "123456789abcdefghijklmnopqrstvwy";
const NUMBERS = CLASS_KEYS.slice(0, 9);

const isDigit = (text) => /^[0-9]$/.test(text);

/**
 * Return the keys of an image: a digit its own, where all classes are digits; 1 to 9 in order for up to nine classes. Of
 * more classes, those that are likely for this image have the first, and what was decided lately the next.
 * @returns {{keys: Map<string, string>, likely: boolean}} key → label; `likely`: whether they are this image's own
 */
function classKeys(rows, decisions, row) {
  const named = answersOf(rows);
  const digits = named.every(isDigit);
  if (!digits && named.length > NUMBERS.length) return { keys: likelyKeys(rows, decisions, row), likely: true };
  const known = digits ? rows.labels.filter(isDigit) : named;
  const keys = new Map([...known].sort(inOrder).map((label, at) => [digits ? label : CLASS_KEYS[at], label]));
  for (const label of decisions.added()) {
    // Beside digits, a key that is one stays that digit's, also where no row has it.
    const free = digits && isDigit(label) ? label : [...CLASS_KEYS].find((key) => !keys.has(key) && !(digits && isDigit(key)));
    if (free) keys.set(free, label);
  }
  return { keys, likely: false };
}

/** Return the labels that the model gives; a true label may be none of them. */
function answersOf(rows) {
  rows.answers ??= [...new Set([...rows.label, ...rows.top.flatMap((top) => top.filter((_, at) => at % 2 === 0))])]
    .map((index) => rows.labels[index]).filter(Boolean);
  return rows.answers;
}

function likelyKeys(rows, decisions, row) {
  const top = rows.top[row].filter((_, at) => at % 2 === 0).map((index) => rows.labels[index]);
  rows.frequent ??= [...countBy(rows.label.filter((label) => label >= 0))]
    .sort(([, one], [, other]) => other - one).slice(0, NUMBERS.length).map(([index]) => rows.labels[index]);
  const answer = rows.error[row] ? [] : [rows.labels[rows.label[row]]];
  const labels = new Set([...top, ...answer, ...decisions.recent(), ...rows.frequent].filter((label) => label !== NONE));
  return new Map([...labels].slice(0, NUMBERS.length).map((label, at) => [NUMBERS[at], label]));
}
