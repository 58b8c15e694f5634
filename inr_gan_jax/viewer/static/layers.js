// The picture on the screen: the plane in OpenSeadragon, images that take each other's place without a gap, the curtain,
// and the border of the trained picture.

import { imageQuery } from "./scene.js";
import { Requests, leastPixelRatio, planeSource, suitableLevel } from "./tiles.js";

// The trained picture and a margin around it.
const HOME_SPAN = 1.25;
// Device pixels that a tile's pixel may become at the finest level.
const MOST_ENLARGED = 2;
// A new image takes the place of the old one as soon as its coarse tiles are there, or after so long.
const PATIENCE_MILLISECONDS = 700;

export class Stage {
  /**
   * @param info what the server says of the checkpoint.
   * @param elements of the page: picture, border, curtain, curtainLine, curtainPlace.
   * @param events onMove(): the view changed; onReport(sentence): a tile failed; onLoad(isLoading).
   */
  constructor(info, elements, events) {
    Object.assign(this, { info, elements, events, choices: null, next: null, drawn: { inr: [], filter: [] } });
    this.requests = new Requests(info.parallel);
    this.curtain = 0.5;
    this.trained = {
      width: info.native.width / Math.max(info.native.width, info.native.height),
      height: info.native.height / Math.max(info.native.width, info.native.height),
    };
    this.viewer = OpenSeadragon({
      element: elements.picture, drawer: "canvas", showNavigationControl: false, preserveViewport: true, visibilityRatio: 0,
      constrainDuringPan: false, minPixelRatio: leastPixelRatio(), animationTime: 0.5, springStiffness: 9,
      zoomPerScroll: 1.3, zoomPerClick: 1, maxTilesPerFrame: 8, imageLoaderLimit: 0, maxImageCacheCount: 600,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true, flickEnabled: true },
      gestureSettingsTouch: { pinchRotate: false, flickEnabled: true }, tileRetryMax: 0, timeout: 60000,
    });
    const viewer = this.viewer;
    viewer.addHandler("canvas-key", (event) => {
      // Turning and mirroring would only confuse; the page itself listens to 0, + and -.
      if (["KeyR", "KeyF", "Digit0", "Equal", "Minus"].includes(event.originalEvent.code)) event.preventDefaultAction = true;
    });
    viewer.addHandler("update-tile", ({ tile, tiledImage }) => {
      tile.exists = tile.loaded || tile.loading || tiledImage.source.isWanted(tile);
    });
    viewer.addHandler("viewport-change", () => this.moved());
    viewer.addHandler("resize", () => this.resized());
    viewer.addHandler("tile-drawn", () => this.changed());
  }

  get density() {
    const ratio = OpenSeadragon.pixelDensityRatio;
    return this.viewer.viewport.getContainerSize().x * this.viewer.viewport.getZoom() * ratio;
  }

  /** The view: centre and how much of the plane fits into the shorter side of the screen. */
  get view() {
    const bounds = this.viewer.viewport.getBounds();
    return {
      x: bounds.x + bounds.width / 2, y: bounds.y + bounds.height / 2, span: Math.min(bounds.width, bounds.height),
      width: bounds.width, height: bounds.height, left: bounds.x, top: bounds.y,
    };
  }

  home(immediately = false) {
    this.look({ x: this.trained.width / 2, y: this.trained.height / 2, span: HOME_SPAN }, immediately);
  }

  look({ x, y, span }, immediately = false) {
    const size = this.viewer.viewport.getContainerSize();
    const aspect = size.x / size.y;
    const width = span * Math.max(1, aspect), height = span * Math.max(1, 1 / aspect);
    this.viewer.viewport.fitBounds(new OpenSeadragon.Rect(x - width / 2, y - height / 2, width, height), immediately);
  }

  zoomBy(factor) {
    this.viewer.viewport.zoomBy(factor).applyConstraints();
  }

  /** Shows an image; while another one is under way, only the latest wish is kept. */
  show(choices) {
    const before = this.choices;
    this.choices = choices;
    const inr = imageQuery(choices, this.info, choices.rule);
    const filter = choices.compare === "none" ? null : imageQuery(choices, this.info);
    if (!before || inr !== this.shownInr) this.replace("inr", "inr", inr);
    if (filter === null) {
      this.clear("filter");
      this.shownFilter = null;
    } else if (`${choices.compare} ${filter}` !== this.shownFilter) {
      this.replace("filter", choices.compare, filter);
    }
    this.elements.curtain.hidden = filter === null;
    this.elements.border.hidden = !choices.border;
    this.clip();
  }

  /** Whether the latest wish is on the screen, at least coarsely. */
  get isSettled() {
    return this.next === null && this.drawn.inr.length === 1;
  }

  get isLoading() {
    return [...this.drawn.inr, ...this.drawn.filter].some(({ source }) => source.numLoading() > 0);
  }

  replace(kind, by, query) {
    if (kind === "inr") this.shownInr = query;
    else this.shownFilter = `${by} ${query}`;
    if (this.drawn[kind].length > 1) {
      // The one before is still on its way: it is seen at least coarsely, and then comes the latest wish.
      this.next = { ...this.next, [kind]: { by, query } };
      return;
    }
    this.add(kind, by, query);
  }

  add(kind, by, query) {
    const source = planeSource(this.info, by, query, this.requests, this.events.onReport);
    source.sharp = suitableLevel(this.info, this.density);
    const entry = { source, item: null, since: performance.now() };
    this.drawn[kind].push(entry);
    const reach = this.info.reach;
    const index = kind === "inr" ? this.drawn.inr.filter(({ item }) => item).length : undefined;
    this.viewer.addTiledImage({
      tileSource: source, x: -reach, y: -reach, width: 2 * reach, index,
      success: ({ item }) => {
        entry.item = item;
        if (!this.drawn[kind].includes(entry)) this.viewer.world.removeItem(item);
        this.clip();
        this.changed();
      },
    });
    this.check(kind);
  }

  /** Lets a new image take the place of the old one, when there is enough of it. */
  check(kind) {
    const [old, ...rest] = this.drawn[kind];
    const late = rest[rest.length - 1];
    if (late) {
      const isThere = late.item && late.source.loaded > 0 && !late.source.isCoarse();
      if (isThere || performance.now() - late.since > PATIENCE_MILLISECONDS * (this.next?.[kind] ? 1 : 8)) {
        this.remove(old);
        this.drawn[kind] = [late];
        const wish = this.next?.[kind];
        if (wish) {
          const { [kind]: _, ...others } = this.next;
          this.next = Object.keys(others).length ? others : null;
          this.add(kind, wish.by, wish.query);
          return;
        }
      } else {
        setTimeout(() => this.check(kind), 30);
      }
    }
  }

  clear(kind) {
    this.drawn[kind].forEach((entry) => this.remove(entry));
    this.drawn[kind] = [];
    if (this.next) {
      const { [kind]: _, ...others } = this.next;
      this.next = Object.keys(others).length ? others : null;
    }
  }

  remove({ source, item }) {
    source.stop();
    if (item) this.viewer.world.removeItem(item);
  }

  moved() {
    const sharp = suitableLevel(this.info, this.density);
    const bounds = this.viewer.viewport.getBounds();
    for (const { source } of [...this.drawn.inr, ...this.drawn.filter]) {
      source.sharp = sharp;
      source.drop((tile) => bounds.intersection(this.boundsOf(tile)) !== null);
    }
    this.clip();
    this.changed();
    this.events.onMove();
  }

  /** The square of a tile in the plane. */
  boundsOf(tile) {
    const reach = this.info.reach;
    const extent = (2 * reach) / 2 ** tile.level;
    return new OpenSeadragon.Rect(tile.x * extent - reach, tile.y * extent - reach, extent, extent);
  }

  resized() {
    const { viewport } = this.viewer;
    const width = viewport.getContainerSize().x * OpenSeadragon.pixelDensityRatio;
    viewport.maxZoomLevel = (this.info.tile * 2 ** this.info.levels.max * MOST_ENLARGED) / width;
    viewport.minZoomLevel = (this.info.tile * 2 ** this.info.levels.min * leastPixelRatio()) / width;
    this.moved();
  }

  /** Left of the curtain the filter is seen, right of it the INR. */
  clip() {
    const isOpen = this.choices && this.choices.compare !== "none";
    const { left, top, width, height } = this.view;
    const place = width * this.curtain;
    const sides = {
      filter: new OpenSeadragon.Rect(left, top, place, height),
      inr: new OpenSeadragon.Rect(left + place, top, width - place, height),
    };
    for (const kind of ["inr", "filter"]) {
      for (const { item } of this.drawn[kind]) {
        item?.setClip(isOpen ? item.viewportToImageRectangle(sides[kind]) : null);
      }
    }
    this.elements.curtainLine.style.left = `${100 * this.curtain}%`;
  }

  setCurtain(share) {
    this.curtain = share;
    this.clip();
  }

  changed() {
    if (this.isAwaited) return;
    this.isAwaited = true;
    requestAnimationFrame(() => {
      this.isAwaited = false;
      this.drawBorder();
      this.events.onLoad(this.isLoading);
    });
  }

  drawBorder() {
    const corner = (x, y) => this.viewer.viewport.pixelFromPoint(new OpenSeadragon.Point(x, y), true);
    const first = corner(0, 0), last = corner(this.trained.width, this.trained.height);
    const size = this.viewer.viewport.getContainerSize();
    // A frame of a million pixels would be drawn, too: what lies far outside is cut off where nobody sees it.
    const cut = (value, most) => Math.min(most + 40, Math.max(-40, value));
    const left = cut(first.x, size.x), top = cut(first.y, size.y);
    Object.assign(this.elements.border.style, {
      left: `${left}px`, top: `${top}px`, width: `${cut(last.x, size.x) - left}px`,
      height: `${cut(last.y, size.y) - top}px`,
    });
    this.elements.border.classList.toggle("small", last.x - first.x < 110);
  }
}
