// @ts-check
/**
 * Side by side: the head that is shown, another one (of any map of the same size: another head, or
 * another mechanism), and what the first has more than the second.
 *
 * @typedef {import("./model.js").Heat} Heat
 * @typedef {import("./model.js").Choice} Choice
 */

import { element, standalone } from "./draw.js";
import { heatJson, heatSvg, quoted } from "./exports.js";
import { MEAN, describe, difference, plain } from "./model.js";
import { matrixView } from "./matrix.js";
import { exact } from "./numbers.js";

const BESIDE = 24; // pixels between two drawings of an export

/** The maps that can be laid over this one, itself included. @param {import("./model.js").Page} page @param {number} map */
export function comparable({ maps }, map) {
  /** @param {import("./model.js").Maps} one */
  const size = ({ target, source, words }) =>
    [target, source, ...(words ?? []).map((axis) => axis.labels)].map((labels) => labels.length).join();
  return maps.map((_, i) => i).filter((i) => size(maps[i]) === size(maps[map]));
}

/** @param {import("./viewer.js").Desk} desk */
export function compareView(desk) {
  const root = element('<div class="compare"><p class="settings"><label>Beside it <select class="other"></select></label></p><div class="three"></div></div>');
  const select = root.querySelector("select");
  /** @type {[Heat, Heat, Heat] | null} */
  let heats = null;
  let turn = 0; // of two loads, the later one is shown
  /** The two heads on one scale, so that they may be compared. @param {Heat} heat */
  const top = (heat) => (heat.measure === "difference" || !heats ? desk.top(heat) : Math.max(desk.top(heats[0]), desk.top(heats[1])));
  const views = [0, 1, 2].map((i) => matrixView({ ...desk, top }, {
    choose: (cell) => views.forEach((view, j) => j !== i && view.mark(cell)),
    zoom: (size) => views.forEach((view, j) => j !== i && view.setSize(size)),
  }));
  root.querySelector(".three").append(...views.map((view) => view.element));

  /** @returns {Choice} */
  const other = () => {
    const [map, layer, head] = select.value.split(".").map(Number);
    return { map, layer, head, words: desk.choice().words };
  };

  function options() {
    const before = select.value;
    const { map, layer, head } = desk.choice();
    select.replaceChildren(...comparable(desk.page, map).flatMap((i) => {
      const maps = desk.page.maps[i];
      return Array.from({ length: maps.layers }, (_, l) => [...Array(maps.heads).keys(), ...(maps.heads > 1 ? [MEAN] : [])]
        .filter((h) => i !== map || l !== layer || h !== head)
        .map((h) => {
          const name = describe({ ...maps, words: null }, { map: i, layer: l, head: h, words: false });
          return new Option([i === map ? "" : plain(maps.title), name].filter(Boolean).join(" · ") || `map ${i}`, `${i}.${l}.${h}`);
        })).flat();
    }));
    if ([...select.options].some((option) => option.value === before)) select.value = before;
  }

  /** @param {Heat} heat */
  async function show(heat) {
    options();
    const mine = ++turn;
    const second = await desk.load(other());
    if (mine !== turn || !root.isConnected) return;
    heats = [heat, second, difference(heat, second)];
    const names = [heat.title, second.title, "first − second: blue has more, orange less"];
    views.forEach((view, i) => heats && view.show(heats[i], names[i]));
  }
  select.addEventListener("change", () => heats && show(heats[0]));

  return {
    element: root, show,
    resize: () => heats && views.forEach((view) => view.resize()),
    /** @param {KeyboardEvent} event */
    key(event) {
      const inside = views.findIndex((view) => view.element.contains(/** @type {Node} */ (event.target)));
      return inside >= 0 && views[inside].key(event);
    },
    /** @param {number} by */
    zoom: (by) => views[0].zoom(by),
    svg() {
      let [body, width, height] = ["", 0, 0];
      for (const heat of heats ?? []) {
        const one = heatSvg(heat, desk.page, top(heat));
        const size = /width="(\d+)" height="(\d+)"/.exec(one) ?? ["", "0", "0"];
        body += one.replace("<svg ", `<svg x="${width}" `);
        [width, height] = [width + Number(size[1]) + BESIDE, Math.max(height, Number(size[2]))];
      }
      return standalone({ body, width, height }, {
        title: "Side by side", note: "", families: desk.page.families, summary: "Two heat maps and their difference.",
      });
    },
    csv() {
      if (!heats) return "";
      const [a, b, d] = heats;
      const rows = Array.from(a.values, (value, i) => [
        quoted(a.target[Math.floor(i / a.source.length)]), quoted(a.source[i % a.source.length]),
        exact(value, a.bits), exact(b.values[i], b.bits), exact(d.values[i], 64)].join());
      return ["target,source,first,second,difference", ...rows].join("\r\n") + "\r\n";
    },
    json: () => `[${(heats ?? []).map(heatJson).join(",")}]`,
  };
}
