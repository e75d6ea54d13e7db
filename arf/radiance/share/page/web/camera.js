// Vectors are [x, y, z], rotations quaternions [w, x, y, z]; a pose is {at, turn}: camera to world, the camera looks
// along −z, y up. A lens is {fx, fy, cx, cy, width, height} in pixels.

const find = (id) => document.getElementById(id);
const add = (a, b, times = 1) => a.map((value, i) => value + times * b[i]);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const size = (a) => Math.sqrt(dot(a, a));
const unit = (a) => a.map((value) => value / size(a));
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const UP = [0, 0, 1];

// First q, then p.
function product([a, b, c, d], [w, x, y, z]) {
  return [
    a * w - b * x - c * y - d * z,
    a * x + b * w + c * z - d * y,
    a * y - b * z + c * w + d * x,
    a * z + b * y - c * x + d * w,
  ];
}

const about = (axis, angle) => [Math.cos(angle / 2), ...axis.map((value) => value * Math.sin(angle / 2))];

function turned([w, x, y, z], v) {
  return product(product([w, x, y, z], [0, ...v]), [w, -x, -y, -z]).slice(1);
}

const right = (pose) => turned(pose.turn, [1, 0, 0]);
const above = (pose) => turned(pose.turn, [0, 1, 0]);
const forward = (pose) => turned(pose.turn, [0, 0, -1]);
const lerp = (a, b, share) => a.map((value, i) => value + (b[i] - value) * share);

function slerp(a, b, share) {
  const near = dot(a, b) < 0 ? b.map((value) => -value) : b;
  const angle = Math.acos(Math.min(1, dot(a, near)));
  if (angle < 1e-4) return unit(lerp(a, near, share));
  const [from, to] = [Math.sin((1 - share) * angle), Math.sin(share * angle)];
  return unit(a.map((value, i) => from * value + to * near[i]));
}

const between = (a, b, share) => ({ at: lerp(a.at, b.at, share), turn: slerp(a.turn, b.turn, share) });

// The lens in a window of another size: the height of the field of view stays. In a narrower one than the lens is made
// for, as on a phone held upright, half of what would be lost at the sides is kept, and there is more above and below.
function fitted(lens, width, height) {
  const [across, down] = [width / lens.width, height / lens.height];
  const scale = Math.sqrt(down * Math.min(across, down));
  return {
    focal: [lens.fx * scale, lens.fy * scale],
    middle: [width / 2 + (lens.cx - lens.width / 2) * scale, height / 2 + (lens.cy - lens.height / 2) * scale],
    size: [width, height],
  };
}
