/** The views, in the order in which they are shown. */

import { Audit } from "./view_audit.js";
import { Classes } from "./view_classes.js";
import { Live } from "./view_live.js";
import { Model } from "./view_model.js";
import { Quarantine } from "./view_quarantine.js";
import { Unsure } from "./view_unsure.js";
import { t } from "./texts.js";

/** @typedef {{id: string, title: () => string, make: (app: import("./app.js").App, rest: string) => any}} View */

/** @type {View[]} */
export const VIEWS = [
  { id: "unsure", title: () => t("Unsure"), make: (app) => new Unsure(app) },
  { id: "classes", title: () => t("Classes"), make: (app, rest) => new Classes(app, rest) },
  { id: "quarantine", title: () => t("Quarantine"), make: (app) => new Quarantine(app) },
  { id: "audit", title: () => t("Audit"), make: (app, rest) => new Audit(app, rest) },
  { id: "model", title: () => t("Model"), make: (app, rest) => new Model(app, rest) },
  { id: "live", title: () => t("Live"), make: (app) => new Live(app) },
];
