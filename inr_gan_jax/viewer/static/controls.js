// The panel: every control shows a choice and changes it.

import { readWhole } from "./fields.js";

const RULE_NOTES = {
  pointwise: "Every block of the network at every pixel: a function of the point alone.",
  all: "Every block denser by the same factor, nested grids as in training.",
  paper: "Coarse blocks stay on their trained grid, as in the paper.",
};
const SPACE_NAMES = { z: "z", w: "w", image: "its weights" };
const FILTER_NAMES = {
  none: "nothing", nearest: "trained pixels", bilinear: "bilinear", bicubic: "bicubic", lanczos: "Lanczos",
};
// Of the way that `play` goes on at a time.
const STEP = 0.02;
const PLAY_MILLISECONDS = 60;

const element = (id) => document.getElementById(id);

export class Controls {
  /**
   * @param info what the server says of the checkpoint.
   * @param choices to begin with.
   * @param events onChange(choices); onMistake(sentence): of a field that cannot be used; isSettled(): whether the
   *   image of the last change is on the screen.
   */
  constructor(info, choices, events) {
    Object.assign(this, { info, choices, events, direction: 1, timer: null });
    this.fill();
    this.listen();
    this.showAll();
  }

  fill() {
    const { info } = this;
    radios(element("spaces"), "space", info.spaces, (name) => SPACE_NAMES[name]);
    radios(element("rules"), "rule", Object.keys(info.rules), (name) => name);
    for (const name of ["none", ...info.filters]) element("compare").add(new Option(FILTER_NAMES[name], name));
    for (let layer = 0; layer < info.layers; layer += 1) {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", value: layer, name: "layer" });
      const face = Object.assign(document.createElement("span"), { textContent: layer });
      label.append(box, face);
      element("layers").append(label);
    }
    element("class-row").hidden = !info.classes;
    element("class").max = info.classes - 1;
    element("psi").disabled = !info.truncation;
    element("psi-row").title = info.truncation ? "" : "this checkpoint holds no mean of w";
    for (const id of ["seed", "to", "style"]) element(id).max = info.max_seed;
  }

  listen() {
    const on = (id, event, action) => element(id).addEventListener(event, action);
    const typed = (id, name, isOptional) => on(id, "input", () => {
      const { value, mistake } = readWhole(name, element(id), isOptional);
      element(id).setAttribute("aria-invalid", mistake !== "");
      if (!mistake) this.change({ [id]: value });
      else this.events.onMistake(`${mistake} The picture still shows ${shown(this.choices[id])}.`);
    });
    typed("seed", "Seed", false);
    typed("class", "Class", false);
    typed("to", "Second seed", true);
    typed("style", "Style seed", true);
    on("seed-random", "click", () => this.change({ seed: this.random() }));
    on("to-random", "click", () => this.change({ to: this.random() }));
    on("style-random", "click", () => this.change({ style: this.random() }));
    on("psi", "input", () => this.change({ psi: element("psi").valueAsNumber }));
    on("t", "input", () => this.change({ t: element("t").valueAsNumber }));
    on("play", "click", () => this.play(this.timer === null));
    on("spaces", "change", (event) => this.change({ space: event.target.value }));
    on("rules", "change", (event) => this.change({ rule: event.target.value }));
    on("compare", "change", () => this.change({ compare: element("compare").value }));
    on("show-border", "change", () => this.change({ border: element("show-border").checked }));
    on("layers", "change", () => {
      const boxes = [...element("layers").querySelectorAll("input:checked")];
      this.change({ layers: boxes.map((box) => Number(box.value)) });
    });
    const open = (isOpen) => {
      element("panel").classList.toggle("closed", !isOpen);
      element("panel-toggle").setAttribute("aria-expanded", isOpen);
      element("panel-toggle").textContent = isOpen ? "Hide settings" : "Settings";
    };
    on("panel-toggle", "click", () => open(element("panel").classList.contains("closed")));
    open(!matchMedia("(max-width: 52rem)").matches);
  }

  /** Small enough to read aloud. */
  random() {
    return Math.floor(Math.random() * 10000);
  }

  change(some) {
    if (some.style !== undefined && some.style !== null && !this.choices.layers.length) {
      // A style without layers would change nothing: the finer half, which keeps what the image is.
      const half = Math.ceil(this.info.layers / 2);
      some = { ...some, layers: Array.from({ length: this.info.layers - half }, (_, index) => half + index) };
    }
    this.set({ ...this.choices, ...some });
  }

  set(choices) {
    this.choices = choices;
    this.showAll();
    this.events.onChange(choices);
  }

  showAll() {
    const { choices, info } = this;
    const show = (id, value) => {
      if (document.activeElement === element(id) && element(id).type !== "range") return;
      element(id).value = value ?? "";
      element(id).removeAttribute("aria-invalid");
    };
    for (const id of ["seed", "to", "style", "class", "psi", "t", "compare"]) show(id, choices[id]);
    element("psi-value").textContent = choices.psi;
    element("show-border").checked = choices.border;
    check("space", choices.space);
    check("rule", choices.rule);
    element("rule-note").textContent = RULE_NOTES[choices.rule]
      + (choices.rule === info.rule ? " This network's own." : "");
    element("layers").hidden = choices.style === null;
    for (const box of element("layers").querySelectorAll("input")) box.checked = choices.layers.includes(Number(box.value));
    for (const part of document.querySelectorAll(".way")) part.classList.toggle("off", choices.to === null);
    for (const id of ["t", "play"]) element(id).disabled = choices.to === null;
    for (const box of element("spaces").querySelectorAll("input")) box.disabled = choices.to === null;
    element("curtain-left").textContent = choices.compare === "none" ? ""
      : `${FILTER_NAMES[choices.compare]} of ${info.native.width} × ${info.native.height}`;
    if (choices.to === null) this.play(false);
  }

  /** Goes from one image to the other and back, as fast as they can be drawn. */
  play(isOn) {
    element("play").setAttribute("aria-pressed", isOn);
    clearInterval(this.timer);
    this.timer = isOn ? setInterval(() => {
      if (!this.events.isSettled()) return;
      if (this.choices.t >= 1) this.direction = -1;
      if (this.choices.t <= 0) this.direction = 1;
      this.change({ t: Math.min(1, Math.max(0, Number((this.choices.t + this.direction * STEP).toFixed(2)))) });
    }, PLAY_MILLISECONDS) : null;
  }

  key(name) {
    if (name === "n") this.change({ seed: this.random() });
    if (name === "p" && this.choices.to !== null) this.play(this.timer === null);
    if (name === "c") {
      const names = ["none", ...this.info.filters];
      this.change({ compare: names[(names.indexOf(this.choices.compare) + 1) % names.length] });
    }
  }
}

function shown(choice) {
  return choice === null ? "none" : choice;
}

function radios(parent, name, values, nameOf) {
  for (const value of values) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name, value });
    const face = Object.assign(document.createElement("span"), { textContent: nameOf(value) });
    label.append(input, face);
    parent.append(label);
  }
}

function check(name, value) {
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) input.checked = input.value === value;
}
