"use strict";
// Elements, and numbers in words.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element with attributes, and texts or elements inside. */
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

/** Format a share, rounded to a tenth of a percent. Only 1 itself is 100 %, and only 0 itself is 0 %. */
function percent(share) {
  if (share === null) return "";
  const tenths = Math.round(Math.round(share * 1e6) / 1000); // rows have millionths: no error of a float is rounded up
  if (tenths === 1000 && share < 1) return ">99.9 %";
  if (tenths === 0 && share > 0) return "<0.1 %";
  return `${(tenths / 10).toFixed(1)} %`;
}

/** Format a number of bytes. */
function sizeInWords(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) [bytes, power] = [bytes / 1000, power + 1];
  return `${power && bytes < 99.95 ? bytes.toFixed(1) : inWords(Math.round(bytes))} ${units[power]}`;
}
