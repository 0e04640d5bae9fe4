// @ts-check
/**
 * The viewer: one of many maps, one of its heads, in one of six views. A page, an exported file and
 * a notebook mount it in an element of their own; it touches nothing outside that element.
 *
 * @typedef {import("./model.js").Page} Page
 * @typedef {import("./model.js").Maps} Maps
 * @typedef {import("./model.js").Heat} Heat
 * @typedef {import("./model.js").Choice} Choice
 * @typedef {import("./model.js").Fetch} Fetch
 * @typedef {{ page: Page, tip: import("./tip.js").Tip, load: import("./model.js").Load,
 *   choice(): Choice, maps(): Maps, ramp(signed: boolean): string[], top(heat: Heat): number,
 *   open(choice: Partial<Choice>, view?: string): void }} Desk  what every view may ask
 * @typedef {{ element: HTMLElement, show(heat: Heat): unknown, resize(): void,
 *   key(event: KeyboardEvent): boolean, svg(): string, csv(): string, json(): string,
 *   zoom?(by: number): void, close?(): void }} View
 */

import { alignmentView } from "./alignment.js";
import { comparable, compareView } from "./compare.js";
import { download, toPng } from "./exports.js";
import { attendsToItself, graphView } from "./graph.js";
import { makeList } from "./list.js";
import { matrixView } from "./matrix.js";
import { MEAN, loader, plain } from "./model.js";
import { scaleEnd } from "./numbers.js";
import { overviewView } from "./overview.js";
import { stepsView } from "./steps.js";
import { makeTip } from "./tip.js";

const FRAME = `
<header><h1 dir="auto"></h1><p class="count"></p><button class="theme" type="button"></button></header>
<main><h2 dir="auto"></h2><p class="note" dir="auto" role="status"></p>
<div class="bar" role="toolbar" aria-label="View">
<span class="views"></span>
<span class="which"><select class="layer" aria-label="Layer"></select> <select class="head" aria-label="Head"></select></span>
<label class="units"><input class="words" type="checkbox"> Words</label>
<span class="zoom"><button class="smaller" type="button" aria-label="Smaller cells">−</button><button class="fit" type="button">Fit</button><button class="larger" type="button" aria-label="Larger cells">+</button></span>
<label class="scaled"><input class="whole" type="checkbox"> Scale to 1</label>
<span class="save">Save <button class="svg" type="button">SVG</button><button class="png" type="button">PNG</button><button class="csv" type="button">CSV</button><button class="json" type="button">JSON</button></span></div>
<div class="stage"></div></main>`;

const many = (/** @type {Maps} */ maps) => maps.layers * maps.heads > 1;

/** @type {Record<string, { name: string, build(desk: Desk): View, fits(page: Page, map: number): boolean }>} */
const VIEWS = {
  overview: { name: "Overview", build: overviewView, fits: (page, map) => many(page.maps[map]) },
  matrix: { name: "Matrix", build: matrixView, fits: () => true },
  alignment: { name: "Alignment", build: alignmentView, fits: () => true },
  graph: { name: "Graph", build: graphView, fits: (page, map) => attendsToItself(page.maps[map]) },
  steps: { name: "Steps", build: stepsView, fits: () => true },
  compare: {
    name: "Side by side", build: compareView,
    fits: (page, map) => many(page.maps[map]) || comparable(page, map).length > 1,
  },
};

/**
 * Build the viewer in an element. @param {HTMLElement} root @param {Page} page @param {Fetch} fetchHead
 * @param {(choice: Choice & { view: string }) => void} [tell] called when the reader goes elsewhere
 * @returns {() => void} what takes it away again
 */
export function mount(root, page, fetchHead, tell = () => {}) {
  root.classList.add("viewer");
  root.innerHTML = FRAME;
  /** @param {string} selector @returns {any} */
  const $ = (selector) => root.querySelector(selector);
  const system = matchMedia("(prefers-color-scheme: dark)");
  const gone = new AbortController();
  const several = page.maps.length > 1;

  let theme = system.matches ? "dark" : "light";
  let view = many(page.maps[0]) ? "overview" : "matrix";
  /** @type {Choice} */
  let choice = { map: 0, layer: 0, head: 0, words: false };
  let turn = 0; // of two heads that are fetched at once, the later one is shown
  /** @type {Heat | null} */
  let heat = null;
  /** @type {Map<string, View>} */
  const views = new Map();
  const tip = makeTip();
  const list = makeList(page, (map) => open({ map }));

  /** @type {Desk} */
  const desk = {
    page, tip, load: loader(page, fetchHead), open,
    choice: () => choice,
    maps: () => page.maps[choice.map],
    ramp: (signed) => (signed ? page.signed : page.ramps)[/** @type {"light" | "dark"} */ (theme)],
    top: (heat) => ($(".whole").checked && heat.largest <= 1 ? 1 : scaleEnd(heat, page.tops)),
  };

  /** Go to another map, head or view. @param {Partial<Choice>} change @param {string} [to] */
  async function open(change, to = view) {
    const before = page.maps[choice.map];
    choice = { ...choice, ...change };
    const maps = desk.maps();
    if (maps !== before) [choice.layer, choice.head] = [Math.min(choice.layer, maps.layers - 1), Math.min(choice.head, maps.heads - 1)];
    if (!maps.words) choice.words = false;
    views.get(view)?.close?.();
    view = VIEWS[to].fits(page, choice.map) ? to : "matrix";
    controls(maps);
    const mine = ++turn;
    root.setAttribute("aria-busy", "true");
    try {
      const loaded = view === "overview" ? null : await desk.load(choice);
      if (mine !== turn) return;
      heat = loaded;
      await present(maps);
      tell({ ...choice, view });
    } catch (error) {
      $(".note").textContent = `This head could not be shown: ${error}`;
    } finally {
      if (mine === turn) root.removeAttribute("aria-busy");
    }
  }

  /** @param {Maps} maps */
  async function present(maps) {
    const all = [maps.title, maps.kind === "attention" ? "" : maps.kind, `${maps.layers} layers × ${maps.heads} heads`];
    const title = heat ? heat.title : all.filter(Boolean).join(" · ");
    $("h2").textContent = title === page.title ? "" : title;
    $(".note").textContent = heat ? heat.note : maps.note;
    $(".whole").disabled = !heat || heat.largest > 0.5; // the scale ends at 1 as it is
    if (!views.has(view)) views.set(view, VIEWS[view].build(desk));
    const now = current();
    if ($(".stage").firstChild !== now.element) $(".stage").replaceChildren(now.element);
    tip.hide();
    await now.show(/** @type {Heat} */ (heat));
  }

  const current = () => /** @type {View} */ (views.get(view));

  /** What can be chosen, and what is. @param {Maps} maps */
  function controls(maps) {
    list.select(choice.map);
    const fitting = Object.keys(VIEWS).filter((name) => VIEWS[name].fits(page, choice.map));
    $(".views").replaceChildren(...fitting.map((name) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: VIEWS[name].name });
      button.dataset.view = name;
      button.setAttribute("aria-pressed", String(name === view));
      return button;
    }));
    $(".which").hidden = !many(maps) || view === "overview";
    $(".units").hidden = !maps.words || view === "overview";
    $(".zoom").hidden = view !== "matrix" && view !== "compare";
    $(".scaled").hidden = view === "overview";
    $(".words").checked = choice.words;
    const heads = [...Array(maps.heads).keys(), ...(maps.heads > 1 ? [MEAN] : [])];
    $(".layer").replaceChildren(...Array.from({ length: maps.layers }, (_, i) => new Option(`Layer ${i}`, String(i))));
    $(".head").replaceChildren(...heads.map((i) => new Option(i === MEAN ? `Mean of ${maps.heads} heads` : `Head ${i}`, String(i))));
    [$(".layer").value, $(".head").value] = [choice.layer, choice.head].map(String);
  }

  const redraw = () => current()?.resize();

  function paper(/** @type {string} */ name) {
    theme = name;
    root.dataset.theme = name;
    $(".theme").textContent = name === "dark" ? "Light" : "Dark";
    if (views.has(view)) open({});
  }

  /** @param {string} suffix */
  async function save(suffix) {
    const name = plain($("h2").textContent || page.title).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    const file = `${name.slice(0, 80) || `figure-${choice.map + 1}`}.${suffix}`;
    if (suffix === "svg") download(current().svg(), "image/svg+xml", file);
    else if (suffix === "csv") download(current().csv(), "text/csv", file);
    else if (suffix === "json") download(current().json(), "application/json", file);
    else download(await toPng(current().svg()), "image/png", file);
  }

  root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!(/** @type {Element} */ (event.target)).closest(".plot")) return;
    const pages = { PageDown: 1, PageUp: -1 }[event.key];
    if (pages) list.turn(pages);
    else if (!current()?.key(event)) return;
    event.preventDefault();
  }, { capture: true, signal: gone.signal });
  $(".views").addEventListener("click", (/** @type {any} */ event) => {
    const to = event.target.closest("button")?.dataset.view;
    if (to) open({}, to).then(() => $(`.views [data-view="${view}"]`)?.focus());
  });
  $(".layer").addEventListener("change", () => open({ layer: Number($(".layer").value) }));
  $(".head").addEventListener("change", () => open({ head: Number($(".head").value) }));
  $(".words").addEventListener("change", () => open({ words: $(".words").checked }));
  $(".whole").addEventListener("change", redraw);
  for (const [name, by] of /** @type {[string, number][]} */ ([["smaller", -1], ["fit", 0], ["larger", 1]]))
    $(`.${name}`).addEventListener("click", () => current().zoom?.(by));
  for (const suffix of ["svg", "png", "csv", "json"]) $(`.${suffix}`).addEventListener("click", () => save(suffix));
  $(".theme").addEventListener("click", () => paper(theme === "dark" ? "light" : "dark"));
  system.addEventListener("change", () => paper(system.matches ? "dark" : "light"), { signal: gone.signal });
  let [wide, tall] = [root.clientWidth, innerHeight];
  const sizes = new ResizeObserver(() => {
    if (wide !== root.clientWidth || tall !== innerHeight) redraw();
    [wide, tall] = [root.clientWidth, innerHeight];
  });
  sizes.observe(root);

  root.classList.toggle("many", several);
  $("main").before(list.element);
  $("main").append(tip.element);
  $("h1").textContent = page.title;
  $(".count").textContent = several ? `${page.maps.length} figures` : "";
  paper(theme);
  open({});
  return () => {
    gone.abort();
    sizes.disconnect();
    views.get(view)?.close?.();
    root.replaceChildren();
  };
}
