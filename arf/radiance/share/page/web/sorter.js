// The worker: makes bytes of the page's base64, and puts splats in order of depth for each view that is asked for.
"use strict";

const BUCKETS = 65536;
let positions; // x, y, z of each splat
let keys, others, half; // depths as bits, and indices in the order of their lower halves
const starts = new Uint32Array(BUCKETS);

function decoded(text) {
  const bytes = new Uint8Array(text.length / 4 * 3 - (text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0));
  for (let from = 0, at = 0; from < text.length; from += 1 << 20) {
    const part = atob(text.slice(from, from + (1 << 20)));
    for (let i = 0; i < part.length; i++) bytes[at++] = part.charCodeAt(i);
  }
  return bytes;
}

function keep(bytes) {
  const places = new Float32Array(bytes.buffer);
  const count = places.length / 4;
  positions = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) positions.set(places.subarray(4 * i, 4 * i + 3), 3 * i);
  [keys, others, half] = [1, 2, 3].map(() => new Uint32Array(count));
}

// Where each bucket begins, the farthest first.
function begin(bits, count, shift) {
  starts.fill(0);
  for (let i = 0; i < count; i++) starts[bits[i] >>> shift & 65535]++;
  for (let bucket = BUCKETS - 1, sum = 0; bucket >= 0; bucket--) {
    const held = starts[bucket];
    starts[bucket] = sum;
    sum += held;
  }
}

// Indices of the splats before the camera, farthest first, into `order`; returns how many they are. The bits of positive
// floats are in the floats' own order: two passes over 16 bits each sort them exactly.
function sort(eye, forward, near, order) {
  const [ex, ey, ez] = eye, [fx, fy, fz] = forward;
  const depths = new Float32Array(keys.buffer);
  let count = 0;
  for (let i = 0, at = 0; i < half.length; i++, at += 3) {
    const depth = (positions[at] - ex) * fx + (positions[at + 1] - ey) * fy + (positions[at + 2] - ez) * fz;
    if (depth < near) continue;
    depths[count] = depth;
    order[count++] = i;
  }
  begin(keys, count, 0);
  for (let i = 0; i < count; i++) {
    const at = starts[keys[i] & 65535]++;
    half[at] = order[i];
    others[at] = keys[i];
  }
  begin(others, count, 16);
  for (let i = 0; i < count; i++) order[starts[others[i] >>> 16]++] = half[i];
  return count;
}

onmessage = ({ data }) => {
  if ("text" in data) {
    const bytes = decoded(data.text);
    if (data.block === 0) keep(bytes);
    postMessage({ block: data.block, bytes }, [bytes.buffer]);
  } else {
    const order = data.order || new Uint32Array(half.length); // a buffer comes back when the page is done with it
    const count = sort(data.eye, data.forward, data.near, order);
    postMessage({ order, count, view: data.view }, [order.buffer]);
  }
};
