// Draws the lanes. What is narrower than a pixel is gathered by columns, so that a frame costs no more
// rectangles than there are pixels, however many slices there are.
import { categories, type Palette } from '../theme';
import { marks, type TimeWindow } from '../window';
import type { Layout } from './layout';
import { first_after, first_of, type Lane, type Model } from './model';
import { name_of } from './words';

export interface Frame {
  context: CanvasRenderingContext2D;
  width: number; // of everything, CSS pixels
  height: number;
  gutter: number; // left of time
  scale: number; // device pixels of a CSS pixel
  scroll: number;
  window: TimeWindow;
  colours: Palette;
}

export interface Marked {
  found?: Uint8Array; // what a search found: the rest is faint
  critical: boolean;
  sends: boolean;
  selected: number; // -1: none
  hovered: number;
}

export const axis_height = 22;
const faint = 0.16;
const most_arrows = 300;

/** Collects columns of one lane into rectangles of one colour and strength. */
class Columns {
  private readonly shares = new Float32Array(categories.length);
  private column = -1;
  private run = { from: -1, to: -1, category: 0, strength: 0 };
  private pen = -1; // what the context is set to

  constructor(
    private readonly frame: Frame,
    private readonly top: number,
    private readonly height: number,
    private readonly alpha: number,
  ) {}

  add(x: number, width: number, category: number): void {
    const column = Math.floor(x);
    if (column !== this.column) this.end_column(column);
    this.shares[category] += width;
  }

  /** Of what has room for itself. */
  rectangle(from: number, to: number, category: number): void {
    this.end_column(-1);
    this.end_run();
    this.paint(Math.round(from), Math.max(Math.round(from) + 1, Math.round(to)), category, 4);
  }

  end(): void {
    this.end_column(-1);
    this.end_run();
  }

  private end_column(next: number): void {
    const { column, shares, run } = this;
    this.column = next;
    if (column < 0) return;
    let sum = 0;
    let most = 0;
    for (let i = 0; i < shares.length; ++i) {
      sum += shares[i];
      if (shares[i] > shares[most]) most = i;
    }
    shares.fill(0);
    if (sum === 0) return;
    const strength = Math.max(1, Math.min(4, Math.ceil(sum * 4)));
    if (run.to === column && run.category === most && run.strength === strength) {
      run.to = column + 1;
      return;
    }
    this.end_run();
    this.run = { from: column, to: column + 1, category: most, strength };
  }

  private end_run(): void {
    const { from, to, category, strength } = this.run;
    if (from >= 0) this.paint(from, to, category, strength);
    this.run.from = this.run.to = -1;
  }

  private paint(from: number, to: number, category: number, strength: number): void {
    const { context, colours } = this.frame;
    const pen = category * 8 + strength;
    if (pen !== this.pen) {
      context.globalAlpha = (this.alpha * (strength + 1)) / 5 + (strength === 4 ? 0 : 0.05 * this.alpha);
      context.fillStyle = colours.of[categories[category]];
      this.pen = pen;
    }
    context.fillRect(from, this.top, to - from, this.height);
  }
}

function x_of(frame: Frame, model: Model): (tick: number) => number {
  const { window, gutter, width, scale } = frame;
  const per_tick = (model.data.tick_s / window.length) * (width - gutter) * scale;
  const first = window.from / model.data.tick_s;
  return (tick) => gutter * scale + (tick - first) * per_tick;
}

function paint_lane(
  frame: Frame,
  model: Model,
  lane: Lane,
  top: number,
  height: number,
  wanted: Uint8Array | undefined,
  alpha: number,
): void {
  const x = x_of(frame, model);
  const { window } = frame;
  const last = window.to / model.data.tick_s;
  const columns = new Columns(frame, top, height, alpha);
  const { slices } = lane;
  for (let i = first_after(model, lane, window.from / model.data.tick_s); i < slices.length; ++i) {
    const slice = slices[i];
    if (model.start[slice] > last) break;
    if (wanted && !wanted[slice]) continue;
    const from = Math.max(x(model.start[slice]), frame.gutter * frame.scale);
    const to = x(model.stop[slice]);
    const category = model.category[model.kind[slice]];
    if (to - from >= 1.5) columns.rectangle(from, to, category);
    else columns.add(from, Math.max(0.02, to - from), category);
  }
  columns.end();
}

/** Names where they have room. */
function paint_names(frame: Frame, model: Model, lane: Lane, top: number, height: number): void {
  const { context, window, scale, colours } = frame;
  const x = x_of(frame, model);
  const last = window.to / model.data.tick_s;
  context.font = `${10 * scale}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  context.globalAlpha = 1;
  const { slices } = lane;
  if (x(lane.longest) - x(0) < 22 * scale) return;
  for (let i = first_after(model, lane, window.from / model.data.tick_s); i < slices.length; ++i) {
    if (model.start[slices[i]] > last) break;
    const from = Math.max(x(model.start[slices[i]]), frame.gutter * scale);
    const to = Math.min(x(model.stop[slices[i]]), frame.width * scale);
    if (to - from < 22 * scale) continue;
    const name = name_of(model, slices[i]);
    const room = Math.floor((to - from - 6 * scale) / (5.6 * scale));
    const text = name.length <= room ? name : name.split(' ')[0];
    if (text.length > room) continue;
    context.fillStyle = ink_on(colours.of[categories[model.category[model.kind[slices[i]]]]]);
    context.fillText(text, from + 3 * scale, top + height / 2 + scale * 0.5);
  }
}

/** Black or white, whichever is read more easily on a colour as #rrggbb. */
export function ink_on(colour: string): string {
  const [red, green, blue] = [1, 3, 5]
    .map((i) => parseInt(colour.slice(i, i + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#10131a' : '#ffffff';
}

function paint_critical(frame: Frame, model: Model, layout: Layout): void {
  const { context, scale, colours } = frame;
  const x = x_of(frame, model);
  context.globalAlpha = 1;
  context.fillStyle = colours.ink;
  const last = frame.window.to / model.data.tick_s;
  for (const band of visible(frame, layout)) {
    const lane = model.lanes[band.lane];
    const bottom = (band.top + band.height - frame.scroll + axis_height) * scale;
    let until = -1;
    for (
      let i = first_of(model, lane.critical, frame.window.from / model.data.tick_s);
      i < lane.critical.length;
      ++i
    ) {
      const slice = lane.critical[i];
      if (model.start[slice] > last) break;
      const from = Math.max(until, frame.gutter * scale, Math.floor(x(model.start[slice])));
      const to = Math.max(Math.floor(x(model.stop[slice])), from + 1);
      if (to <= until) continue;
      context.fillRect(from, bottom - 2 * scale, to - from, 2 * scale);
      until = to;
    }
  }
}

function* visible(frame: Frame, layout: Layout) {
  for (const band of layout.bands) {
    if (band.top + band.height < frame.scroll || band.top > frame.scroll + frame.height) continue;
    yield band;
  }
}

function arrow(frame: Frame, model: Model, layout: Layout, slice: number): void {
  const { context, scale } = frame;
  const x = x_of(frame, model);
  const cause = model.cause[slice];
  const y_of = (band: { top: number; height: number }) =>
    (band.top + band.height / 2 - frame.scroll + axis_height) * scale;
  const [x0, y0] = [x(model.stop[cause]), y_of(layout.bands[model.lane[cause]])];
  const is_send = model.lanes[model.lane[slice]].stream !== 0;
  const [x1, y1] = [
    x(is_send ? model.stop[slice] : model.start[slice]),
    y_of(layout.bands[model.lane[slice]]),
  ];
  const angle = Math.atan2(y1 - y0, x1 - x0);
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  for (const turn of [-0.4, 0.4]) {
    context.moveTo(x1, y1);
    context.lineTo(x1 - 7 * scale * Math.cos(angle + turn), y1 - 7 * scale * Math.sin(angle + turn));
  }
  context.stroke();
}

/** Returns how many sends there are in view, drawn or not. */
function paint_sends(frame: Frame, model: Model, layout: Layout): number {
  const { context, window, scale, colours } = frame;
  const shown: number[] = [];
  const [from, to] = [window.from / model.data.tick_s, window.to / model.data.tick_s];
  for (const slice of model.sends) {
    if (model.stop[slice] < from) continue;
    if (model.stop[model.cause[slice]] <= to) shown.push(slice);
    if (model.stop[slice] > to) break;
  }
  if (shown.length > most_arrows) return shown.length;
  context.globalAlpha = 0.75;
  context.strokeStyle = colours.ink;
  context.lineWidth = scale;
  for (const slice of shown) arrow(frame, model, layout, slice);
  return shown.length;
}

function outline(frame: Frame, model: Model, layout: Layout, slice: number, width: number): void {
  const { context, scale, colours } = frame;
  const x = x_of(frame, model);
  const band = layout.bands[model.lane[slice]];
  const from = x(model.start[slice]);
  const length = Math.max(2 * scale, x(model.stop[slice]) - from);
  context.globalAlpha = 1;
  context.strokeStyle = colours.ink;
  context.lineWidth = width * scale;
  context.strokeRect(
    from - scale,
    (band.top - frame.scroll + axis_height - 1) * scale,
    length + 2 * scale,
    (band.height + 2) * scale,
  );
}

function paint_gutter(frame: Frame, model: Model, layout: Layout): void {
  const { context, scale, colours } = frame;
  context.globalAlpha = 1;
  context.fillStyle = colours.raised;
  context.fillRect(0, 0, frame.gutter * scale, frame.height * scale);
  context.font = `${11 * scale}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  const many = layout.groups.length > model.data.actors[model.data.actors.length - 1].rank + 1;
  for (const group of layout.groups) {
    const top = group.top - frame.scroll + axis_height;
    if (top + group.height < axis_height || top > frame.height) continue;
    context.fillStyle = colours.ink;
    const { rank, name } = model.data.actors[group.actor];
    const first = /^device (\d+)/.exec(name)?.[1] ?? /expert rank (\d+)/.exec(name)?.[1];
    context.fillText(
      many && first ? `${rank} · ${first}` : `rank ${rank}`,
      2 * scale,
      (top + compute_middle) * scale,
    );
    context.fillStyle = colours.line;
    context.fillRect(0, (top - 3) * scale, frame.width * scale, scale);
  }
}
const compute_middle = 8;

export function paint_axis(frame: Frame): void {
  const { context, scale, colours, window } = frame;
  context.globalAlpha = 1;
  context.fillStyle = colours.raised;
  context.fillRect(0, 0, frame.width * scale, axis_height * scale);
  context.font = `${11 * scale}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  const room = frame.width - frame.gutter;
  const all = marks(window.from, window.to, room / 110);
  for (const mark of all) {
    const x = Math.round((frame.gutter + ((mark - window.from) / window.length) * room) * scale);
    context.fillStyle = colours.line;
    context.fillRect(x, 0, scale, frame.height * scale);
    context.fillStyle = colours.muted;
    const text = axis_label(mark, all);
    const width = context.measureText(text).width;
    context.fillText(
      text,
      Math.min(x + 4 * scale, frame.width * scale - width - 2 * scale),
      (axis_height / 2) * scale,
    );
  }
}

/** With as many digits as it takes to tell marks apart. */
export function axis_label(mark: number, all: number[]): string {
  const step = all.length > 1 ? all[1] - all[0] : mark;
  const [size, unit] =
    mark >= 1 || (all[all.length - 1] ?? 0) >= 1
      ? [1, 's']
      : (all[all.length - 1] ?? 0) >= 1e-3
        ? [1e-3, 'ms']
        : [1e-6, 'us'];
  if (mark === 0) return '0 s';
  return `${(mark / size).toFixed(Math.max(0, -Math.floor(Math.log10(step / size) + 1e-9)))} ${unit}`;
}

/** Everything. Returns how many sends are in view. */
export function paint(frame: Frame, model: Model, layout: Layout, marked: Marked): number {
  const { context, scale, colours } = frame;
  context.globalAlpha = 1;
  context.fillStyle = colours.raised;
  context.fillRect(0, 0, frame.width * scale, frame.height * scale);
  paint_axis(frame);
  for (const band of visible(frame, layout)) {
    const lane = model.lanes[band.lane];
    const top = Math.round((band.top - frame.scroll + axis_height) * scale);
    const height = Math.round(band.height * scale);
    if (marked.found) paint_lane(frame, model, lane, top, height, undefined, faint);
    paint_lane(frame, model, lane, top, height, marked.found, 1);
    if (lane.stream === 0 && !marked.found) paint_names(frame, model, lane, top, height);
  }
  if (marked.critical) paint_critical(frame, model, layout);
  const sends = marked.sends ? paint_sends(frame, model, layout) : 0;
  paint_marked(frame, model, layout, marked);
  paint_gutter(frame, model, layout);
  context.fillRect(0, 0, frame.gutter * scale, axis_height * scale);
  context.globalAlpha = 1;
  context.fillStyle = colours.raised;
  context.fillRect(0, 0, frame.width * scale, axis_height * scale);
  paint_axis({ ...frame, height: axis_height });
  return sends;
}

/** The selected slice with what it waited for, and the one under the pointer. */
function paint_marked(frame: Frame, model: Model, layout: Layout, marked: Marked): void {
  for (const slice of [marked.hovered, marked.selected]) {
    if (slice < 0) continue;
    outline(frame, model, layout, slice, slice === marked.selected ? 2 : 1.5);
    if (model.cause[slice] < 0) continue;
    frame.context.globalAlpha = 1;
    frame.context.strokeStyle = frame.colours.ink;
    frame.context.lineWidth = 1.5 * frame.scale;
    arrow(frame, model, layout, slice);
  }
}
