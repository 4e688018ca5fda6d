// Draws the points by WebGL: they are sent once, and each frame is one call.

import { rgb } from "./colours.js";

const VERTEX = `
attribute float x; attribute float y; attribute float group;
uniform vec2 centre; uniform vec2 scale; uniform float size; uniform vec3 colours[22]; uniform float opacity;
varying vec4 colour;
varying float pixel;
void main() {
  // The centre is taken off first: otherwise the digits of a float run out at high zoom.
  gl_Position = vec4((vec2(x, y) - centre) * scale, 0.0, 1.0);
  gl_PointSize = (group > 20.5 ? size * 0.8 : size) + 1.0;
  pixel = min(0.25, 1.0 / gl_PointSize);
  colour = vec4(colours[int(group + 0.5)], opacity);
}`;
const FRAGMENT = `
precision mediump float;
varying vec4 colour;
varying float pixel;
void main() {
  // The outermost pixel fades, else small circles look cut.
  float cover = 1.0 - smoothstep(0.5 - pixel, 0.5, length(gl_PointCoord - vec2(0.5)));
  if (cover <= 0.0) discard;
  gl_FragColor = vec4(colour.rgb * colour.a, colour.a) * cover;
}`;

// null where the browser has no WebGL.
export function webgl(canvas, { x, y, count }) {
  const gl = canvas.getContext("webgl", { antialias: false, alpha: true, premultipliedAlpha: true });
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) return null;
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const attribute = (name, data, type) => {
    const buffer = gl.createBuffer(),
      at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 1, type, false, 0, 0);
    return buffer;
  };
  attribute("x", x, gl.FLOAT);
  attribute("y", y, gl.FLOAT);
  const groups = attribute("group", new Uint8Array(count), gl.UNSIGNED_BYTE);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const at = {
    centre: uniform("centre"),
    scale: uniform("scale"),
    size: uniform("size"),
    colours: uniform("colours"),
    opacity: uniform("opacity"),
  };
  return {
    kind: "WebGL",
    groups(of) {
      gl.bindBuffer(gl.ARRAY_BUFFER, groups);
      gl.bufferData(gl.ARRAY_BUFFER, of, gl.DYNAMIC_DRAW);
    },
    colours(list) {
      gl.uniform3fv(at.colours, list.flatMap(rgb));
    },
    draw({ centre, zoom, width, height, ratio, size, opacity }) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(at.centre, ...centre);
      gl.uniform2f(at.scale, (2 * zoom) / width, (2 * zoom) / height);
      gl.uniform1f(at.size, size * ratio);
      gl.uniform1f(at.opacity, opacity);
      gl.drawArrays(gl.POINTS, 0, count);
    },
    end() {
      gl.getExtension("WEBGL_lose_context")?.loseContext();
    },
  };
}
