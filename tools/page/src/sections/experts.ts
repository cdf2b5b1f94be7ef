// How tokens are spread over experts.
import { type Row, type RunData, unpack } from '../data';
import { Chart } from '../charts';
import { h } from '../dom';
import type { Facts } from '../facts';
import { digits, grouped } from '../format';
import { section, type Section } from '../section';
import { table } from '../tables';
import { ramp } from '../theme';
import { ramp_legend } from './links';

interface Layer {
  layer: number;
  over_mean: number[];
  tokens: number[];
}

function heat_of(layers: Layer[]): HTMLElement {
  const row = layers.length > 40 ? 7 : 12;
  const left = 52;
  const most = Math.max(1, ...layers.flatMap((layer) => layer.over_mean));
  const readout = h('p', { class: 'readout', 'aria-live': 'polite' }, '\u00a0');
  const chart = new Chart(
    `Tokens of each expert over the mean, ${layers.length} layers`,
    () => layers.length * row + 4,
    ({ context, colours, width }) => {
      context.font = '11px system-ui, sans-serif';
      context.textBaseline = 'middle';
      layers.forEach((layer, i) => {
        const x = (expert: number) => left + Math.round((expert / layer.over_mean.length) * (width - left));
        layer.over_mean.forEach((share, expert) => {
          context.fillStyle = ramp(share / most, colours);
          context.fillRect(x(expert), i * row, x(expert + 1) - x(expert), row - (row > 8 ? 1 : 0));
        });
        context.fillStyle = colours.muted;
        if (row > 8 || i % 4 === 0) context.fillText(`layer ${layer.layer}`, 0, i * row + row / 2);
      });
    },
  );
  chart.canvas.addEventListener('pointermove', (event) => {
    const box = chart.canvas.getBoundingClientRect();
    const layer = layers[Math.floor((event.clientY - box.top) / row)];
    if (!layer) return;
    const expert = Math.floor(((event.clientX - box.left - left) / (box.width - left)) * layer.tokens.length);
    if (!(expert >= 0 && expert < layer.tokens.length)) return;
    readout.textContent =
      `layer ${layer.layer}, expert ${expert}: ${grouped(layer.tokens[expert])} tokens of those routed, ` +
      `${digits(layer.over_mean[expert], 3)} times the mean`;
  });
  return h(
    'figure',
    {},
    chart.canvas,
    h('figcaption', {}, ramp_legend('none', `${digits(most, 3)} times the mean`), readout),
  );
}

export function expert_section(report: Row, run: RunData | undefined, facts: Facts): Section | undefined {
  const routing = report.routing as Row | undefined;
  if (!routing) return undefined;
  const layers = (run?.experts ?? []).map(({ layer, tokens }): Layer => {
    const counts = unpack(tokens);
    const mean = counts.reduce((all, one) => all + one, 0) / counts.length;
    return { layer, tokens: counts, over_mean: counts.map((count) => (mean > 0 ? count / mean : 0)) };
  });
  const names = [
    'routing.per_expert_tokens.mean',
    'routing.per_expert_tokens.least',
    'routing.per_expert_tokens.most',
    'routing.load_max_over_mean',
    'routing.rank_load_max_over_mean',
    'routing.dropped_token_fraction',
    'routing.padded_row_fraction',
    'routing.imbalance_cost_s',
  ];
  const figures = h(
    'dl',
    { class: 'figures' },
    names.map((name) => {
      const words = facts.of(report, name);
      return words === '' ? null : h('div', {}, h('dt', {}, facts.label(name)), h('dd', {}, words));
    }),
  );
  const busiest = (routing.busiest_experts ?? []) as Row[];
  const note =
    layers.length > 0
      ? 'Tokens of each expert (across) in each layer (down), over the mean expert of the layer.'
      : Number(routing.rank_load_max_over_mean) > 1
        ? 'Loads are given by how far they spread: times are those of the busiest rank of an expert group, for which the others wait.'
        : 'All ranks of an expert group get the same number of tokens.';
  return section(
    'experts',
    'Expert load',
    note,
    layers.length > 0 && heat_of(layers),
    figures,
    busiest.length > 0 &&
      h(
        'details',
        {},
        h('summary', {}, 'Busiest expert of each layer'),
        table(
          'Busiest experts',
          [{ heading: 'layer' }, { heading: 'expert' }, { heading: 'tokens over the mean' }],
          busiest.map((row) => ({
            cells: [String(row.layer), String(row.expert), Number(row.load_max_over_mean).toFixed(3)],
          })),
          true,
        ),
      ),
  );
}
