// @ts-check
/**
 * The steps: the target unfolds token by token, and the source shows where each one looked.
 *
 * @typedef {import("./model.js").Heat} Heat
 */

import { element, hatch, standalone, text, widths, xml } from "./draw.js";
import { heatCsv, heatJson } from "./exports.js";
import { exact, fraction, hex } from "./numbers.js";

const BEAT = 700; // milliseconds a step
const BOX = 26; // height of a token
const LINE = 62; // from one line of source tokens to the next: a token and its weight

/** @param {import("./viewer.js").Desk} desk */
export function stepsView(desk) {
  const root = element(`<div class="steps"><p class="settings">
<span><button class="first" type="button" aria-label="Step back">←</button><button class="play" type="button"></button><button class="next" type="button" aria-label="Step on">→</button></span>
<input type="range" min="0" value="0" aria-label="Step"> <output></output></p>
<div class="plot" tabindex="0" role="application" aria-roledescription="steps"><svg class="drawing"></svg></div>
<p class="said" role="status"></p></div>`);
  /** @param {string} selector @returns {any} */
  const $ = (selector) => root.querySelector(selector);
  const [slider, svg] = [$("input"), $("svg")];

  /** @type {Heat} */
  let heat;
  let step = 0;
  let timer = 0;
  const last = () => Math.max(heat.target.length - 1, 0);
  const drawing = (/** @type {string[]} */ ramp) =>
    unfold(heat, step, ramp, desk.top(heat), desk.page.families, Math.max(320, root.clientWidth - 20));

  /** @param {number} to */
  function go(to) {
    step = Math.min(Math.max(to, 0), last());
    slider.value = String(step);
    $("output").textContent = heat.target.length ? `${step + 1} of ${heat.target.length}` : "";
    const { body, width, height } = drawing(desk.ramp(heat.signed));
    for (const [name, value] of Object.entries({ width, height, "font-size": 13, "font-family": desk.page.families }))
      svg.setAttribute(name, String(value));
    svg.innerHTML = body;
    $(".said").textContent = said(heat, step);
    if (step === last()) pause();
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    $(".play").textContent = "Play";
  }

  function play() {
    if (timer) return pause();
    if (step === last()) go(0);
    $(".play").textContent = "Pause";
    timer = setInterval(() => (root.isConnected ? go(step + 1) : pause()), BEAT);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    /** @type {Record<string, number>} */
    const to = { ArrowRight: step + 1, ArrowDown: step + 1, ArrowLeft: step - 1, ArrowUp: step - 1, Home: 0, End: last() };
    if (event.key === " ") play();
    else if (event.key in to) go(to[event.key]);
    else return false;
    return true;
  }

  $(".first").addEventListener("click", () => go(step - 1));
  $(".next").addEventListener("click", () => go(step + 1));
  $(".play").addEventListener("click", play);
  slider.addEventListener("input", () => go(Number(slider.value)));

  /** The rows up to the step: what is seen. */
  const seen = () => ({
    ...heat, target: heat.target.slice(0, step + 1),
    values: heat.values.subarray(0, (step + 1) * heat.source.length),
  });
  return {
    element: root,
    /** @param {Heat} next */
    show(next) {
      heat = next;
      slider.max = String(last());
      $(".plot").setAttribute("aria-label", `Steps of ${heat.title}: arrow keys step, space plays.`);
      pause();
      go(Math.min(step, last()));
    },
    resize: () => go(step), key, close: pause,
    svg: () => standalone(drawing((heat.signed ? desk.page.signed : desk.page.ramps).light), {
      title: heat.title, note: heat.note, families: desk.page.families, font: 13, summary: said(heat, step),
    }),
    csv: () => heatCsv(seen()),
    json: () => heatJson(seen()),
  };
}

/** Where a token looked most, in words. @param {Heat} heat @param {number} step */
function said({ target, source, values, signed }, step) {
  if (!target.length) return "";
  const row = Array.from(values.subarray(step * source.length, (step + 1) * source.length), (weight, i) => ({ weight, i }))
    .filter(({ weight }) => weight).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 3);
  const looked = row.map(({ weight, i }) => `${source[i]} ${Number(weight.toPrecision(3))}`).join(", ");
  return `${target[step]} ${signed ? "hangs on" : "looked at"}: ${looked || "nothing"}`;
}

/**
 * @param {Heat} heat @param {number} step @param {string[]} ramp @param {number} top
 * @param {string} families @param {number} width
 */
function unfold(heat, step, ramp, top, families, width) {
  const { source, target, values, bits, allowed, signed } = heat;
  const lines = [text(0, 12, 'class="axis" font-size="11" fill="currentColor"', "source")];
  const read = flow(source, families, width, 22, LINE);
  read.places.forEach(([x, y, wide], i) => {
    const at = step * source.length + i;
    const weight = values[at];
    const barred = allowed && !allowed[at];
    const fill = hex(fraction(weight, top, signed), ramp);
    const dark = luminance(fill) < 0.45;
    lines.push(barred ? hatch(x, y, wide, BOX) :
      `<rect class="read" data-source="${i}" data-weight="${exact(weight, bits)}" x="${x}" y="${y}" width="${wide}" height="${BOX}" rx="2" fill="${fill}"><title>${xml(source[i])}: ${exact(weight, bits)}</title></rect>`);
    lines.push(text(x + wide / 2, y + 18, `class="word" text-anchor="middle"${barred ? "" : ` fill="${dark ? "#ffffff" : "#1c2128"}"`}`, source[i]));
    if (!barred && Math.abs(weight) >= top / 100)
      lines.push(text(x + wide / 2, y + BOX + 13, 'class="axis" font-size="10" fill="currentColor" text-anchor="middle"', weight.toPrecision(2)));
  });
  lines.push(text(0, read.end + 14, 'class="axis" font-size="11" fill="currentColor"', "target"));
  const written = flow(target.slice(0, step + 1), families, width, read.end + 24, BOX + 8);
  written.places.forEach(([x, y, wide], i) => {
    if (i === step) lines.push(`<rect class="now" x="${x}" y="${y}" width="${wide}" height="${BOX}" rx="2" fill="none" stroke="#bc4c00" stroke-width="2"/>`);
    lines.push(text(x + wide / 2, y + 18, `class="written" data-target="${i}" text-anchor="middle"`, target[i]));
  });
  return { body: lines.join("\n"), width, height: written.end + 4 };
}

/** Places of labels in lines, [x, y, width] each. @param {string[]} labels @param {string} families @param {number} width @param {number} top @param {number} pitch */
function flow(labels, families, width, top, pitch) {
  let [x, y] = [1, top];
  const places = widths(labels, `13px ${families}`).map((wide) => {
    const box = Math.ceil(Math.max(wide + 10, 34));
    if (x > 1 && x + box > width) [x, y] = [1, y + pitch];
    x += box + 4;
    return [x - box - 4, y, box];
  });
  return { places, end: y + pitch };
}

/** @param {string} colour #rrggbb */
const luminance = (colour) =>
  [0.299, 0.587, 0.114].reduce((sum, share, i) => sum + share * parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16) / 255, 0);
