// @ts-check
/**
 * What the alignment and the graph share: tokens with lines between them, a threshold below which
 * no line is drawn, and one token picked, by pointer or keys, to see its lines alone.
 *
 * @typedef {import("./model.js").Heat} Heat
 * @typedef {import("./draw.js").Drawing} Drawing
 * @typedef {import("./viewer.js").Desk} Desk
 * @typedef {{ target: number, source: number, weight: number }} Link
 * @typedef {"target" | "source" | "both"} Side
 * @typedef {{ name: string, sides: Side[],
 *   drawing(heat: Heat, links: Link[], families: string, top: number): Drawing }} Geometry
 */

import { element, standalone } from "./draw.js";
import { quoted } from "./exports.js";
import { plain } from "./model.js";
import { exact } from "./numbers.js";

const MOST = 3000; // lines: more are a blot, and slow
const STEPS = 100; // of the slider
const FIRST = 0.1; // where it stands at the start, as a share of the scale

/** @param {number} weight @param {number} top how a line shows its weight, and its sign, as SVG attributes */
export const stroke = (weight, top) => {
  const share = Math.min(Math.abs(weight) / top, 1);
  return `class="link${weight < 0 ? " less" : ""}" stroke="${weight < 0 ? "#b0500a" : "#1a5399"}" stroke-width="${(0.75 + 3.25 * share).toFixed(2)}" stroke-opacity="${(0.15 + 0.85 * share).toFixed(3)}" fill="none"`;
};

/** The larger first. @param {Link} a @param {Link} b */
const larger = (a, b) => Math.abs(b.weight) - Math.abs(a.weight);

/** @param {Link} link @param {number} bits */
export const named = ({ target, source, weight }, bits) =>
  `data-target="${target}" data-source="${source}" data-weight="${exact(weight, bits)}"`;

/** The links of at least a weight, or a magnitude, the largest of them if they are too many. @param {Heat} heat @param {number} least */
export function linksOf({ values, source, allowed }, least) {
  /** @type {Link[]} */
  let links = [];
  for (let i = 0; i < values.length; i++)
    if (values[i] && Math.abs(values[i]) >= least && (!allowed || allowed[i]))
      links.push({ target: Math.floor(i / source.length), source: i % source.length, weight: values[i] });
  const all = links.length;
  if (all > MOST) links = links.sort(larger).slice(0, MOST);
  return { links, all };
}

/** @param {Desk} desk @param {Geometry} geometry */
export function linksView(desk, geometry) {
  const root = element(`<div class="linked"><p class="settings"><label><span class="what"></span>
<input type="range" min="0" max="${STEPS}" value="${STEPS * FIRST}" aria-label="Least weight of a line"> <output></output></label>
<span class="drawn" role="status"></span></p><div class="plot" tabindex="0" role="application" aria-roledescription="${geometry.name}"><svg class="drawing"></svg></div></div>`);
  /** @param {string} selector @returns {any} */
  const $ = (selector) => root.querySelector(selector);
  const [slider, plot, svg] = [$("input"), $(".plot"), $("svg")];

  /** @type {Heat} */
  let heat;
  /** @type {{ links: Link[], all: number }} */
  let found = { links: [], all: 0 };
  /** @type {{ side: Side, index: number } | null} */
  let picked = null;
  const count = (/** @type {Side} */ side) => (side === "target" ? heat.target : heat.source).length;
  const least = () => (Number(slider.value) / STEPS) * desk.top(heat);
  const drawing = () => geometry.drawing(heat, found.links, desk.page.families, desk.top(heat));

  function draw() {
    pick(null);
    found = linksOf(heat, least());
    const { body, width, height } = drawing();
    const { links, all } = found;
    for (const [name, value] of Object.entries({ width, height, "font-size": 12, "font-family": desk.page.families }))
      svg.setAttribute(name, String(value));
    svg.innerHTML = body;
    $(".what").textContent = heat.signed ? "Lines from magnitude" : "Lines from weight";
    $("output").textContent = String(+least().toPrecision(3));
    $(".drawn").textContent = all > links.length
      ? `the ${links.length} largest of ${all} lines` : `${all} line${all === 1 ? "" : "s"}`;
    if (heat.signed) $(".drawn").textContent += "; blue above 0, orange below";
  }

  /** Show the lines of one token alone. @param {{ side: Side, index: number } | null} token */
  function pick(token) {
    picked = token;
    svg.classList.toggle("picked", !!token);
    for (const lit of svg.querySelectorAll(".lit")) lit.classList.remove("lit");
    if (!token) return desk.tip.hide();
    const { side, index } = token;
    const selectors = side === "both" ? ["target", "source"] : [side];
    for (const line of svg.querySelectorAll(selectors.map((one) => `.link[data-${one}="${index}"]`).join()))
      line.classList.add("lit");
    const here = svg.querySelectorAll(`.token[data-side="${side}"][data-index="${index}"]`);
    for (const part of here) part.classList.add("lit"); // a label, and in a graph its dot
    const from = side === "source"; // a source token: who looks at it; any other: where it looks
    const rows = found.links.filter((link) => (from ? link.source : link.target) === index)
      .sort(larger).slice(0, 8).map((link) => /** @type {[string, string]} */ (
        [exact(link.weight, heat.bits), from ? heat.target[link.target] : heat.source[link.source]]));
    const label = (side === "target" ? heat.target : heat.source)[index];
    if (here.length) desk.tip.show([[from ? "source" : "target", label], ...rows], here[0].getBoundingClientRect());
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const { sides } = geometry;
    const { side, index } = picked ?? { side: sides[0], index: -1 };
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const across = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    /** @param {Side} to @param {number} i */
    const go = (to, i) => pick({ side: to, index: Math.min(Math.max(i, 0), count(to) - 1) });
    if (event.key === "Escape") pick(null);
    else if (event.key === "Home") go(side, 0);
    else if (event.key === "End") go(side, count(side) - 1);
    else if (by) go(side, index + by);
    else if (across && sides.length > 1) go(across > 0 ? sides[1] : sides[0], index);
    else if (across) go(side, index + across);
    else return false;
    svg.querySelector(".token.lit")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    pick(picked); // the tip follows what was scrolled
    return true;
  }

  svg.addEventListener("pointerover", (/** @type {any} */ event) => {
    const token = event.target.closest(".token");
    pick(token && { side: token.dataset.side, index: Number(token.dataset.index) });
  });
  svg.addEventListener("pointerleave", () => pick(null));
  plot.addEventListener("blur", () => pick(null));
  slider.addEventListener("input", draw);

  const seen = () => found.links.map(({ target, source, weight }) =>
    ({ target: plain(heat.target[target]), source: plain(heat.source[source]), weight }));
  return {
    element: root,
    /** @param {Heat} next */
    show(next) {
      heat = next;
      plot.setAttribute("aria-label", `${geometry.name} of ${heat.title}: arrow keys pick a token.`);
      draw();
    },
    resize: draw, key,
    svg: () => standalone(drawing(), {
      title: heat.title, note: heat.note, families: desk.page.families,
      summary: `${geometry.name}: ${found.links.length} lines of ${heat.signed ? "magnitude" : "weight"} ${+least().toPrecision(3)} and more.`,
    }),
    csv: () => [`target,source,${heat.measure}`, ...found.links.map(({ target, source, weight }) =>
      [quoted(heat.target[target]), quoted(heat.source[source]), exact(weight, heat.bits)].join())].join("\r\n") + "\r\n",
    json: () => JSON.stringify({ title: plain(heat.title), note: plain(heat.note), least: least(), links: seen() }),
  };
}
