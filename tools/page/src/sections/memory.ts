// Device memory by part over time, against what a device has.
import uPlot from 'uplot';
import { type Row, type RunData, unpack_sums } from '../data';
import { bar, legend } from '../charts';
import { h } from '../dom';
import type { Facts } from '../facts';
import { bytes, time } from '../format';
import { section, type Section } from '../section';
import { table, type TableRow } from '../tables';
import { type Category, on_theme, palette } from '../theme';
import type { TimeWindow } from '../window';

type Parts = { [part: string]: number };
const parts: [name: string, colour: Category | 'bubble'][] = [
  ['parameters', 'forward'],
  ['gradients', 'gradient'],
  ['optimizer', 'update'],
  ['buffers', 'host'],
  ['driver', 'pipeline'],
  ['channels', 'other'],
  ['activations', 'exchange'],
];

const gigabytes = (count: number) => count / 1e9;

class Curves {
  readonly box = h('div', { class: 'curves' });
  private plot: uPlot | undefined;

  constructor(
    private readonly spans: number,
    private readonly ranks: { low: string; high: string }[],
    private readonly stages: Parts[],
    private readonly capacity: number,
    private readonly window: TimeWindow,
    public rank: number,
  ) {
    this.box.setAttribute('role', 'img');
    on_theme(() => this.make());
    window.on_change(() => this.plot?.setScale('x', { min: window.from, max: window.to }));
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: 260 })).observe(
      this.box,
    );
  }

  make(): void {
    this.plot?.destroy();
    const stage = this.stages[this.rank];
    const width = this.box.clientWidth || 600;
    this.box.setAttribute(
      'aria-label',
      `Memory of pipeline rank ${this.rank} over the step, at most ` +
        `${bytes(stage.total)} of ${bytes(this.capacity)}`,
    );
    this.plot = new uPlot(this.options(width, stage), this.data(stage), this.box);
    this.plot.setScale('x', { min: this.window.from, max: this.window.to });
  }

  /** Each part on top of those before it. */
  private data(stage: Parts): uPlot.AlignedData {
    const high = unpack_sums(this.ranks[this.rank].high).map((kilobytes) => kilobytes * 1000);
    const x = high.map((_, i) => ((i + 0.5) / this.spans) * this.window.end);
    const stacks: number[][] = [];
    let below = 0;
    for (const [name] of parts) {
      const base = below;
      if (name === 'activations') stacks.push(high.map((count) => gigabytes(base + count)));
      else stacks.push(high.map(() => gigabytes(base + stage[name])));
      below += stage[name] ?? 0;
    }
    return [x, ...stacks.reverse(), x.map(() => gigabytes(this.capacity))];
  }

  private options(width: number, stage: Parts): uPlot.Options {
    const colours = palette();
    const axis = {
      stroke: colours.muted,
      grid: { stroke: colours.line, width: 1 },
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
    };
    const series: uPlot.Series[] = [...parts].reverse().map(([name, colour]) => ({
      label: name,
      stroke: colours.of[colour as Category],
      fill: colours.of[colour as Category],
      width: 0.5,
      points: { show: false },
      value: (_, value) => (value === null ? '' : `up to ${bytes(value * 1e9)}`),
    }));
    return {
      width,
      height: 260,
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { show: false },
      scales: {
        x: { time: false },
        y: { range: [0, gigabytes(Math.max(this.capacity, stage.total)) * 1.06] },
      },
      axes: [
        { ...axis, values: (_, marks) => marks.map((mark) => time(Number(mark.toPrecision(6)))) },
        { ...axis, size: 58, values: (_, marks) => marks.map((mark) => (mark === 0 ? '0' : `${mark} GB`)) },
      ],
      series: [
        {},
        ...series,
        { label: 'capacity', stroke: colours.ink, width: 1.5, dash: [6, 4], points: { show: false } },
      ],
      hooks: { setCursor: [(plot) => this.show(plot.cursor.idx ?? null)] },
    };
  }

  readonly readout = h('p', { class: 'readout', 'aria-live': 'polite' }, '\u00a0');

  private show(index: number | null): void {
    if (index === null) return;
    const [low, high] = [this.ranks[this.rank].low, this.ranks[this.rank].high].map(
      (text) => unpack_sums(text)[index] * 1000,
    );
    const rest = this.stages[this.rank].total - this.stages[this.rank].activations;
    this.readout.textContent =
      `rank ${this.rank}, at ${time(((index + 0.5) / this.spans) * this.window.end)}: activations ` +
      `${low === high ? bytes(high) : `${bytes(low)} to ${bytes(high)}`}, in all up to ${bytes(rest + high)}`;
  }
}

export function memory_section(
  report: Row,
  run: RunData | undefined,
  facts: Facts,
  window: TimeWindow | undefined,
): Section | undefined {
  const memory = report.memory as Row | undefined;
  const stages = memory?.per_stage as Parts[] | undefined;
  if (!memory || !stages) return undefined;
  const capacity = Number(memory.capacity);
  const fullest = stages.reduce((best, stage, i) => (stage.total > stages[best].total ? i : best), 0);
  const content: Node[] = [legend(parts.map(([name, colour]) => [name, colour]))];
  if (run?.memory && window) {
    const shown = Math.min(fullest, run.memory.ranks.length - 1);
    const curves = new Curves(run.memory.spans, run.memory.ranks, stages, capacity, window, shown);
    const choice = h(
      'select',
      {
        'aria-label': 'Pipeline rank',
        change: () => {
          curves.rank = Number(choice.value);
          curves.make();
        },
      },
      run.memory.ranks.map((_, i) => h('option', { value: i, selected: i === shown }, `rank ${i}`)),
    );
    content.push(
      h('p', { class: 'controls' }, 'Over the step, on ', choice, ', of which the dashed line is capacity'),
      h('figure', {}, curves.box, h('figcaption', {}, curves.readout)),
    );
    requestAnimationFrame(() => curves.make());
  }
  const most = Math.max(capacity, stages[fullest].total);
  const rows = stages.map(
    (stage, i): TableRow => ({
      mark: stage.total > capacity ? 'bad' : undefined,
      cells: [
        `rank ${i}`,
        { shown: bar(parts.map(([name, colour]) => ({ name, share: (stage[name] ?? 0) / most, colour }))) },
        ...[...parts.map(([name]) => name), 'total'].map((name) => bytes(stage[name] ?? 0)),
      ],
    }),
  );
  content.push(
    table(
      'Memory by rank',
      [
        { heading: '', is_text: true },
        { heading: '', is_bar: true },
        ...[...parts.map(([name]) => name), 'total'].map((heading) => ({ heading })),
      ],
      rows,
    ),
  );
  return section(
    'memory',
    'Memory',
    `${facts.of(report, 'memory.peak')} of ${facts.of(report, 'memory.capacity')} on rank ${fullest}, the fullest: ` +
      `${memory.fits ? 'fits' : 'DOES NOT FIT'}. Bars are the most that a rank holds.`,
    content,
  );
}
