// The pipeline as papers draw it: a row a rank, a cell a pass with the number of its microbatch.
import { type PipelineData, Unpacker, bytes_of } from './data';
import { h } from './dom';
import { Chart, legend, type Pen } from './charts';
import { time } from './format';
import { attach, time_at } from './gestures';
import { type Category, category_words } from './theme';
import { axis_label, ink_on } from './timeline/paint';
import { marks, type TimeWindow } from './window';

export interface PassCell {
  start: number;
  stop: number;
  pass: number; // 0 F, 1 BW, 2 B, 3 W, 4 a pair
  microbatch: number;
  chunk: number;
  beneath?: { microbatch: number; chunk: number }; // the backward of a pair
}

export function unpack_pipeline(data: PipelineData): PassCell[][] {
  const unpacker = new Unpacker(bytes_of(data.cells));
  const ranks: PassCell[][] = [];
  while (ranks.length < data.ranks) {
    const cells: PassCell[] = [];
    let before = 0;
    for (let left = unpacker.next(); left > 0; --left) {
      const start = before + unpacker.next_signed();
      const stop = (before = start + unpacker.next());
      const pass = unpacker.next();
      const cell: PassCell = {
        start,
        stop,
        pass,
        microbatch: unpacker.next_signed(),
        chunk: unpacker.next_signed(),
      };
      if (pass === 4) cell.beneath = { microbatch: unpacker.next_signed(), chunk: unpacker.next_signed() };
      cells.push(cell);
    }
    ranks.push(cells);
  }
  return ranks;
}

const pass_names = [
  'forward',
  'backward',
  'backward for inputs',
  'weight gradient',
  'forward and backward overlapped',
];
const letters = ['F', 'BW', 'B', 'W', 'F'];
const colours: Category[] = ['forward', 'backward', 'backward', 'weight', 'forward'];

export function words_of(cell: PassCell, rank: number, tick_s: number): string {
  const what = cell.beneath
    ? `F${cell.microbatch} (chunk ${cell.chunk}) overlapped with B${cell.beneath.microbatch} (chunk ${cell.beneath.chunk})`
    : `${letters[cell.pass]}${cell.microbatch}, ${pass_names[cell.pass]}, chunk ${cell.chunk}`;
  return (
    `rank ${rank}: ${what}; ${time(cell.start * tick_s)} to ${time(cell.stop * tick_s)}, ` +
    `takes ${time((cell.stop - cell.start) * tick_s)}`
  );
}

const gutter = 46;
const axis = 22;

function first_after(cells: PassCell[], tick: number): number {
  let low = 0;
  let high = cells.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cells[middle].stop > tick) high = middle;
    else low = middle + 1;
  }
  return low;
}

export class Pipeline {
  readonly element: HTMLElement;
  private readonly ranks: PassCell[][];
  private readonly row: number;
  private readonly chart: Chart;
  private readonly readout = h('p', { class: 'readout', 'aria-live': 'polite' }, '\u00a0');

  constructor(
    data: PipelineData,
    private readonly tick_s: number,
    private readonly window: TimeWindow,
  ) {
    this.ranks = unpack_pipeline(data);
    this.row = this.ranks.length <= 20 ? 22 : this.ranks.length <= 48 ? 14 : 9;
    this.chart = new Chart(
      `Passes of ${this.ranks.length} pipeline ranks in time`,
      () => axis + this.ranks.length * this.row + 4,
      (pen) => this.paint(pen),
    );
    const { canvas } = this.chart;
    canvas.classList.add('moves');
    const surface = { element: canvas, area: () => ({ left: gutter, width: canvas.clientWidth - gutter }) };
    attach(surface, window, (event) => this.show(event));
    canvas.addEventListener('pointermove', (event) => event.buttons === 0 && this.show(event));
    window.on_change(() => this.chart.draw());
    const has = (pass: number) => this.ranks.some((cells) => cells.some((cell) => cell.pass === pass));
    const entries: [string, string][] = [
      ['forward', 'forward'],
      [category_words.backward, 'backward'],
    ];
    if (has(3)) entries.push([category_words.weight, 'weight']);
    this.element = h('figure', {}, canvas, h('figcaption', {}, legend(entries), this.readout));
    if (data.left_out) this.element.append(h('p', { class: 'note' }, `${data.left_out}.`));
  }

  private show(event: PointerEvent): void {
    const { canvas } = this.chart;
    const box = canvas.getBoundingClientRect();
    const rank = Math.floor((event.clientY - box.top - axis) / this.row);
    const cells = this.ranks[rank];
    if (!cells) return;
    const area = { left: gutter, width: canvas.clientWidth - gutter };
    const tick = time_at({ element: canvas, area: () => area }, this.window, event.clientX) / this.tick_s;
    const cell = cells[first_after(cells, tick)];
    this.readout.textContent =
      cell && cell.start <= tick
        ? words_of(cell, rank, this.tick_s)
        : `rank ${rank}: nothing runs at ${time(tick * this.tick_s)}`;
  }

  private paint(pen: Pen): void {
    const { context, colours: ink } = pen;
    paint_time_axis(pen, this.window, gutter, axis);
    context.textBaseline = 'middle';
    this.ranks.forEach((cells, rank) => {
      const top = axis + rank * this.row;
      context.globalAlpha = 1;
      context.fillStyle = ink.muted;
      context.font = '11px system-ui, sans-serif';
      if (this.row > 10 || rank % 4 === 0) context.fillText(`rank ${rank}`, 0, top + this.row / 2);
      this.paint_rank(pen, cells, top, this.row - (this.row > 10 ? 2 : 1));
    });
  }

  private paint_rank(pen: Pen, cells: PassCell[], top: number, height: number): void {
    const { context } = pen;
    const per_tick = (this.tick_s / this.window.length) * (pen.width - gutter);
    const first = this.window.from / this.tick_s;
    const last = this.window.to / this.tick_s;
    for (let i = first_after(cells, first); i < cells.length && cells[i].start < last; ++i) {
      const cell = cells[i];
      const from = Math.max(gutter, gutter + (cell.start - first) * per_tick);
      const width = gutter + (cell.stop - first) * per_tick - from;
      const gap = width > 4 ? 0.8 : 0;
      const box = { x: from, y: top, width: Math.max(0.7, width - gap), height };
      if (!cell.beneath) {
        paint_cell(pen, box, colours[cell.pass], String(cell.microbatch), cell.chunk);
        continue;
      }
      const half = height / 2;
      paint_cell(pen, { ...box, height: half }, 'forward', String(cell.microbatch), cell.chunk);
      paint_cell(
        pen,
        { ...box, y: top + half, height: half },
        'backward',
        String(cell.beneath.microbatch),
        cell.beneath.chunk,
      );
    }
    context.globalAlpha = 1;
  }
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Later chunks are paler, as papers have them. */
function paint_cell(pen: Pen, box: Box, colour: Category, text: string, chunk: number): void {
  const { context, colours: ink } = pen;
  context.globalAlpha = chunk % 2 === 0 ? 1 : 0.62;
  context.fillStyle = ink.of[colour];
  context.fillRect(box.x, box.y, box.width, box.height);
  const size = Math.min(11, box.height - 1);
  if (size < 8 || box.width < text.length * size * 0.62 + 2) return;
  context.globalAlpha = 1;
  context.fillStyle = chunk % 2 === 0 ? ink_on(ink.of[colour]) : ink.ink;
  context.font = `${size}px system-ui, sans-serif`;
  context.textAlign = 'center';
  context.fillText(text, box.x + box.width / 2, box.y + box.height / 2 + 0.5);
  context.textAlign = 'left';
}

export function paint_time_axis(pen: Pen, window: TimeWindow, left: number, height: number): void {
  const { context, colours: ink, width } = pen;
  const all = marks(window.from, window.to, (width - left) / 110);
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  for (const mark of all) {
    const x = Math.round(left + ((mark - window.from) / window.length) * (width - left));
    context.fillStyle = ink.line;
    context.fillRect(x, 0, 1, pen.height);
    context.fillStyle = ink.muted;
    const text = axis_label(mark, all);
    context.fillText(text, Math.min(x + 4, width - context.measureText(text).width - 2), height / 2);
  }
}
