// What can be kept: a PNG of the view, the image as a file, a link.

import { imageQuery } from "./scene.js";

/** Width and height of a PNG of the view; null where the server draws none as large. */
export function pictureSize(info, view, width) {
  const height = Math.max(1, Math.round((width * view.height) / view.width));
  const fits = Number.isInteger(width) && width >= 1 && Math.max(width, height) <= info.max_picture_side
    && width * height <= info.max_picture_pixels;
  return fits ? { width, height } : null;
}

/** The address of a PNG of the view. */
export function pictureAddress(info, choices, view, { width, height }) {
  const place = new URLSearchParams({ left: view.left, top: view.top, extent: view.width, width, height });
  return `picture.png?${imageQuery(choices, info, choices.rule)}&${place}`;
}

/** Fetches a file and hands it to the browser's downloads; raises with the server's sentence. */
export async function download(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the server answers ${answer.status}`);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "picture.png";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return name;
}
