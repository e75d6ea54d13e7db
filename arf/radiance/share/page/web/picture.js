// Splats on a canvas: rectangles in the order given, whose numbers the shader takes from textures; summed up in a
// half-float picture where the browser has one, which is then copied to the canvas.

const CROWD = 4096; // splats to an instance: drawing programs are slow with many instances of a few corners
const ROW = 2048; // splats to a row of a texture: what WebGL 2 has at least

function makePicture(canvas, scene) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
  if (!gl) throw new Error("This browser shows no WebGL 2, which walking needs: this is one view of it.");
  const rows = Math.ceil(scene.count / ROW);
  if (rows > gl.getParameter(gl.MAX_TEXTURE_SIZE)) throw new Error("These are more splats than this device can hold.");
  const half = gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float");
  const [splats, copy] = ["splat", "copy"].map(program);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  const corners = new Uint16Array(6 * CROWD).map((_, i) => 4 * Math.floor(i / 6) + [0, 1, 2, 2, 1, 3][i % 6]);
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
  const order = table(gl.R32UI); // of splats, the farthest first
  const blocks = []; // places, shapes, colours of each paint
  const target = { texture: null, frame: gl.createFramebuffer(), width: 0, height: 0 };
  let count = 0;

  function program(name) {
    const made = gl.createProgram();
    ["vert", "frag"].forEach((kind, i) => {
      const shader = gl.createShader(i ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
      gl.shaderSource(shader, find(`${name}.${kind}`).textContent);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    });
    gl.linkProgram(made);
    const whole = gl.getProgramParameter(made, gl.LINK_STATUS) || gl.isContextLost();
    if (!whole) throw new Error(`This device's graphics refuse the page: ${gl.getProgramInfoLog(made)}`);
    const places = {};
    for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
      const uniform = gl.getActiveUniform(made, i).name;
      places[uniform] = gl.getUniformLocation(made, uniform);
    }
    return { made, places };
  }

  function texture(filter) {
    const made = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, made);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    return made;
  }

  // A texture with a texel for each splat.
  function table(format) {
    const made = texture(gl.NEAREST);
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, ROW, rows);
    return made;
  }

  // Values of the first so many splats, one or four of each: whole rows, then what is left of the last.
  function fill(made, values, many, each = 1) {
    const whole = Math.floor(many / ROW);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, made);
    [[0, ROW, whole], [whole, many % ROW, 1]].forEach(([row, width, height]) => width * height && gl.texSubImage2D(
      gl.TEXTURE_2D, 0, 0, row, width, height, each === 4 ? gl.RGBA_INTEGER : gl.RED_INTEGER, gl.UNSIGNED_INT,
      values.subarray(row * ROW * each)));
  }

  function hold(block, bytes) {
    blocks[block] = table(block ? gl.R32UI : gl.RGBA32UI);
    fill(blocks[block], new Uint32Array(bytes.buffer), scene.count, block ? 1 : 4);
  }

  function arrange(indices, many) {
    fill(order, indices, many);
    count = many;
  }

  function stretch(width, height) {
    if (target.width === width && target.height === height) return;
    [target, canvas].forEach((sized) => Object.assign(sized, { width, height }));
    gl.deleteTexture(target.texture);
    gl.activeTexture(gl.TEXTURE0);
    target.texture = texture(gl.LINEAR);
    gl.texStorage2D(gl.TEXTURE_2D, 1, half ? gl.RGBA16F : gl.RGBA8, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, target.texture, 0);
  }

  // `view` is {pose, lens, width, height, mix, paint, quality}: at a quality below 1 fewer pixels are stretched.
  function draw(view) {
    stretch(view.width, view.height);
    const [width, height] = [view.width, view.height].map((side) => Math.max(1, Math.round(side * view.quality)));
    const { focal, middle, size } = fitted(view.lens, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...lerp(scene.backgrounds[0], scene.backgrounds[view.paint], view.mix), 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(splats.made);
    const at = splats.places;
    const tables = { order, places: blocks[0], shapes: blocks[1], first: blocks[2], second: blocks[2 + view.paint] };
    Object.entries(tables).forEach(([name, held], slot) => {
      gl.activeTexture(gl.TEXTURE0 + slot);
      gl.bindTexture(gl.TEXTURE_2D, held);
      gl.uniform1i(at[name], slot);
    });
    gl.uniform1ui(at.count, count);
    const axes = [right(view.pose), above(view.pose).map((v) => -v), forward(view.pose)]; // rows
    gl.uniformMatrix3fv(at.world, false, [0, 1, 2].flatMap((column) => axes.map((axis) => axis[column])));
    gl.uniform3fv(at.eye, view.pose.at);
    gl.uniform2fv(at.focal, focal);
    gl.uniform2fv(at.middle, middle);
    gl.uniform2fv(at.size, size);
    gl.uniform1f(at.near, scene.near);
    gl.uniform1f(at.mixture, view.mix);
    gl.uniform1i(at.antialiased, scene.antialiased);
    gl.uniform2fv(at.logarithms, scene.logarithms);
    gl.uniform2fv(at.firstRange, scene.ranges[0]);
    gl.uniform2fv(at.secondRange, scene.ranges[view.paint]);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.drawElementsInstanced(gl.TRIANGLES, 6 * CROWD, gl.UNSIGNED_SHORT, 0, Math.ceil(count / CROWD));

    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, view.width, view.height);
    gl.disable(gl.BLEND);
    gl.useProgram(copy.made);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, target.texture);
    gl.uniform1i(copy.places.picture, 0);
    gl.uniform2f(copy.places.share, width / view.width ** 2, height / view.height ** 2);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  return { hold, arrange, draw };
}
