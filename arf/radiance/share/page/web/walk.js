// A visitor's camera, moved by mouse, touch and keys; `onInput` is told of each input, before it moves anything.

const KEYS = {
  KeyW: [0, 0, 1], ArrowUp: [0, 0, 1], KeyS: [0, 0, -1], ArrowDown: [0, 0, -1],
  KeyA: [-1, 0, 0], KeyD: [1, 0, 0], KeyE: [0, 1, 0], KeyQ: [0, -1, 0],
};
const TURNS = { ArrowLeft: 1, ArrowRight: -1 };
const STEEPEST = 1.5; // radians from the horizon
const PACE = 0.6; // of the scene's reach in a second
const SWING = 1.2; // radians a second, by keys

function makeWalk(canvas, scene, onInput) {
  const walk = { pose: null, lens: null, orbits: Boolean(scene.pivot), pivot: scene.pivot, step, begin };
  const pointers = new Map(); // fingers or the mouse: where each was, and is
  const pressed = new Set();
  let pace = [0, 0, 0]; // to the right, up, forward, eased
  let swing = 0;
  let pending = 0; // of the wheel
  let hurry = 1;

  // What the visitor turns around from now on.
  function begin() {
    walk.pivot = scene.pivot || add(walk.pose.at, forward(walk.pose), scene.reach);
  }

  const away = () => (walk.orbits ? size(add(walk.pivot, walk.pose.at, -1)) : scene.reach);

  function turn(yaw, pitch) {
    const { pose } = walk;
    const rise = Math.asin(clamp(forward(pose)[2], -1, 1));
    const limit = Math.max(STEEPEST, Math.abs(rise)); // a ride may have looked down steeper
    const up = clamp(rise + pitch, -limit, limit) - rise;
    const whole = product(about(UP, yaw), about(right(pose), up));
    const at = walk.orbits ? add(walk.pivot, turned(whole, add(pose.at, walk.pivot, -1))) : pose.at;
    walk.pose = { at, turn: unit(product(whole, pose.turn)) };
  }

  function shift(across, up, ahead) {
    const { pose } = walk;
    const by = add(add(right(pose).map((v) => v * across), above(pose), up), forward(pose), ahead);
    walk.pose = { ...pose, at: add(pose.at, by) };
    walk.pivot = add(walk.pivot, by);
  }

  function approach(amount) {
    const { pose } = walk;
    const by = walk.orbits
      ? add(walk.pivot, pose.at, -1).map((v) => v * (1 - Math.exp(-amount)))
      : forward(pose).map((v) => v * amount * scene.reach * 0.5);
    walk.pose = { ...pose, at: add(pose.at, by) };
  }

  function drag([dx, dy], aside) {
    const perPixel = walk.lens.height / walk.lens.fy / canvas.clientHeight; // radians, or lengths at distance 1
    if (aside) shift(-dx * perPixel * away(), dy * perPixel * away(), 0);
    else if (walk.orbits) turn(-dx * 0.006, -dy * 0.006);
    else turn(dx * perPixel, dy * perPixel);
  }

  // What fingers or the mouse have done since the last time.
  function gesture() {
    const [one, two, more] = pointers.values();
    if (two && !more) {
      const [before, after] = ["from", "to"].map((when) => [add(one[when], two[when]), size(add(one[when], two[when], -1))]);
      drag(add(after[0], before[0], -1).map((v) => v / 2), true);
      if (before[1] && after[1]) approach(Math.log(after[1] / before[1]) * (walk.orbits ? 1 : 2));
    } else if (one && !two) drag(add(one.to, one.from, -1), one.aside);
    pointers.forEach((pointer) => (pointer.from = pointer.to));
  }

  canvas.addEventListener("pointerdown", (event) => {
    onInput();
    gesture();
    canvas.setPointerCapture(event.pointerId);
    const at = [event.clientX, event.clientY];
    pointers.set(event.pointerId, { from: at, to: at, aside: event.shiftKey || event.button === 2 });
  });
  canvas.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (pointer) pointer.to = [event.clientX, event.clientY];
  });
  const release = (event) => {
    gesture();
    pointers.delete(event.pointerId);
  };
  ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, release));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    onInput();
    const lines = [1, 30, 300][event.deltaMode] * (event.ctrlKey ? 5 : 1); // a trackpad's pinch holds ctrl
    pending -= clamp(event.deltaY * lines, -300, 300) * 0.0012;
  }, { passive: false });

  addEventListener("keydown", (event) => {
    hurry = event.shiftKey ? 4 : 1;
    const known = event.code in KEYS || event.code in TURNS;
    if (!known || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    event.preventDefault();
    onInput();
    pressed.add(event.code);
  });
  addEventListener("keyup", (event) => {
    hurry = event.shiftKey ? 4 : 1;
    pressed.delete(event.code);
  });
  addEventListener("blur", () => pressed.clear());

  // What hands, keys and the wheel do in some seconds.
  function step(seconds) {
    gesture();
    const wanted = [...pressed].reduce((sum, code) => add(sum, KEYS[code] || [0, 0, 0]), [0, 0, 0]);
    const asked = [...pressed].reduce((sum, code) => sum + (TURNS[code] || 0), 0);
    const share = 1 - Math.exp(-seconds / 0.08);
    pace = lerp(pace, wanted.map((v) => v * hurry * PACE * scene.reach), share);
    swing += (asked * SWING - swing) * share;
    if (size(pace) > 1e-3 * scene.reach) shift(...pace.map((v) => v * seconds));
    if (Math.abs(swing) > 1e-3) turn(walk.orbits ? -swing * seconds : swing * seconds, 0);
    if (Math.abs(pending) > 1e-4) {
      approach(pending * share);
      pending *= 1 - share;
    }
  }

  return walk;
}
