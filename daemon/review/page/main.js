/** Begin: in which language, and what is to be seen. */

import { get, Refused } from "./api.js";
import { App } from "./app.js";
import { el, fill, find } from "./dom.js";
import { makeHelp } from "./help.js";
import { useWords } from "./texts.js";
import { VIEWS } from "./views.js";

const AGAIN_MS = 1000;

async function begin() {
  try {
    const [session, words, { classes }] = await Promise.all([get("session"), get("words"), get("classes")]);
    useWords(words, session.language);
    fill(find("#views"), ...VIEWS.map(({ id, title }) => el("a", { href: `#${id}` }, title())));
    makeHelp();
    new App(session).start(classes);
  } catch (error) {
    if (error instanceof Refused) fill(find("#view"), el("p", { class: "empty" }, error.message));
    else setTimeout(begin, AGAIN_MS);
  }
}

await begin();
