/** Begin: in which language, and what is to be seen. */

import { Refused } from "./api.js";
import { App } from "./app.js";
import { first, forget } from "./begun.js";
import { el, fill, find } from "./dom.js";
import { makeHelp } from "./help.js";
import { useWords } from "./texts.js";
import { VIEWS } from "./views.js";

const AGAIN_MS = 1000;

async function begin() {
  try {
    const [session, words, { classes }] = await Promise.all([first("session"), first("words"), first("classes")]);
    useWords(words, session.language);
    fill(find("#views"), ...VIEWS.map(({ id, title }) => el("a", { href: `#${id}` }, title())));
    makeHelp();
    new App(session).start(classes);
    forget();
  } catch (error) {
    if (error instanceof Refused) fill(find("#view"), el("p", { class: "empty" }, error.message));
    else setTimeout(begin, AGAIN_MS);
  }
}

await begin();
