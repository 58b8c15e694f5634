// The endless plane as a pyramid that OpenSeadragon asks for, and requests that are given up when nobody sees them.

// Coarser levels that are asked for before the sharp one; the ones between would only delay it.
const COARSER = 2;
const RETRY_MILLISECONDS = 1500;

/** Least size that a tile's pixel is shown at, in device pixels; the most is twice that. Dense screens need no more. */
export function leastPixelRatio() {
  return 0.75 * Math.max(1, OpenSeadragon.pixelDensityRatio / 1.5);
}

/** Level of the server's tiles that suits a density, in device pixels a unit of the plane. */
export function suitableLevel(info, density) {
  const level = Math.floor(Math.log2(density / info.tile / leastPixelRatio()));
  return Math.min(info.levels.max, Math.max(info.levels.min, level));
}

/**
 * Requests of all images for tiles, a few at a time, coarse ones first. OpenSeadragon could wait, too, but as long as a
 * tile waits there it draws the screen anew in every frame.
 */
export class Requests {
  /** @param limit how many run at once; more would only wait in the server, and others behind them. */
  constructor(limit) {
    Object.assign(this, { limit, waiting: [], numRunning: 0 });
  }

  /** @param request level, and run(): a promise that ends when the next may run. */
  add(request) {
    this.waiting.push(request);
    this.advance();
  }

  drop(request) {
    this.waiting = this.waiting.filter((each) => each !== request);
  }

  advance() {
    while (this.numRunning < this.limit && this.waiting.length > 0) {
      const next = this.waiting.reduce((best, each) => (each.level < best.level ? each : best));
      this.drop(next);
      this.numRunning += 1;
      next.run().finally(() => {
        this.numRunning -= 1;
        this.advance();
      });
    }
  }
}

/** The tiles of one image: `by` is "inr" or a filter, `query` names the image. */
export function planeSource(info, by, query, requests, report) {
  // The plane is a square of 2 * reach units; level 0 of the pyramid would be one tile that holds it all.
  const levels = Math.log2(2 * info.reach);
  const side = info.tile * 2 ** (info.levels.max + levels);
  const least = by === "inr" ? info.rules[new URLSearchParams(query).get("rule")] : info.levels.min;
  // Jobs of OpenSeadragon that wait or run, and their requests.
  const jobs = new Map();
  const source = new OpenSeadragon.TileSource({
    width: side, height: side, tileSize: info.tile, minLevel: info.levels.min + levels,
    maxLevel: info.levels.max + levels,
  });

  const placeOf = (level, x, y) => {
    const middle = 2 ** (level - 1);
    return { level: level - levels, column: x - middle, row: y - middle };
  };
  const exists = (level, x, y) => {
    const place = placeOf(level, x, y);
    if (place.level < least) return false;
    const count = Math.round(info.reaches[place.level] * 2 ** place.level);
    const inPlane = [place.column, place.row].every((index) => index >= -count && index < count);
    // Filters know nothing beyond the trained picture.
    return inPlane && (by === "inr" || coversTrained(info, place));
  };

  Object.assign(source, {
    sharp: info.levels.min,
    stopped: false,
    loaded: 0,
    getTileUrl: (level, x, y) => {
      const { level: own, column, row } = placeOf(level, x, y);
      return `tile/${by}/${own}/${column}/${row}.png?${query}`;
    },
    tileExists: exists,
    hasTransparency: () => by !== "inr",
    /** Whether a tile is worth asking for now. */
    isWanted: (tile) => {
      const level = tile.level - levels;
      const isLevel = level === source.sharp || level === Math.max(least, source.sharp - COARSER);
      return !source.stopped && isLevel && exists(tile.level, tile.x, tile.y) && !(tile.failedAt > performance.now());
    },
    downloadTileStart: (job) => {
      if (!source.isWanted(job.tile)) {
        job.fail("aborted while it waited", null);
        return;
      }
      const abort = new AbortController();
      const request = {
        level: job.tile.level,
        run: () => {
          const answer = fetchTile(job.src, abort.signal);
          answer.then(createImageBitmap).then((bitmap) => {
            source.loaded += 1;
            job.finish(bitmap, null, "imageBitmap");
          }, (error) => {
            // OpenSeadragon has already heard of what it gave up itself.
            if (error.name === "AbortError") return;
            job.tile.failedAt = performance.now() + RETRY_MILLISECONDS;
            report(error.message);
            job.fail(error.message, null);
          }).finally(() => jobs.delete(job));
          return answer.catch(() => {});
        },
      };
      jobs.set(job, { request, abort });
      requests.add(request);
    },
    downloadTileAbort: (job) => {
      const known = jobs.get(job);
      if (!known) return;
      jobs.delete(job);
      requests.drop(known.request);
      known.abort.abort();
    },
    /** Gives up requests for tiles that are not wanted any more. */
    drop: (isSeen) => {
      for (const job of [...jobs.keys()]) if (!source.isWanted(job.tile) || !isSeen(job.tile)) job.abort();
    },
    /** Whether coarse tiles are under way. */
    isCoarse: () => [...jobs.keys()].some((job) => job.tile.level - levels < source.sharp),
    numLoading: () => jobs.size,
    stop: () => {
      source.stopped = true;
      source.drop(() => false);
    },
  });
  return source;
}

function coversTrained(info, { level, column, row }) {
  const longer = Math.max(info.native.height, info.native.width);
  const extent = 2 ** -level;
  const isBefore = (index, size) => index * extent < size / longer && (index + 1) * extent > 0;
  return isBefore(column, info.native.width) && isBefore(row, info.native.height);
}

async function fetchTile(url, signal) {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the server answers ${answer.status}`);
  return answer.blob();
}
