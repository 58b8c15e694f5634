// The page: what the panel says goes to the stage and into the address, and back.

import { Controls } from "./controls.js";
import { Stage } from "./layers.js";
import { addressOf, imageQuery, readAddress } from "./scene.js";
import { download, pictureAddress, pictureSize } from "./save.js";
import { drawSpectrum, middleOf, powerSpectrum } from "./spectrum.js";

const element = (id) => document.getElementById(id);
const SPECTRUM_SIDE = 256;
const SPECTRUM_MILLISECONDS = 250;
const ADDRESS_MILLISECONDS = 250;
const KEY_ZOOM = 1.5;

// Requests that are given up are no errors.
const isGivenUp = (words) => words.some((word) => /abort|failed to load|before reset/i.test(String(word)));
OpenSeadragon.console = Object.fromEntries(["log", "debug", "info", "warn", "error", "assert"].map((name) => [
  name, (...words) => { if (!isGivenUp(words)) console[name](...words); },
]));

/** Calls a function soon, and not again before that. */
function later(action, milliseconds) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      action();
    }, milliseconds);
  };
}

function say(sentence) {
  element("message").textContent = sentence;
  element("message").hidden = !sentence;
}

/** Parts of the page's address that do not fit this checkpoint. */
function sayIgnored(parts) {
  if (parts.length) say(`This address has parts that do not fit here and are ignored: ${parts.join(", ")}.`);
}

function spoken(density, info) {
  const pixel = density / OpenSeadragon.pixelDensityRatio / Math.max(info.native.width, info.native.height);
  return pixel >= 1 ? `1 trained pixel = ${Number(pixel.toPrecision(3))} px` : `${Number((1 / pixel).toPrecision(3))} trained pixels = 1 px`;
}

async function start() {
  const answer = await fetch("info.json");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  const info = await answer.json();
  element("subtitle").textContent = `${info.name}: trained at ${info.native.width} × ${info.native.height} pixels`
    + `${info.kimg ? `, ${info.kimg.toLocaleString("en")} thousand images seen` : ""}`;

  const writeAddress = later(() => {
    history.replaceState(null, "", `#${addressOf(controls.choices, stage.view, info)}`);
  }, ADDRESS_MILLISECONDS);

  const showSpectrum = later(() => {
    if (!element("spectrum-section").open) return;
    // Of the INR, and not of the edge that the curtain is.
    const share = controls.choices.compare === "none" ? 0 : stage.curtain;
    const grey = middleOf(stage.viewer.drawer.canvas, SPECTRUM_SIDE, share);
    if (!grey) return;
    const longer = Math.max(info.native.width, info.native.height);
    const held = longer / stage.density;
    const colour = getComputedStyle(document.documentElement).getPropertyValue("--trained");
    drawSpectrum(element("spectrum"), powerSpectrum(grey, SPECTRUM_SIDE), SPECTRUM_SIDE, { width: held, height: held },
      colour);
    element("spectrum-note").textContent = held < 1
      ? "Of the middle of the INR's side, 90 dB from white to black. The frame holds all that the trained pixels can."
      : "Of the middle of the INR's side, 90 dB from white to black.";
  }, SPECTRUM_MILLISECONDS);

  const showSize = () => {
    const size = pictureSize(info, stage.view, element("save-width").valueAsNumber);
    const isWidth = element("save-width").valueAsNumber >= 1;
    element("save-size").textContent = size ? `× ${size.height}` : isWidth ? "too large" : "expected 1 or more";
    element("save-picture").disabled = !size;
  };

  const stage = new Stage(info, {
    picture: element("picture"), border: element("border"), curtain: element("curtain"),
    curtainLine: element("curtain-line"),
  }, {
    onMove: () => {
      const { span } = stage.view;
      element("place").textContent = `${Number((1 / span).toPrecision(3))}× · ${spoken(stage.density, info)}`;
      writeAddress();
      showSize();
    },
    onReport: say,
    onLoad: (isLoading) => {
      element("busy").hidden = !isLoading;
      if (!isLoading) showSpectrum();
    },
  });

  const { choices, view, ignored } = readAddress(location.hash.slice(1), info);
  const controls = new Controls(info, choices, {
    onChange: (changed) => {
      say("");
      stage.show(changed);
      writeAddress();
    },
    onMistake: say,
    isSettled: () => stage.isSettled,
  });
  Object.assign(window, { viewerStage: stage, viewerControls: controls });

  stage.resized();
  if (view) stage.look(view, true);
  else stage.home(true);
  stage.show(controls.choices);
  element("save-width").value = Math.round(stage.viewer.viewport.getContainerSize().x * OpenSeadragon.pixelDensityRatio);
  showSize();
  sayIgnored(ignored);

  window.addEventListener("hashchange", () => {
    const read = readAddress(location.hash.slice(1), info);
    controls.set(read.choices);
    sayIgnored(read.ignored);
    if (read.view) stage.look(read.view);
  });
  element("zoom-in").addEventListener("click", () => stage.zoomBy(2));
  element("zoom-out").addEventListener("click", () => stage.zoomBy(0.5));
  element("zoom-home").addEventListener("click", () => stage.home());
  element("curtain-place").addEventListener("input", (event) => stage.setCurtain(event.target.value / 1000));
  element("spectrum-section").addEventListener("toggle", showSpectrum);
  element("save-width").addEventListener("input", showSize);

  const fetched = async (button, address) => {
    button.disabled = true;
    say("Being drawn …");
    try {
      say(`Saved as ${await download(address)}.`);
    } catch (error) {
      say(`Not saved: ${error.message}`);
    }
    button.disabled = false;
  };
  element("save-picture").addEventListener("click", (event) => {
    const size = pictureSize(info, stage.view, element("save-width").valueAsNumber);
    if (size) fetched(event.target, pictureAddress(info, controls.choices, stage.view, size));
  });
  element("save-inr").addEventListener("click", (event) => {
    fetched(event.target, `image.inr.safetensors?${imageQuery(controls.choices, info)}`);
  });
  element("copy-link").addEventListener("click", async () => {
    const link = `${location.href.split("#")[0]}#${addressOf(controls.choices, stage.view, info)}`;
    history.replaceState(null, "", link);
    try {
      await navigator.clipboard.writeText(link);
      say("The link is copied; it restores this view.");
    } catch {
      say("The address of this page restores this view; copy it from there.");
    }
  });
  window.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "0") stage.home();
    else if (event.key === "+" || event.key === "=") stage.zoomBy(KEY_ZOOM);
    else if (event.key === "-") stage.zoomBy(1 / KEY_ZOOM);
    else controls.key(event.key.toLowerCase());
  });
}

start().catch((error) => say(`The viewer cannot start: ${error.message}`));
