/** The audits over time: of each the share that is wrong, its interval, and what was promised then. */

import { el, style } from "./dom.js";
import { sentence } from "./estimate.js";
import { day, percent, t, time } from "./texts.js";

/** @typedef {import("./estimate.js").Estimate} Estimate */
/** @typedef {{time: string, overall: Estimate}} Summary */

/** Audits that are drawn, at most; and where the scale may end. */
const MOST = 40;
const TOPS = [0.02, 0.05, 0.1, 0.2, 0.5, 1];

/**
 * Draw the audits that were answered; null where a single one tells more as a sentence.
 * @param {Summary[]} audits newest first
 */
export function chart(audits) {
  const answered = audits.filter((one) => one.overall.share !== null).slice(0, MOST);
  if (answered.length < 2) return null;
  const most = Math.max(...answered.map(({ overall }) => Math.max(overall.high ?? 0, overall.promised ?? 0)));
  const top = TOPS.find((one) => one >= most) ?? 1;
  // In the document the newest comes first, and on the screen last: a chart that is too wide shows the newest.
  const label = t("The share that is wrong, over time");
  return el("figure", { class: "chart" },
    el("figcaption", {}, label, el("span", { class: "note" }, el("span", { class: "key-promised" }), t("promised"))),
    el("div", { class: "chart-frame", role: "img", "aria-label": label },
      el("div", { class: "chart-scale" }, ...[0, top / 2, top].map((value) =>
        style(el("span", {}, percent(value)), "bottom", `${(100 * value) / top}%`))),
      el("div", { class: "chart-columns" }, ...answered.map((one) => column(one, top)))));
}

/**
 * @param {Summary} audit
 * @param {number} top
 */
function column({ time: when, overall }, top) {
  const { share, low, high, promised, is_broken: isBroken } = overall;
  const at = (/** @type {number | null} */ value) => `${(100 * (value ?? 0)) / top}%`;
  const range = style(style(el("span", { class: "range" }), "bottom", at(low)), "height", at((high ?? 0) - (low ?? 0)));
  return el("div", { class: isBroken ? "chart-column is-broken" : "chart-column", title: `${time(when)}\n${sentence(overall)}` },
    el("div", { class: "chart-bar" }, range,
      style(el("span", { class: "point" }), "bottom", at(share)),
      promised !== null && style(el("span", { class: "promised" }), "bottom", at(promised))),
    el("span", { class: "chart-day" }, day(when)));
}
