// How busy links are over time: a row of links a line, darker where they carry more of what they can.
import { type Row, type RunData, unpack } from '../data';
import { Chart, legend, type Pen } from '../charts';
import { h } from '../dom';
import { bytes, percent, time } from '../format';
import { time_at } from '../gestures';
import { paint_time_axis } from '../pipeline';
import { section, type Section } from '../section';
import { table } from '../tables';
import { ramp } from '../theme';
import { spaced } from '../timeline/words';
import type { TimeWindow } from '../window';
import { communication_table } from './times';

const axis = 22;

interface HeatRow {
  group: string;
  name: string;
  values: number[]; // in [0, 1]
}

class Heat {
  readonly chart: Chart;
  readonly readout = h('p', { class: 'readout', 'aria-live': 'polite' }, '\u00a0');
  private readonly tops: number[] = [];
  private readonly row: number;
  private readonly height: number;

  constructor(
    private readonly rows: HeatRow[],
    private readonly window: TimeWindow,
    label: string,
  ) {
    this.row = rows.length > 60 ? 7 : rows.length > 24 ? 10 : 16;
    let y = axis;
    rows.forEach((row, i) => {
      if (i === 0 || rows[i - 1].group !== row.group) y += 20;
      this.tops.push(y);
      y += this.row;
    });
    this.height = y + 4;
    this.chart = new Chart(
      label,
      () => this.height,
      (pen) => this.paint(pen),
    );
    window.on_change(() => this.chart.draw());
    this.chart.canvas.addEventListener('pointermove', (event) => this.show(event));
  }

  private show(event: PointerEvent): void {
    const { canvas } = this.chart;
    const y = event.clientY - canvas.getBoundingClientRect().top;
    const i = this.tops.findIndex((top) => y >= top && y < top + this.row);
    const area = { left: 0, width: canvas.clientWidth };
    const seconds = time_at({ element: canvas, area: () => area }, this.window, event.clientX);
    const { values, group, name } = this.rows[i] ?? {};
    if (!values) return;
    const span = Math.max(
      0,
      Math.min(values.length - 1, Math.floor((seconds / this.window.end) * values.length)),
    );
    this.readout.textContent = `${spaced(group)}, ${name}, at ${time(seconds)}: ${percent(values[span])} of what they can carry`;
  }

  private paint(pen: Pen): void {
    const { context, colours, width } = pen;
    const { window } = this;
    this.rows.forEach((row, i) => {
      const top = this.tops[i];
      if (i === 0 || this.rows[i - 1].group !== row.group) {
        context.fillStyle = colours.ink;
        context.font = '12px system-ui, sans-serif';
        context.textBaseline = 'alphabetic';
        context.fillText(spaced(row.group), 0, top - 6);
      }
      const count = row.values.length;
      const first = Math.floor((window.from / window.end) * count);
      const last = Math.min(count, Math.ceil((window.to / window.end) * count));
      const x = (span: number) => (((span / count) * window.end - window.from) / window.length) * width;
      for (let span = first; span < last; ++span) {
        context.fillStyle = ramp(row.values[span], colours);
        const from = Math.floor(x(span));
        context.fillRect(from, top, Math.ceil(x(span + 1)) - from, this.row - (this.row > 8 ? 1 : 0));
      }
    });
    paint_axis_only(pen, window);
  }
}

function paint_axis_only(pen: Pen, window: TimeWindow): void {
  paint_time_axis({ ...pen, height: axis - 4 }, window, 0, axis);
}

export function ramp_legend(from: string, to: string): HTMLElement {
  return h('p', { class: 'ramp' }, from, h('i', {}), to);
}

export function link_section(report: Row, run: RunData, window: TimeWindow): Section | undefined {
  const classes = Object.entries(
    ((report.communication as Row | undefined)?.per_link_class ?? {}) as { [name: string]: Row },
  );
  const communication = communication_table(report);
  if (classes.length === 0 && !communication) return undefined;
  const content: Node[] = [];
  if (communication)
    content.push(
      legend([
        ['exposed', 'exchange'],
        ['while something computes', 'hidden'],
      ]),
      communication,
    );
  if (run.links) {
    const rows = run.links.rows.map(
      (row): HeatRow => ({
        group: row.class,
        name: row.name,
        values: unpack(row.use).map((share) => share / 255),
      }),
    );
    const heat = new Heat(rows, window, `Use of ${rows.length} rows of links over the step`);
    content.push(
      h('h3', {}, 'Use of links over time'),
      h(
        'figure',
        {},
        heat.chart.canvas,
        h('figcaption', {}, ramp_legend('idle', 'all they can carry'), heat.readout),
      ),
    );
  }
  const rows = classes.map(([name, row]) => ({
    cells: [
      spaced(name),
      bytes(Number(row.bytes)),
      percent(Number(row.mean_utilization)),
      percent(Number(row.max_utilization)),
    ],
  }));
  content.push(
    table(
      'Links',
      [
        { heading: 'links', is_text: true },
        { heading: 'bytes' },
        { heading: 'mean use' },
        { heading: 'most use' },
      ],
      rows,
    ),
  );
  return section(
    'links',
    'Communication and links',
    'Bytes of all devices together; times are means over devices.',
    content,
  );
}
