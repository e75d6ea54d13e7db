#version 300 es
// What has been summed up, in part of a texture, to the canvas.
precision highp float;

uniform sampler2D picture;
uniform vec2 share;  // of the texture, for each pixel
out vec4 color;

void main() {
  color = vec4(texture(picture, gl_FragCoord.xy * share).rgb, 1);
}
