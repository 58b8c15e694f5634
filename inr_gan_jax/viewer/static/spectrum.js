// How much of which frequency the view holds: a two-dimensional Fourier transform of the middle of the screen.

/** In-place radix-2 transform of `real` + i `imaginary`, whose length is a power of two. */
export function transform(real, imaginary) {
  const size = real.length;
  for (let index = 1, mirrored = 0; index < size; index += 1) {
    let bit = size >> 1;
    for (; mirrored & bit; bit >>= 1) mirrored ^= bit;
    mirrored ^= bit;
    if (index < mirrored) {
      [real[index], real[mirrored]] = [real[mirrored], real[index]];
      [imaginary[index], imaginary[mirrored]] = [imaginary[mirrored], imaginary[index]];
    }
  }
  for (let half = 1; half < size; half <<= 1) {
    for (let place = 0; place < half; place += 1) {
      const angle = (-Math.PI * place) / half;
      const cosine = Math.cos(angle), sine = Math.sin(angle);
      for (let first = place; first < size; first += 2 * half) {
        const second = first + half;
        const turnedReal = real[second] * cosine - imaginary[second] * sine;
        const turnedImaginary = real[second] * sine + imaginary[second] * cosine;
        real[second] = real[first] - turnedReal;
        imaginary[second] = imaginary[first] - turnedImaginary;
        real[first] += turnedReal;
        imaginary[first] += turnedImaginary;
      }
    }
  }
}

/**
 * Power spectrum of a square picture, mean removed and faded out towards its border.
 *
 * @param grey rows of brightness, side * side numbers.
 * @returns power, frequency 0 in the middle.
 */
export function powerSpectrum(grey, side) {
  const window = Array.from({ length: side }, (_, index) => Math.sin((Math.PI * (index + 0.5)) / side) ** 2);
  const mean = grey.reduce((sum, value) => sum + value, 0) / grey.length;
  const real = Float64Array.from(grey, (value, index) =>
    (value - mean) * window[index % side] * window[Math.floor(index / side)]);
  const imaginary = new Float64Array(side * side);
  for (let row = 0; row < side; row += 1) {
    transform(real.subarray(row * side, (row + 1) * side), imaginary.subarray(row * side, (row + 1) * side));
  }
  const columnReal = new Float64Array(side), columnImaginary = new Float64Array(side);
  const power = new Float64Array(side * side);
  for (let column = 0; column < side; column += 1) {
    for (let row = 0; row < side; row += 1) {
      columnReal[row] = real[row * side + column];
      columnImaginary[row] = imaginary[row * side + column];
    }
    transform(columnReal, columnImaginary);
    for (let row = 0; row < side; row += 1) {
      const place = ((row + side / 2) % side) * side + ((column + side / 2) % side);
      power[place] = (columnReal[row] ** 2 + columnImaginary[row] ** 2) / side ** 2;
    }
  }
  return power;
}

/** Brightness of the middle of what a canvas shows right of a share; null where that is less than `side` pixels. */
export function middleOf(canvas, side, share) {
  const first = Math.round(canvas.width * share);
  if (canvas.width - first < side || canvas.height < side) return null;
  const left = first + ((canvas.width - first - side) >> 1), top = (canvas.height - side) >> 1;
  const { data } = canvas.getContext("2d").getImageData(left, top, side, side);
  return Float64Array.from({ length: side * side }, (_, index) =>
    0.299 * data[4 * index] + 0.587 * data[4 * index + 1] + 0.114 * data[4 * index + 2]);
}

/**
 * Draws a spectrum in decibels, and as a frame the highest frequencies that the trained pixels can hold.
 *
 * @param limits share of the canvas that these frequencies take, {width, height}; 1 and more is not drawn.
 */
export function drawSpectrum(canvas, power, side, limits, colour) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const strongest = Math.max(1e-9, ...power);
  power.forEach((value, index) => {
    // 90 decibels from white to black.
    const level = Math.max(0, 1 + Math.log10(Math.max(value, 1e-30) / strongest) / 9);
    image.data.set([255 * level ** 0.8, 255 * level ** 1.3, 255 * level ** 2.4 * 0.9 + 30 * level, 255], 4 * index);
  });
  context.putImageData(image, 0, 0);
  const width = side * limits.width, height = side * limits.height;
  if (Math.min(limits.width, limits.height) < 1) {
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.strokeRect((side - width) / 2, (side - height) / 2, width, height);
  }
}
