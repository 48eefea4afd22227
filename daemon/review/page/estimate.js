/** A share that is wrong, with its interval and what was promised: as a sentence and as a bar. */

import { el, style } from "./dom.js";
import { number, percent, t } from "./texts.js";

/** @typedef {{answered: number, wrong: number, share: number | null, low: number | null, high: number | null, promised: number | null, is_broken: boolean}} Estimate */

/**
 * @param {Estimate} estimate
 * @returns {string}
 */
export function sentence(estimate) {
  const { answered, wrong, share, low, high } = estimate;
  if (share === null || low === null || high === null) return t("Nothing answered yet");
  return t("{wrong} of {answered} wrong: {share}, with 95% certainty between {low} and {high}", {
    wrong,
    answered,
    share: percent(share),
    low: percent(low),
    high: percent(high),
  });
}

/**
 * @param {Estimate} estimate
 * @returns {HTMLElement}
 */
export function bar(estimate) {
  const { share, low, high, promised, is_broken: isBroken } = estimate;
  const top = Math.min(1, Math.max(high ?? 0, (promised ?? 0) * 1.5, 0.1) * 1.1);
  const at = (/** @type {number} */ value) => `${(100 * value) / top}%`;
  const track = el("div", { class: isBroken ? "interval is-broken" : "interval", "aria-hidden": "true" });
  if (low !== null && high !== null && share !== null) {
    const range = el("span", { class: "range" });
    style(style(range, "left", at(low)), "width", at(high - low));
    track.append(range, style(el("span", { class: "point" }), "left", at(share)));
  }
  if (promised !== null) track.append(style(el("span", { class: "promised" }), "left", at(promised)));
  return track;
}

/**
 * What was promised, and whether it holds.
 * @param {Estimate} estimate
 */
export function verdict(estimate) {
  if (estimate.promised === null) return t("This model promises nothing.");
  const promised = percent(estimate.promised);
  if (estimate.is_broken) return t("Promised: at most {promised}. The promise is broken.", { promised });
  return t("Promised: at most {promised}.", { promised });
}

/**
 * A row for each class.
 * @param {(Estimate & {label: string, filed: number})[]} classes
 */
export function table(classes) {
  const head = [t("Class"), t("Filed"), t("Answered"), t("Wrong"), t("Share"), t("Interval")];
  const rows = classes.map((one) =>
    el("tr", {},
      el("th", { scope: "row" }, el("bdi", {}, one.label)),
      el("td", {}, number(one.filed)),
      el("td", {}, number(one.answered)),
      el("td", {}, number(one.wrong)),
      el("td", {}, one.share === null ? "–" : percent(one.share)),
      el("td", {}, one.low === null || one.high === null ? "–" : `${percent(one.low)} – ${percent(one.high)}`)),
  );
  return el("div", { class: "scrolled", tabindex: "0", role: "region", "aria-label": t("Class") },
    el("table", { class: "figures" },
      el("thead", {}, el("tr", {}, ...head.map((title) => el("th", { scope: "col" }, title)))),
      el("tbody", {}, ...rows)));
}
