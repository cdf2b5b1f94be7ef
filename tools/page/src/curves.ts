// Points and lines over two axes, by uPlot.
import uPlot from 'uplot';
import { h } from './dom';
import { on_theme, palette } from './theme';

export interface Line {
  name: string;
  values: (number | null)[];
  has_line: boolean;
  is_strong?: boolean;
}

export interface Plot {
  label: string; // for who cannot see it
  x: number[]; // rising
  x_name: string;
  x_words: (value: number) => string;
  x_splits?: number[];
  y_name: string;
  y_words: (value: number) => string;
  lines: Line[];
  say?: (index: number | null) => void;
}

const hues = [
  'forward',
  'exchange',
  'backward',
  'context',
  'gradient',
  'weight',
  'pipeline',
  'update',
] as const;
const dashes = [undefined, [8, 4], [2, 3]];

export const hue_of = (i: number) => hues[i % hues.length];

export function curves(plot: Plot): HTMLElement {
  const box = h('div', { class: 'curves', role: 'img', 'aria-label': plot.label });
  let drawn: uPlot | undefined;
  const make = () => {
    drawn?.destroy();
    drawn = new uPlot(
      options(plot, box.clientWidth || 600),
      [plot.x, ...plot.lines.map((line) => line.values)] as uPlot.AlignedData,
      box,
    );
  };
  on_theme(make);
  requestAnimationFrame(make);
  new ResizeObserver(() => drawn?.setSize({ width: box.clientWidth, height: 320 })).observe(box);
  return box;
}

function options(plot: Plot, width: number): uPlot.Options {
  const colours = palette();
  const axis = {
    stroke: colours.muted,
    grid: { stroke: colours.line, width: 1 },
    ticks: { show: false },
    font: '11px system-ui, sans-serif',
    labelFont: '12px system-ui, sans-serif',
    labelSize: 20,
  };
  return {
    width,
    height: 320,
    padding: [10, 34, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false } },
    axes: [
      {
        ...axis,
        label: plot.x_name,
        values: (_, marks) => marks.map(plot.x_words),
        ...(plot.x_splits ? { splits: () => plot.x_splits! } : {}),
      },
      { ...axis, label: plot.y_name, size: 70, values: (_, marks) => marks.map(plot.y_words) },
    ],
    series: [
      {},
      ...plot.lines.map(
        (line, i): uPlot.Series => ({
          label: line.name,
          stroke: colours.of[hue_of(i)],
          width: line.has_line ? 2 : 0,
          spanGaps: true,
          dash: dashes[Math.floor(i / hues.length) % dashes.length],
          paths: line.has_line ? undefined : () => null,
          points: {
            show: true,
            size: line.is_strong ? 10 : 6,
            fill: line.has_line ? colours.raised : colours.of[hue_of(i)],
          },
        }),
      ),
    ],
    hooks: { setCursor: [(drawn) => plot.say?.(drawn.cursor.idx ?? null)] },
  };
}
