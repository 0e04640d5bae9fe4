// @ts-check
/**
 * The page at /: asks for a translation, a label or the labels of the words, and shows where each
 * model looked.
 *
 * @typedef {{ output: string, probabilities?: Record<string, number>,
 *   tags?: [string, string, number][], contents: import("./model.js").Page,
 *   heads: Record<string, string> }} View  what the server's /view says
 */

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

const VERBS = new Map([["/translate", "Translate"], ["/classify", "Classify"], ["/tag", "Tag"]]);

/** The button says what the model does. */
function name() {
  $("ask").textContent = VERBS.get(models.get($("first").value)?.answers[0]) ?? "Ask";
}

async function fill() {
  for (const model of (await ask("models")).models) models.set(model.name, model);
  $("first").replaceChildren(...[...models.keys()].map((name) => new Option(name)));
  $("second").replaceChildren(new Option("–", ""), ...[...models.keys()].map((name) => new Option(name)));
  name();
}

/** @param {string} tag @param {string} textContent @param {Node[]} [children] */
function made(tag, textContent, children = []) {
  const element = Object.assign(document.createElement(tag), { textContent, dir: "auto" });
  element.append(...children);
  return element;
}

/** The words with their labels above them, or the output. @param {View} view */
function written({ output, tags }) {
  if (!tags) return made("span", output);
  return made("span", "", tags.flatMap(([word, label, probability]) => {
    const ruby = made("ruby", word, [made("rt", label)]);
    ruby.title = `${label}: ${probability.toFixed(4)}`;
    return [ruby, document.createTextNode(" ")];
  }));
}

/** How probable each label is. @param {Record<string, number>} probabilities */
function scores(probabilities) {
  return made("table", "", Object.entries(probabilities).map(([label, probability]) => {
    const bar = Object.assign(document.createElement("meter"), { value: probability });
    bar.setAttribute("aria-label", label);
    return made("tr", "", [made("th", label), made("td", "", [bar]), made("td", probability.toFixed(4))]);
  }));
}

/** @param {{ model: string, view: View }[]} answers */
function present(answers) {
  for (const close of shown) close();
  $("outputs").replaceChildren(...answers.map(({ model, view }) => made("li", "", [
    Object.assign(document.createElement("small"), { textContent: model }), written(view),
    ...(view.probabilities ? [scores(view.probabilities)] : []),
  ])));
  const seen = answers.filter(({ view }) => view.contents.maps.length);
  $("views").replaceChildren();
  // The maps of all models go into one viewer, so that they can be laid side by side.
  if (!seen.length) { shown = []; return; }
  const page = { ...seen[0].view.contents, title: "", maps: seen.flatMap(({ view }) => view.contents.maps) };
  const heads = seen.flatMap(({ view }) => view.contents.maps.map((_, map) =>
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
    const answers = await Promise.all(names.map(async (model) => (
      { model, view: /** @type {View} */ (await ask("view", { model, text: $("text").value })) })));
    if (mine !== turn) return;
    present(answers);
    say("");
  } catch (error) {
    if (mine === turn) say(/** @type {Error} */ (error).message, true);
  }
});

$("first").addEventListener("change", name);
fill().catch((error) => say(error.message, true));
