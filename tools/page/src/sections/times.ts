// Where the time goes: by rank, by step of training, by class of kernel, by communication.
import type { RankTimes, Row } from '../data';
import { bar, legend, type Part } from '../charts';
import type { Facts } from '../facts';
import { bytes, grouped, percent, time } from '../format';
import { section, type Section } from '../section';
import { type Column, table, type TableRow } from '../tables';
import { spaced } from '../timeline/words';

const sum = (numbers: number[]) => numbers.reduce((all, one) => all + one, 0);
const number = (row: Row, key: string) => (typeof row[key] === 'number' ? (row[key] as number) : 0);

function parts_of(rank: RankTimes, step: number): Part[] {
  return [
    { name: 'compute', share: rank.compute_s / step, colour: 'forward' },
    { name: 'optimizer', share: rank.optimizer_s / step, colour: 'update' },
    { name: 'exposed communication', share: sum(Object.values(rank.exposed_s)) / step, colour: 'exchange' },
    { name: 'held up by the host', share: rank.host_s / step, colour: 'host' },
    { name: 'bubble', share: rank.bubble_s / step, colour: 'bubble' },
  ];
}

/** Of the whole, and of each rank. */
export function time_section(report: Row, ranks: RankTimes[] | undefined, facts: Facts): Section {
  const step = number(report, 'step_time_s');
  const rows: TableRow[] = (ranks ?? []).map((rank, i) => rank_row(`rank ${i}`, rank, step));
  const mean = mean_of(report);
  if (mean) rows.unshift(rank_row('mean over devices', mean, step));
  const all = mean ? [mean, ...(ranks ?? [])] : (ranks ?? []);
  const parts = all.flatMap((rank) => parts_of(rank, step)).filter((part) => part.share > 0);
  const keys = [...new Map(parts.map((part): [string, string] => [part.name, part.colour]))];
  const columns: Column[] = [
    { heading: '', is_text: true },
    { heading: '', is_bar: true },
    { heading: facts.label('breakdown_s.compute') },
    { heading: facts.heading('breakdown_s.exposed_communication') },
    { heading: 'most of it' },
    { heading: facts.label('breakdown_s.bubble') },
  ];
  return section(
    'time',
    'Where the time goes',
    'What each pipeline rank does over the step, mean over its devices. Exposed is communication while nothing computes; ' +
      'bubble is time in which nothing goes on.',
    legend(keys),
    table('Time by rank', columns, rows),
  );
}

function mean_of(report: Row): RankTimes | undefined {
  const breakdown = report.breakdown_s as Row | undefined;
  if (!breakdown) return undefined;
  const exposed: { [phase: string]: number } = {};
  for (const [phase, of] of Object.entries((report.communication ?? {}) as Row))
    if (phase !== 'per_link_class') exposed[phase] = number(of as Row, 'exposed_s');
  return {
    compute_s: number(breakdown, 'compute'),
    exposed_s: exposed,
    optimizer_s: number(breakdown, 'optimizer'),
    host_s: number(breakdown, 'host'),
    bubble_s: number(breakdown, 'bubble'),
  };
}

function rank_row(name: string, rank: RankTimes, step: number): TableRow {
  const exposed = Object.entries(rank.exposed_s).sort((a, b) => b[1] - a[1]);
  const total = sum(exposed.map(([, seconds]) => seconds));
  const most = exposed[0] && exposed[0][1] > 0 ? `${spaced(exposed[0][0])} ${time(exposed[0][1])}` : '';
  return {
    cells: [
      name,
      { shown: bar(parts_of(rank, step)) },
      `${time(rank.compute_s)} · ${percent(rank.compute_s / step)}`,
      `${time(total)} · ${percent(total / step)}`,
      most,
      `${time(rank.bubble_s)} · ${percent(rank.bubble_s / step)}`,
    ],
  };
}

export function kernel_section(report: Row, facts: Facts): Section | undefined {
  const kernels = report.kernels as { [name: string]: Row } | undefined;
  if (!kernels) return undefined;
  const most = Math.max(...Object.values(kernels).map((row) => number(row, 'time_s')));
  const has_energy = Object.values(kernels).some((row) => row.joules !== undefined);
  const columns: Column[] = [
    { heading: 'class', is_text: true },
    { heading: '', is_bar: true },
    { heading: 'time' },
    { heading: 'of the step' },
    { heading: 'bytes' },
    { heading: 'launches' },
  ];
  if (has_energy) columns.push({ heading: 'energy' });
  const step = number(report, 'step_time_s');
  const rows = Object.entries(kernels).map(([name, row]): TableRow => {
    const seconds = number(row, 'time_s');
    const cells = [
      facts.label(`kernels.${name}.time_s`),
      { shown: bar([{ name, share: seconds / most, colour: 'forward' }]) },
      time(seconds),
      percent(seconds / step),
      row.bytes === undefined ? '' : bytes(number(row, 'bytes')),
      row.launches === undefined ? '' : grouped(number(row, 'launches')),
    ];
    if (has_energy) cells.push(facts.print(`kernels.${name}.joules`, row.joules));
    return { cells };
  });
  return section(
    'kernels',
    'Kernels by class',
    'Of a device in a step, mean over devices.',
    table('Kernels by class', columns, rows),
  );
}

export function step_section(report: Row): Section | undefined {
  const steps = report.steps as Row[] | undefined;
  if (!steps) return undefined;
  const most = Math.max(...steps.map((row) => number(row, 'compute_s') + number(row, 'exposed_s')));
  const or_blank = (value: number, print: (value: number) => string) => (value === 0 ? '' : print(value));
  const rows = steps.map((row): TableRow => {
    const [compute, exposed] = [number(row, 'compute_s'), number(row, 'exposed_s')];
    return {
      cells: [
        spaced(String(row.step)) + (row.part ? `: ${spaced(String(row.part))}` : ''),
        {
          shown: bar([
            { name: 'compute', share: compute / most, colour: 'forward' },
            { name: 'exposed communication', share: exposed / most, colour: 'exchange' },
          ]),
        },
        or_blank(compute, time),
        or_blank(number(row, 'communication_s'), time),
        or_blank(exposed, time),
        or_blank(number(row, 'bytes'), bytes),
      ],
    };
  });
  return section(
    'steps',
    'Steps of training',
    'Computation and exposed communication, mean over devices.',
    table(
      'Steps of training',
      [
        { heading: 'step', is_text: true },
        { heading: '', is_bar: true },
        { heading: 'compute' },
        { heading: 'communication' },
        { heading: 'exposed' },
        { heading: 'bytes' },
      ],
      rows,
    ),
  );
}

export function communication_table(report: Row): HTMLElement | undefined {
  const phases = Object.entries((report.communication ?? {}) as { [phase: string]: Row }).filter(
    ([name]) => name !== 'per_link_class',
  );
  if (phases.length === 0) return undefined;
  const most = Math.max(...phases.map(([, row]) => number(row, 'busy_s')));
  const rows = phases.map(([name, row]): TableRow => {
    const [busy, exposed] = [number(row, 'busy_s'), number(row, 'exposed_s')];
    return {
      cells: [
        spaced(name),
        {
          shown: bar([
            { name: 'exposed', share: exposed / most, colour: 'exchange' },
            { name: 'hidden', share: Math.max(0, busy - exposed) / most, colour: 'hidden' },
          ]),
        },
        bytes(number(row, 'bytes')),
        grouped(number(row, 'messages')),
        time(busy),
        time(exposed),
        row.waiting_s === undefined ? '' : time(number(row, 'waiting_s')),
      ],
    };
  });
  return table(
    'Communication',
    [
      { heading: '', is_text: true },
      { heading: '', is_bar: true },
      { heading: 'bytes' },
      { heading: 'messages' },
      { heading: 'in flight' },
      { heading: 'exposed' },
      { heading: 'waiting for peers' },
    ],
    rows,
  );
}

export function critical_section(report: Row): Section | undefined {
  const path = (report.critical_path ?? []) as Row[];
  if (path.length === 0) return undefined;
  const rows = path.map((row): TableRow => {
    const share = number(row, 'share');
    const name = spaced(String(row.kind));
    return { cells: [name, { shown: bar([{ name, share, colour: 'forward' }]) }, percent(share)] };
  });
  return section(
    'critical',
    'Critical path',
    'The chain of tasks that decided the end of the step, by what they are.',
    table(
      'Critical path',
      [{ heading: '', is_text: true }, { heading: '', is_bar: true }, { heading: 'of the step' }],
      rows,
    ),
  );
}
