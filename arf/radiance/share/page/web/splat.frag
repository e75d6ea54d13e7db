#version 300 es
precision highp float;

in vec2 offset;
flat in vec4 paint;
out vec4 color;  // premultiplied

void main() {
  float alpha = min(0.99, paint.a * exp(-0.5 * dot(offset, offset)));
  if (alpha < 1.0 / 255.0) discard;
  color = vec4(paint.rgb * alpha, alpha);
}
