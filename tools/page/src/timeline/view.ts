// The timeline on the page: canvas, pointer, keys, search, and what is selected in words.
import type { TimelineData } from '../data';
import { fill, h } from '../dom';
import { grouped } from '../format';
import { attach, time_at } from '../gestures';
import { categories, category_words, on_theme, palette } from '../theme';
import type { TimeWindow } from '../window';
import { first_after, type Model, slice_at, unpack_timeline } from './model';
import { band_at, type Layout, layout_of } from './layout';
import { Overview } from './overview';
import { axis_height, type Frame, type Marked, paint } from './paint';
import { details_of, matches, name_of, sentence_of } from './words';

export class Timeline {
  readonly element: HTMLElement;
  readonly model: Model;
  private readonly layout: Layout;
  private readonly canvas = h('canvas', { class: 'lanes' });
  private readonly scroller = h('div', { class: 'scroller' });
  private readonly tip = h('div', { class: 'tip', hidden: true });
  private readonly detail = h('div', { class: 'detail', 'aria-live': 'polite' });
  private readonly status = h('span', { class: 'status', 'aria-live': 'polite' });
  private readonly hint = h('p', { class: 'note' });
  private readonly overview: Overview;
  private readonly marked: Marked = { critical: true, sends: true, selected: -1, hovered: -1 };
  private readonly search = h('input', {
    type: 'search',
    placeholder: 'Search: F12, dispatch, layer 5, rank 3',
    'aria-label': 'Search the timeline',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  private found: Int32Array = new Int32Array(0);
  private found_at = -1;
  private colours = palette();

  constructor(
    data: TimelineData,
    private readonly window: TimeWindow,
  ) {
    this.model = unpack_timeline(data);
    this.layout = layout_of(this.model);
    this.overview = new Overview(this.model, window, () => this.gutter());
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'application');
    this.canvas.setAttribute(
      'aria-label',
      `Timeline with ${grouped(data.actors.length)} rows of lanes, ${grouped(data.count)} slices. ` +
        'Arrow keys go from slice to slice, plus and minus zoom, C goes to what a slice waited for.',
    );
    this.scroller.append(
      this.canvas,
      h('div', { class: 'spacer', style: `height:${this.layout.height + axis_height}px` }),
    );
    this.element = h(
      'div',
      { class: 'timeline' },
      this.toolbar(),
      this.overview.canvas,
      h('div', { class: 'stage' }, this.scroller, this.tip),
      this.legend(),
      this.hint,
      this.detail,
    );
    this.listen();
    this.show_detail();
  }

  private gutter(): number {
    return this.element.clientWidth < 560 ? 46 : 64;
  }

  private toolbar(): HTMLElement {
    const button = (label: string, name: string, action: () => void) =>
      h('button', { type: 'button', title: name, 'aria-label': name, click: action }, label);
    const toggle = (label: string, key: 'critical' | 'sends') =>
      h(
        'label',
        { class: 'toggle' },
        h('input', {
          type: 'checkbox',
          checked: true,
          change: (event: Event) => {
            this.marked[key] = (event.target as HTMLInputElement).checked;
            this.draw();
          },
        }),
        label,
      );
    return h(
      'div',
      { class: 'toolbar', role: 'toolbar', 'aria-label': 'Timeline' },
      button('+', 'Zoom in (+)', () => this.window.zoom(0.5)),
      button('\u2212', 'Zoom out (-)', () => this.window.zoom(2)),
      button('Whole step', 'Show the whole step (0)', () => this.window.show_all()),
      h('span', { class: 'search' }, this.search, this.status),
      toggle('critical path', 'critical'),
      toggle('sends', 'sends'),
    );
  }

  private legend(): HTMLElement {
    const used = new Set(this.model.category);
    const entries = categories
      .filter((_, i) => used.has(i))
      .map((category) =>
        h(
          'li',
          {},
          h('i', { class: 'swatch', style: `background:var(--${category})` }),
          category_words[category],
        ),
      );
    return h(
      'ul',
      { class: 'legend' },
      entries,
      h('li', {}, h('i', { class: 'swatch critical' }), 'critical path'),
    );
  }

  private listen(): void {
    attach({ element: this.canvas, area: () => this.area() }, this.window, (event) => {
      this.canvas.focus({ preventScroll: true });
      this.select(this.slice_under(event) ?? -1);
    });
    this.canvas.addEventListener('pointermove', (event) => this.hover(event));
    this.canvas.addEventListener('pointerleave', () => this.hover());
    this.canvas.addEventListener('keydown', (event) => this.key(event));
    this.scroller.addEventListener('scroll', () => this.draw());
    let typing = 0;
    this.search.addEventListener('input', () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.find(this.search.value), 120) as unknown as number;
    });
    this.search.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.step(event.shiftKey ? -1 : 1);
      if (event.key === 'Escape') {
        this.search.value = '';
        this.find('');
        this.canvas.focus({ preventScroll: true });
      }
    });
    document.addEventListener('keydown', (event) => {
      if (event.key !== '/' || event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      this.search.focus();
    });
    this.window.on_change(() => this.draw());
    on_theme(() => {
      this.colours = palette();
      this.draw_now();
    });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  private area() {
    return { left: this.gutter(), width: this.canvas.clientWidth - this.gutter() };
  }

  private slice_under(event: PointerEvent | MouseEvent): number | undefined {
    const box = this.canvas.getBoundingClientRect();
    const band = band_at(this.layout, event.clientY - box.top - axis_height + this.scroller.scrollTop);
    if (!band || event.clientX - box.left < this.gutter()) return undefined;
    const { width } = this.area();
    const { tick_s } = this.model.data;
    const tick =
      time_at({ element: this.canvas, area: () => this.area() }, this.window, event.clientX) / tick_s;
    return slice_at(this.model, this.model.lanes[band.lane], tick, (this.window.length / width / tick_s) * 3);
  }

  private hover(event?: PointerEvent): void {
    const slice = event && event.buttons === 0 ? (this.slice_under(event) ?? -1) : -1;
    const has_changed = slice !== this.marked.hovered;
    this.marked.hovered = slice;
    this.tip.hidden = slice < 0;
    if (slice >= 0 && event) {
      if (has_changed) fill(this.tip, this.words(slice));
      const box = this.element.querySelector('.stage')!.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const { offsetWidth: width, offsetHeight: height } = this.tip;
      this.tip.style.left = `${Math.max(0, Math.min(box.width - width, x + 14))}px`;
      this.tip.style.top = `${y + 18 + height > box.height && y - height - 12 > 0 ? y - height - 12 : y + 18}px`;
    }
    if (has_changed) this.draw();
  }

  private words(slice: number): Node[] {
    const rows = details_of(this.model, slice).map(([label, words]) => [
      h('dt', {}, label),
      h('dd', {}, words),
    ]);
    return [h('strong', {}, name_of(this.model, slice)), h('dl', {}, rows)];
  }

  select(slice: number, is_revealed = false): void {
    this.marked.selected = slice;
    if (slice >= 0 && is_revealed) {
      const { tick_s } = this.model.data;
      this.window.reveal(this.model.start[slice] * tick_s, this.model.stop[slice] * tick_s);
      const band = this.layout.bands[this.model.lane[slice]];
      const { scrollTop, clientHeight } = this.scroller;
      if (band.top < scrollTop || band.top + band.height > scrollTop + clientHeight - axis_height)
        this.scroller.scrollTop = band.top - clientHeight / 2;
    }
    this.show_detail();
    this.draw();
  }

  private show_detail(): void {
    const slice = this.marked.selected;
    if (slice < 0) {
      fill(
        this.detail,
        h(
          'p',
          { class: 'keys' },
          'Click a slice, or focus the timeline and use ',
          ['\u2190', '\u2192', '\u2191', '\u2193'].map((key) => h('kbd', {}, key)),
          ' to go from slice to slice, ',
          h('kbd', {}, '+'),
          h('kbd', {}, '\u2212'),
          ' to zoom, ',
          h('kbd', {}, '0'),
          ' for the whole step, ',
          h('kbd', {}, 'C'),
          ' for what it waited for, ',
          h('kbd', {}, '/'),
          ' to search. ',
          h('kbd', {}, 'Ctrl'),
          ' and the wheel zoom, dragging moves.',
        ),
      );
      return;
    }
    fill(
      this.detail,
      h('div', { 'data-slice': slice }, this.words(slice)),
      h('p', { class: 'hidden' }, sentence_of(this.model, slice)),
      this.model.cause[slice] >= 0 &&
        h(
          'button',
          {
            type: 'button',
            click: () => this.select(this.model.cause[slice], true),
          },
          'Go to what it waited for',
        ),
    );
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: { [key: string]: () => void } = {
      '+': () => this.window.zoom(0.5),
      '=': () => this.window.zoom(0.5),
      '-': () => this.window.zoom(2),
      '0': () => this.window.show_all(),
      Home: () => this.window.set(0, this.window.length),
      End: () => this.window.set(this.window.end - this.window.length, this.window.end),
      ArrowRight: () => (event.shiftKey ? this.window.pan(this.window.length / 5) : this.walk(1)),
      ArrowLeft: () => (event.shiftKey ? this.window.pan(-this.window.length / 5) : this.walk(-1)),
      ArrowDown: () => this.climb(1),
      ArrowUp: () => this.climb(-1),
      c: () =>
        this.marked.selected >= 0 &&
        this.model.cause[this.marked.selected] >= 0 &&
        this.select(this.model.cause[this.marked.selected], true),
      n: () => this.step(1),
      N: () => this.step(-1),
      Escape: () => this.select(-1),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** To the next slice of the lane, or the first in view. */
  private walk(by: number): void {
    const { selected } = this.marked;
    if (selected < 0) return this.select(this.first_in_view(0));
    const { slices } = this.model.lanes[this.model.lane[selected]];
    const place = Math.max(0, Math.min(slices.length - 1, this.model.place[selected] + by));
    this.select(slices[place], true);
  }

  private first_in_view(lane: number): number {
    const { slices } = this.model.lanes[lane];
    const place = first_after(this.model, this.model.lanes[lane], this.window.from / this.model.data.tick_s);
    return slices[Math.min(slices.length - 1, place)];
  }

  /** To the lane below or above, at the same time. */
  private climb(by: number): void {
    const { selected } = this.marked;
    if (selected < 0) return this.select(this.first_in_view(0));
    const lane = this.model.lane[selected] + by;
    if (lane < 0 || lane >= this.model.lanes.length) return;
    const { slices } = this.model.lanes[lane];
    const place = first_after(this.model, this.model.lanes[lane], this.model.start[selected]);
    this.select(slices[Math.min(slices.length - 1, place)], true);
  }

  find(text: string): void {
    this.marked.found = matches(this.model, text);
    const found: number[] = [];
    this.marked.found?.forEach((is_found, slice) => is_found && found.push(slice));
    this.found = Int32Array.from(found).sort((a, b) => this.model.start[a] - this.model.start[b]);
    this.found_at = -1;
    this.status.textContent = this.marked.found ? `${grouped(found.length)} found` : '';
    this.draw();
  }

  /** To the next of what was found. */
  private step(by: number): void {
    const { length } = this.found;
    if (length === 0) return;
    this.found_at = this.found_at < 0 ? (by > 0 ? 0 : length - 1) : (this.found_at + by + length) % length;
    this.status.textContent = `${grouped(this.found_at + 1)} of ${grouped(length)}`;
    this.select(this.found[this.found_at], true);
  }

  private is_waiting = false;

  draw(): void {
    if (this.is_waiting) return;
    this.is_waiting = true;
    requestAnimationFrame(() => {
      this.is_waiting = false;
      this.draw_now();
    });
  }

  /** Draws, and returns the milliseconds that it took. */
  draw_now(): number {
    const begin = performance.now();
    const width = this.scroller.clientWidth;
    const height = this.scroller.clientHeight;
    if (width === 0) return 0;
    const scale = devicePixelRatio;
    if (
      this.canvas.width !== Math.round(width * scale) ||
      this.canvas.height !== Math.round(height * scale)
    ) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const frame: Frame = {
      context: this.canvas.getContext('2d', { alpha: false })!,
      width,
      height,
      gutter: this.gutter(),
      scale,
      scroll: this.scroller.scrollTop,
      window: this.window,
      colours: this.colours,
    };
    const sends = paint(frame, this.model, this.layout, this.marked);
    this.overview.draw(this.colours);
    this.say(sends);
    return performance.now() - begin;
  }

  private said = '';
  private say(sends: number): void {
    const { left_out } = this.model.data;
    const words = [
      left_out ? `${left_out[0].toUpperCase()}${left_out.slice(1)}.` : '',
      sends > 300 ? `${grouped(sends)} sends are in view; their arrows appear when you zoom in.` : '',
    ]
      .join(' ')
      .trim();
    if (words === this.said) return;
    this.said = words;
    this.hint.textContent = words;
  }
}
