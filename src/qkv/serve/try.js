// @ts-check
/** The page at /: asks for a translation, and shows where each model looked. */

import { fromBase64 } from "./numbers.js";
import { mount } from "./viewer.js";

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
/** @type {(() => void)[]} */
let shown = [];
let turn = 0; // of two questions, the later one is shown

/** Ask the server; an error is thrown with what it says. @param {string} path @param {any} [body] */
async function ask(path, body) {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/json" };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  const response = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  const answer = await response.json();
  if (response.status === 401) $("locked").hidden = false;
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

/** @param {string} text @param {boolean} [wrong] */
function say(text, wrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", wrong);
}

/** @type {Map<string, any>} */
const models = new Map();

async function fill() {
  for (const model of (await ask("models")).models) models.set(model.name, model);
  $("first").replaceChildren(...[...models.keys()].map((name) => new Option(name)));
  $("second").replaceChildren(new Option("–", ""), ...[...models.keys()].map((name) => new Option(name)));
}

/** One model's output, and its maps if it attends. @param {string} model @param {string} text */
async function translated(model, text) {
  if (models.get(model).attends) {
    const view = await ask("view", { model, source: text });
    return { model, output: view.target, view };
  }
  const { results } = await ask("translate", { model, text });
  return { model, output: results[0].outputs[0].text, view: null };
}

/** @param {{ model: string, output: string, view: any }[]} answers */
function present(answers) {
  for (const close of shown) close();
  $("outputs").replaceChildren(...answers.map(({ model, output }) => {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("small"), { textContent: model }));
    item.append(Object.assign(document.createElement("span"), { textContent: output, dir: "auto" }));
    return item;
  }));
  const seen = answers.filter(({ view }) => view);
  $("views").replaceChildren();
  // The maps of all models go into one viewer, so that they can be laid side by side.
  if (!seen.length) { shown = []; return; }
  const page = { ...seen[0].view.contents, title: "", maps: seen.flatMap(({ view }) => view.contents.maps) };
  const heads = seen.flatMap(({ view }) => view.contents.maps.map((/** @type {any} */ _, /** @type {number} */ map) =>
    (/** @type {number} */ layer, /** @type {number} */ head) => view.heads[`${map}-${layer}-${head}`]));
  $("views").replaceChildren(document.createElement("div"));
  shown = [mount($("views").firstChild, page, async (map, layer, head) => fromBase64(heads[map](layer, head)))];
}

$("text").form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  const mine = ++turn;
  say("…");
  try {
    if (!models.size) await fill();
    const names = [...new Set([$("first").value, $("second").value].filter(Boolean))];
    const answers = await Promise.all(names.map((name) => translated(name, $("text").value)));
    if (mine !== turn) return;
    present(answers);
    say("");
  } catch (error) {
    if (mine === turn) say(/** @type {Error} */ (error).message, true);
  }
});

fill().catch((error) => say(error.message, true));
