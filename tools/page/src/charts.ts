// What charts share: a canvas that fits its box at the screen's resolution, and a bar in a table.
import { h } from './dom';
import { on_theme, type Palette, palette } from './theme';

export interface Pen {
  context: CanvasRenderingContext2D;
  width: number; // CSS pixels
  height: number;
  scale: number;
  colours: Palette;
}

/** A canvas that is drawn again when its size or colours change. `height` may depend on the width. */
export class Chart {
  readonly canvas = h('canvas', { class: 'chart' });
  private is_waiting = false;

  constructor(
    label: string,
    private readonly height: (width: number) => number,
    private readonly paint: (pen: Pen) => void,
  ) {
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', label);
    on_theme(() => this.draw_now());
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  draw(): void {
    if (this.is_waiting) return;
    this.is_waiting = true;
    requestAnimationFrame(() => {
      this.is_waiting = false;
      this.draw_now();
    });
  }

  private draw_now(): void {
    const width = this.canvas.clientWidth;
    if (width === 0) return;
    const height = this.height(width);
    const scale = devicePixelRatio;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext('2d', { alpha: false })!;
    const colours = palette();
    context.scale(scale, scale);
    context.fillStyle = colours.raised;
    context.fillRect(0, 0, width, height);
    this.paint({ context, width, height, scale, colours });
  }
}

export interface Part {
  name: string;
  share: number; // of the bar's whole width
  colour: string; // a custom property: "forward"
}

/** A bar of parts, for a cell of a table: its numbers stand in words beside it. */
export function bar(parts: Part[], title = ''): HTMLElement {
  return h(
    'div',
    { class: 'bar', 'aria-hidden': 'true', title },
    parts
      .filter((part) => part.share > 0)
      .map((part) =>
        h('i', {
          style: `width:${(100 * part.share).toFixed(3)}%;background:var(--${part.colour})`,
          title: part.name,
        }),
      ),
  );
}

export function legend(entries: [name: string, colour: string][]): HTMLElement {
  return h(
    'ul',
    { class: 'legend' },
    entries.map(([name, colour]) =>
      h('li', {}, h('i', { class: 'swatch', style: `background:var(--${colour})` }), name),
    ),
  );
}
