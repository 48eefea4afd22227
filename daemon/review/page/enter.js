/** Send the password, and go on to the page. */

import { post } from "./api.js";
import { find } from "./dom.js";

const field = /** @type {HTMLInputElement} */ (find("#password"));

find("#enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await post("password", { password: field.value });
    location.reload();
  } catch (error) {
    find("#said").textContent = (error instanceof Error && error.message) || field.dataset.away || "";
    field.select();
  }
});
field.focus();
