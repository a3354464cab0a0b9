"use strict";
// Makes elements, and formats numbers.

const SVG = "http://www.w3.org/2000/svg";

/** Create an element with attributes, and texts or elements inside. */
function element(name, attributes = {}, ...inside) {
  const made = name === "svg" || name.startsWith("svg:")
    ? document.createElementNS(SVG, name.replace("svg:", ""))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...inside);
  return made;
}

const byId = (id) => document.getElementById(id);
const inWords = new Intl.NumberFormat("en").format;
const counted = (count, noun = "image") => `${inWords(count)} ${noun}${count === 1 ? "" : "s"}`;
const dateInWords = (seconds) => new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);

/** Format a share of 0 to 1 as a rounded percentage. Only 1 becomes "100 %", and only 0 becomes "0 %". */
function percent(share, places = 1) {
  if (share === null) return "";
  const unit = 10 ** places;
  // Rows have six decimals: rounding to these first avoids errors of binary fractions.
  const rounded = Math.round(Math.round(share * 1e6) / (1e4 / unit));
  if (rounded === 100 * unit && share < 1) return `>${((rounded - 1) / unit).toFixed(places)} %`;
  if (rounded === 0 && share > 0) return `<${(1 / unit).toFixed(places)} %`;
  return `${(rounded / unit).toFixed(places)} %`;
}

/** Format a number of bytes. */
function sizeInWords(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) [bytes, power] = [bytes / 1000, power + 1];
  return `${power && bytes < 99.95 ? bytes.toFixed(1) : inWords(Math.round(bytes))} ${units[power]}`;
}
