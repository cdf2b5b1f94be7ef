// The whole step in one strip: the share of ranks that compute at each moment, and what part is shown.
import type { Palette } from '../theme';
import type { TimeWindow } from '../window';
import type { Model } from './model';

const columns = 800;

/** By equal spans of the step: of all lanes that compute, the share of time in which they do. */
export function busy_shares(model: Model): Float32Array {
  const shares = new Float32Array(columns);
  const span = Math.max(1, model.end) / columns;
  const computing = model.lanes.filter((lane) => lane.stream === 0);
  for (const lane of computing) {
    for (const slice of lane.slices) {
      const [start, stop] = [model.start[slice], model.stop[slice]];
      for (let i = Math.floor(start / span); i < columns && i * span < stop; ++i)
        shares[i] += Math.max(0, Math.min(stop, (i + 1) * span) - Math.max(start, i * span)) / span;
    }
  }
  return shares.map((share) => Math.min(1, share / Math.max(1, computing.length)));
}

export class Overview {
  readonly canvas = document.createElement('canvas');
  private readonly shares: Float32Array;

  constructor(
    model: Model,
    private readonly window: TimeWindow,
    private readonly gutter: () => number,
  ) {
    this.shares = busy_shares(model);
    this.canvas.className = 'overview';
    this.canvas.setAttribute('aria-hidden', 'true');
    const move = (event: PointerEvent) => {
      if (event.buttons === 0) return;
      const box = this.canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - this.gutter()) / (box.width - this.gutter());
      const middle = share * window.end;
      window.set(middle - window.length / 2, middle + window.length / 2);
    };
    this.canvas.addEventListener('pointerdown', (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      move(event);
    });
    this.canvas.addEventListener('pointermove', move);
  }

  draw(colours: Palette): void {
    const scale = devicePixelRatio;
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = clientWidth * scale;
    this.canvas.height = clientHeight * scale;
    const context = this.canvas.getContext('2d')!;
    const left = this.gutter() * scale;
    const width = this.canvas.width - left;
    const height = this.canvas.height;
    context.fillStyle = colours.muted;
    context.globalAlpha = 0.45;
    for (let x = 0; x < width; ++x) {
      const share = this.shares[Math.min(columns - 1, Math.floor((x / width) * columns))];
      context.fillRect(left + x, height * (1 - share), 1, height * share);
    }
    const [from, to] = [this.window.from, this.window.to].map(
      (time) => left + (time / this.window.end) * width,
    );
    context.globalAlpha = 1;
    context.strokeStyle = colours.accent;
    context.lineWidth = 2 * scale;
    context.strokeRect(from + scale, scale, Math.max(2 * scale, to - from - 2 * scale), height - 2 * scale);
  }
}
