// @ts-check
/** A page that carries its maps: names as JSON, each head as base64 in an element of its own. */

import { fromBase64 } from "./numbers.js";
import { mount } from "./viewer.js";

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

mount(byId("viewer"), JSON.parse(byId("figures").textContent ?? ""), async (map, layer, head) =>
  fromBase64(byId(`head-${map}-${layer}-${head}`).textContent ?? ""));
