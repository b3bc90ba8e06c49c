// Painting over the part of a picture that shall change, with a pointer or on the keyboard.

const COLOUR = "#ff4d2e"; // seen on most pictures; the stylesheet makes it translucent
const BRUSH = 0.05; // its radius, of the picture's longer side
const STEP = 0.5; // of the radius: how far an arrow key goes

export class Masking {
  // changed: is called after each stroke.
  constructor(canvas, brush, changed) {
    this.canvas = canvas;
    this.brush = brush;
    this.changed = changed;
    this.isEmpty = true;
    this.at = null; // where the brush is, in pixels of the picture
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) this.stroke(this.under(event)); });
    canvas.addEventListener("pointerup", () => this.changed());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.showBrush());
    canvas.addEventListener("blur", () => { brush.hidden = true; });
  }

  // An empty sheet over a picture of that size.
  begin(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.at = { x: width / 2, y: height / 2 };
    this.radius = Math.max(width, height) * BRUSH;
    this.isEmpty = true;
  }

  draw(strokes) {
    this.canvas.getContext("2d").drawImage(strokes, 0, 0);
    this.isEmpty = false;
  }

  // White where it was painted, black elsewhere; null where nothing was.
  file() {
    if (this.isEmpty) return Promise.resolve(null);
    const sheet = document.createElement("canvas");
    sheet.width = this.canvas.width;
    sheet.height = this.canvas.height;
    const pen = sheet.getContext("2d");
    pen.drawImage(this.canvas, 0, 0);
    for (const [way, colour] of [["source-in", "white"], ["destination-over", "black"]]) {
      pen.globalCompositeOperation = way;
      pen.fillStyle = colour;
      pen.fillRect(0, 0, sheet.width, sheet.height);
    }
    return new Promise((resolve) => { sheet.toBlob(resolve, "image/png"); });
  }

  press(event) {
    if (event.button !== 0) return;
    event.preventDefault(); // or it selects the picture
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.canvas.setPointerCapture(event.pointerId);
    this.at = this.under(event);
    this.stroke(this.at);
  }

  under({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((clientX - box.left) / box.width) * this.canvas.width,
      y: ((clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  stroke(to) {
    const pen = this.canvas.getContext("2d");
    pen.strokeStyle = COLOUR;
    pen.lineWidth = 2 * this.radius;
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(this.at.x, this.at.y);
    pen.lineTo(to.x, to.y);
    pen.stroke();
    this.at = to;
    this.isEmpty = false;
    this.brush.hidden = true;
  }

  key(event) {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] }[event.key] ?? [];
    if (x === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const within = (value, most) => Math.min(most, Math.max(0, value));
    const to = {
      x: within(this.at.x + x * STEP * this.radius, this.canvas.width),
      y: within(this.at.y + y * STEP * this.radius, this.canvas.height),
    };
    if (event.shiftKey || event.key === " ") {
      this.stroke(to);
      this.changed();
    }
    this.at = to;
    this.showBrush();
  }

  showBrush() {
    if (!this.canvas.matches(":focus-visible")) return;
    const share = (part, whole) => `${(100 * part) / whole}%`;
    this.brush.style.left = share(this.at.x, this.canvas.width);
    this.brush.style.top = share(this.at.y, this.canvas.height);
    this.brush.style.width = share(2 * this.radius, this.canvas.width);
    this.brush.hidden = false;
  }
}
