// The camera path: round and round where it closes, back and forth where it does not.

const EASE = 1.2; // seconds from where a visitor stands to the path

function makeRide(scene) {
  const stops = scene.frames.map(([x, y, z, a, b, c, d, fx, fy, cx, cy, width, height]) => ({
    pose: { at: [x, y, z], turn: [a, b, c, d] },
    lens: { fx, fy, cx, cy, width, height },
  }));
  const last = stops.length - 1;
  const steps = stops.slice(1).map((stop, i) => size(add(stop.pose.at, stops[i].pose.at, -1)));
  const longest = Math.max(0, ...steps);
  const closes = last > 1 && size(add(stops[last].pose.at, stops[0].pose.at, -1)) <= 2 * longest
    && dot(forward(stops[last].pose), forward(stops[0].pose)) > 0.95;
  let place = 0; // in frames since the beginning
  let left = null; // the visitor's camera, where it leaves for the path
  let since = EASE; // seconds

  function mixed(a, b, share) {
    const lens = Object.fromEntries(Object.keys(a.lens).map((key) => [key, a.lens[key] + (b.lens[key] - a.lens[key]) * share]));
    return { pose: between(a.pose, b.pose, share), lens };
  }

  // The camera at a frame, which may be none of the whole ones.
  function camera(frame) {
    const whole = Math.floor(frame);
    return frame === whole ? stops[whole] : mixed(stops[whole], stops[whole === last ? 0 : whole + 1], frame - whole);
  }

  // From a visitor's camera on: at the frame that is nearest, where they are not on the path already.
  function start(from) {
    const miss = ({ pose }) => size(add(pose.at, from.pose.at, -1)) / scene.reach + 1 - dot(forward(pose), forward(from.pose));
    if (miss(now()) < 1e-6) return;
    const misses = stops.map(miss);
    place = misses.indexOf(Math.min(...misses));
    left = from;
    since = 0;
  }

  function step(seconds) {
    since += seconds;
    place += seconds * scene.fps * Math.min(1, since / EASE);
    const there = now();
    if (since >= EASE) return there;
    const share = since / EASE;
    return mixed(left, there, share * share * (3 - 2 * share));
  }

  function now() {
    const round = closes ? last + 1 : Math.max(1, 2 * last);
    const along = place % round;
    return camera(closes || along <= last ? along : round - along);
  }

  return { camera, last, start, step };
}
