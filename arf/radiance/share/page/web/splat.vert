#version 300 es
// One Gaussian, unpacked from its bytes (packing.py), as the rectangle along its axes where α ≥ 1/255.
precision highp float;
precision highp int;
precision highp usampler2D;

uniform usampler2D order, places, shapes, first, second;
uniform mat3 world;  // to the camera: x right, y down, z forward
uniform vec3 eye;
uniform vec2 focal, middle, size;  // in pixels
uniform float near, mixture;
uniform uint count;
uniform bool antialiased;
uniform vec2 logarithms, firstRange, secondRange;
out vec2 offset;  // from the mean, in standard deviations
flat out vec4 paint;

ivec2 texel(uint index) {
  return ivec2(index & 2047u, index >> 11);
}

vec3 thirds(uint bits) {
  return vec3(bits & 1023u, bits >> 10 & 1023u, bits >> 20 & 1023u) / 1023.0;
}

mat3 rotation(uint bits) {  // of the quaternion
  vec3 r = (thirds(bits) * 2.0 - 1.0) * sqrt(0.5);
  float most = sqrt(max(0.0, 1.0 - dot(r, r)));
  uint largest = bits >> 30;
  vec4 q = largest == 0u ? vec4(most, r) : largest == 1u ? vec4(r.x, most, r.yz)
    : largest == 2u ? vec4(r.xy, most, r.z) : vec4(r, most);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

void main() {
  gl_Position = vec4(2, 2, 2, 1);  // outside
  uint rank = uint(gl_InstanceID) * 4096u + uint(gl_VertexID >> 2);
  if (rank >= count) return;
  ivec2 at = texel(texelFetch(order, texel(rank), 0).r);
  uvec4 place = texelFetch(places, at, 0);
  vec3 t = world * (uintBitsToFloat(place.xyz) - eye);
  if (t.z < near) return;

  uint shape = texelFetch(shapes, at, 0).r;
  vec3 levels = vec3(shape & 255u, shape >> 8 & 255u, shape >> 16 & 255u) / 255.0;
  vec3 scales = exp(mix(logarithms.xxx, logarithms.yyy, levels));
  float opacity = float(shape >> 24) / 255.0;
  opacity *= opacity;

  // J W R S: one column for each axis; its slopes are clamped, as 3D Gaussian Splatting does
  vec2 limit = 1.3 * 0.5 * size / focal;
  vec2 slope = clamp(t.xy / t.z, -limit, limit);
  mat3 axes = world * rotation(place.w);
  vec2 u = focal * (axes[0].xy - slope * axes[0].z) * (scales.x / t.z);
  vec2 v = focal * (axes[1].xy - slope * axes[1].z) * (scales.y / t.z);
  vec2 w = focal * (axes[2].xy - slope * axes[2].z) * (scales.z / t.z);
  float xx = u.x * u.x + v.x * v.x + w.x * w.x;
  float xy = u.x * u.y + v.x * v.y + w.x * w.y;
  float yy = u.y * u.y + v.y * v.y + w.y * w.y;
  vec3 minors = vec3(u.x * v.y - u.y * v.x, u.x * w.y - u.y * w.x, v.x * w.y - v.y * w.x);
  float sharp = dot(minors, minors);  // det Σ₂, without cancellation
  float blurred = sharp + 0.3 * (xx + yy) + 0.09;
  if (antialiased) opacity *= sqrt(sharp / blurred);
  if (opacity < 1.0 / 255.0) return;

  float reach = sqrt(2.0 * log(255.0 * opacity));
  vec2 centre = focal * t.xy / t.z + middle;
  vec2 extent = reach * sqrt(vec2(xx, yy) + 0.3);
  if (any(greaterThan(abs(centre - 0.5 * size), extent + 0.5 * size))) return;

  vec2 tilt = vec2(0.5 * (xx - yy), xy);
  float longest = 0.5 * (xx + yy) + length(tilt) + 0.3;
  vec2 axis = tilt.x < 0.0 ? vec2(tilt.y, length(tilt) - tilt.x) : vec2(length(tilt) + tilt.x, tilt.y);
  axis = dot(axis, axis) > 0.0 ? normalize(axis) : vec2(1, 0);
  offset = reach * (vec2(gl_VertexID & 1, gl_VertexID >> 1 & 1) * 2.0 - 1.0);
  vec2 corner = centre + axis * sqrt(longest) * offset.x + vec2(-axis.y, axis.x) * sqrt(blurred / longest) * offset.y;
  gl_Position = vec4(corner / size * vec2(2, -2) + vec2(-1, 1), 0, 1);

  vec3 from = mix(firstRange.xxx, firstRange.yyy, thirds(texelFetch(first, at, 0).r));
  vec3 to = mix(secondRange.xxx, secondRange.yyy, thirds(texelFetch(second, at, 0).r));
  paint = vec4(mix(from, to, mixture), opacity);
}
