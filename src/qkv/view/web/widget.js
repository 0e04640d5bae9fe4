// @ts-check
/**
 * The viewer in a notebook, as an anywidget module: the kernel sends one head at a time.
 *
 * `wanted` asks, as "number map layer head"; `held` says which one the bytes of `weights` are.
 *
 * @typedef {{ get(name: string): any, set(name: string, value: any): void, save_changes(): void,
 *   on(event: string, call: () => void): void, off(event: string, call: () => void): void }} Model
 */

import { mount } from "./viewer.js";

/** @param {{ model: Model, el: HTMLElement }} given */
function render({ model, el }) {
  const root = el.appendChild(document.createElement("div"));
  let asked = 0;
  /** @type {Promise<unknown>} one request at a time: the last is not put in place of the one before */
  let line = Promise.resolve();

  /** @param {string} head @returns {Promise<Uint8Array>} */
  const ask = (head) => new Promise((done) => {
    const wanted = `${Math.random().toString(36).slice(2)}${++asked} ${head}`; // two views may ask
    const answer = () => {
      if (model.get("held") !== wanted) return;
      model.off("change:held", answer);
      const { buffer, byteOffset, byteLength } = model.get("weights");
      done(new Uint8Array(buffer, byteOffset, byteLength).slice());
    };
    model.on("change:held", answer);
    model.set("wanted", wanted);
    model.save_changes();
  });

  return mount(root, JSON.parse(model.get("contents")), (map, layer, head) => {
    const mine = line.then(() => ask(`${map} ${layer} ${head}`));
    line = mine;
    return mine;
  }, (choice) => {
    model.set("choice", choice);
    model.save_changes();
  });
}

export default { render };
