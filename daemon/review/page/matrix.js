/** The confusion matrix: a cell shows the pictures behind it. */

import { bdi, el, style } from "./dom.js";
import { number, t } from "./texts.js";

/**
 * @param {string[]} classes
 * @param {number[][]} counts the images of class i that were taken for class j
 * @param {(actual: string, predicted: string) => void} picked
 */
export function matrix(classes, counts, picked) {
  const head = el("tr", {}, el("th", { scope: "col", class: "corner" }, t("is ↓ · taken for →")),
    ...classes.map((name) => el("th", { scope: "col" }, bdi(name))));
  const rows = classes.map((actual, i) => {
    const total = counts[i].reduce((sum, one) => sum + one, 0);
    const cells = classes.map((predicted, j) => cell(actual, predicted, counts[i][j], total, picked));
    return el("tr", {}, el("th", { scope: "row" }, bdi(actual)), ...cells);
  });
  return el("div", { class: "scrolled", tabindex: "0", role: "region", "aria-label": t("What it confuses") },
    el("table", { class: "matrix" }, el("thead", {}, head), el("tbody", {}, ...rows)));
}

/**
 * @param {string} actual
 * @param {string} predicted
 * @param {number} count
 * @param {number} total
 * @param {(actual: string, predicted: string) => void} picked
 */
function cell(actual, predicted, count, total, picked) {
  if (!count) return el("td", {});
  const label = t("{count}: is {actual}, taken for {predicted}", { count, actual, predicted });
  const button = el("button", { "aria-label": label, onclick: () => picked(actual, predicted) }, number(count));
  style(button, "--share", Math.sqrt(count / total));
  return el("td", { class: actual === predicted ? "is-right" : "is-wrong" }, button);
}
