// Brings the data to the worker and the graphics, and draws whenever what is to be seen has changed.

const MOST = 2.1e6; // pixels: 1920 × 1080, which laptops manage
const SLOW = 40; // milliseconds between pictures, above which fewer pixels are drawn while the view moves
const FADE = 3000; // milliseconds until the bar goes
const [canvas, slider, choice, html] = [find("canvas"), find("mix"), find("paint"), document.documentElement];
const scene = JSON.parse(find("scene").textContent);
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const ride = makeRide(scene);
const walk = makeWalk(canvas, scene, () => {
  play(false);
  find("help").open = false;
});
const painted = scene.backgrounds.length > 1;

let riding = false;
let picture, worker;
let spare = null; // the sorter's last array, for it to use again
let waiting = true; // for the sorter
let arranged = ""; // the view that the splats are in order for
let drawn = "";
let before = ""; // the view at the last tick
let [last, rest, pause, quality, fading] = [0, 0, 16, 1, 0];

function say(words) {
  find("message").textContent = words;
}

function fail(words) {
  say(words);
  document.body.classList.add("failed");
}

function play(on) {
  if (on) ride.start({ pose: walk.pose, lens: walk.lens });
  else if (riding) walk.begin();
  riding = on;
  find("ride").setAttribute("aria-pressed", on);
}

// What the address asks for; a picture of its own when it names a frame.
function arrive() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const number = (name, low, high, otherwise) => {
    const value = parseFloat(asked.get(name));
    return Number.isFinite(value) ? clamp(value, low, high) : otherwise;
  };
  if (painted) slider.value = number("mix", 0, 1, slider.value);
  if (choice) choice.value = Math.round(number("paint", 1, scene.backgrounds.length - 1, choice.value));
  const still = asked.has("frame");
  if (still || !walk.pose) Object.assign(walk, ride.camera(number("frame", 0, ride.last, 0)));
  walk.begin();
  play(!still && !calm && ride.last > 0);
  document.body.classList.toggle("still", still);
  delete html.dataset.ready;
}

function awake() {
  document.body.classList.remove("still", "idle");
  clearTimeout(fading);
  fading = setTimeout(() => document.body.classList.add("idle"), FADE);
}

function tick(now) {
  requestAnimationFrame(tick);
  const passed = now - last;
  const seconds = Math.min(0.1, passed / 1000);
  last = now;
  if (!riding) walk.step(seconds);
  else if (arranged) Object.assign(walk, ride.step(seconds));
  const { pose, lens } = walk;
  const view = [...pose.at, ...forward(pose)].join();
  if (!waiting && view !== arranged) {
    waiting = true;
    const asked = { eye: pose.at, forward: forward(pose), near: scene.near, order: spare, view };
    worker.postMessage(asked, spare ? [spare.buffer] : []);
  }
  if (!arranged || (view !== arranged && document.body.classList.contains("still"))) return;

  if (view !== before) {
    pause += (Math.min(200, passed) - pause) * 0.1;
    if (pause > SLOW) [quality, pause] = [Math.max(0.4, quality * 0.85), SLOW * 0.7];
    else if (pause < SLOW / 2) quality = Math.min(1, quality + 0.002);
    rest = now;
  } else if (now - rest > 150) quality = 1;
  before = view;
  const area = canvas.clientWidth * canvas.clientHeight;
  const ratio = Math.min(devicePixelRatio, 2, Math.sqrt(MOST / Math.max(1, area)));
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
  const [mix, paint] = [painted ? Number(slider.value) : 0, choice ? Number(choice.value) : Number(painted)];
  const whole = [...pose.turn, ...Object.values(lens), width, height, mix, paint, quality, arranged, view].join();
  if (whole !== drawn) {
    picture.draw({ pose, lens, width, height, mix, paint, quality });
    drawn = whole;
    document.body.classList.add("shown");
  }
  if (arranged === view && quality === 1) html.dataset.ready = "";
  else delete html.dataset.ready;
}

// One block after another goes to the worker, which sends its bytes back; then splats are put in order for ever.
function load() {
  const blocks = [...document.querySelectorAll(".block")];
  const next = (block) => {
    worker.postMessage({ block, text: blocks[block].textContent });
    blocks[block].remove();
  };
  worker = new Worker(URL.createObjectURL(new Blob([find("sorter").textContent], { type: "text/javascript" })));
  worker.onerror = () => fail("This browser would not put the splats in order: this is one view of it.");
  worker.onmessage = ({ data }) => {
    if (data.order) {
      picture.arrange(data.order, data.count);
      [spare, arranged, waiting] = [data.order, data.view, false];
      say("");
      return;
    }
    picture.hold(data.block, data.bytes);
    if (data.block + 1 < blocks.length) next(data.block + 1);
    else waiting = false;
  };
  say(`Loading ${scene.count.toLocaleString("en")} splats …`);
  next(0);
}

find("ride").addEventListener("click", () => play(!riding));
find("mode").addEventListener("click", ({ currentTarget }) => {
  walk.orbits = !walk.orbits;
  walk.pivot = add(walk.pose.at, forward(walk.pose), scene.reach);
  currentTarget.firstElementChild.textContent = walk.orbits ? "Orbit" : "Look";
});
find("mode").firstElementChild.textContent = walk.orbits ? "Orbit" : "Look";
find("ride").hidden = ride.last === 0;
addEventListener("keydown", (event) => {
  if (event.code !== "Space" || event.target.closest("button, summary, input, select") || ride.last === 0) return;
  event.preventDefault();
  play(!riding);
});
["pointermove", "pointerdown", "wheel", "keydown", "focusin"].forEach((name) => addEventListener(name, awake));
addEventListener("hashchange", arrive);
canvas.addEventListener("webglcontextlost", () => fail("The graphics card has dropped the picture: reload the page."));
try {
  picture = makePicture(canvas, scene);
  load();
  arrive();
  if (!document.body.classList.contains("still")) awake();
  requestAnimationFrame(tick);
} catch (error) {
  fail(error.message);
}
