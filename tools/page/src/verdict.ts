// What came of a run, in sentences and in a few large figures.
import { at_path, type Row } from './data';
import { h } from './dom';
import type { Facts } from './facts';
import { percent } from './format';
import { spaced } from './timeline/words';

const share_of = (report: Row, path: string) =>
  Number(at_path(report, path) ?? 0) / Number(report.step_time_s);

/** The first sentence stands large. */
export function verdict(report: Row, facts: Facts): string[] {
  const step = facts.of(report, 'step_time_s');
  const sentences: string[] = [];
  const fits = at_path(report, 'memory.fits');
  if (fits === false)
    sentences.push(
      `It does not fit: ${facts.of(report, 'memory.peak')} of ${facts.of(report, 'memory.capacity')} device memory.`,
    );
  const is_step = report.pipeline !== undefined;
  sentences.push(is_step ? `A step takes ${step}.` : `It takes ${step}.`);
  const breakdown = report.breakdown_s as Row | undefined;
  if (breakdown && is_step) {
    const parts = Object.keys(breakdown)
      .map((name): [string, number] => [
        facts.label(`breakdown_s.${name}`),
        share_of(report, `breakdown_s.${name}`),
      ])
      .filter(([, share]) => share >= 0.0005)
      .sort((a, b) => b[1] - a[1]);
    if (parts.length > 0)
      sentences.push(
        `Of a device's time ${listed(parts.map(([name, share]) => `${percent(share)} is ${name}`))}.`,
      );
  }
  const path = (report.critical_path ?? []) as Row[];
  const main = path.filter((row) => Number(row.share) >= 0.02).slice(0, 4);
  if (is_step && path.length > 1)
    sentences.push(
      `What decides the step, its critical path, is ${listed(
        main.map((row) => `${spaced(String(row.kind))} for ${percent(Number(row.share))}`),
      )}.`,
    );
  if (fits === true)
    sentences.push(
      `It fits: ${facts.of(report, 'memory.peak')} of ${facts.of(report, 'memory.capacity')} on the fullest device.`,
    );
  if (at_path(report, 'expected_error.low_s') !== undefined)
    sentences.push(
      `A measured step is expected between ${facts.of(report, 'expected_error.low_s')} and ` +
        `${facts.of(report, 'expected_error.high_s')} in ${percent(Number(at_path(report, 'expected_error.level')), 0)} of cases; ` +
        `what is least certain: ${facts.of(report, 'expected_error.dominated_by')}.`,
    );
  return sentences;
}

/** A number and its unit stay on one line. */
export const unbroken = (text: string) =>
  text.replace(/(\d) (?=%|[kMGTP]?B\b|[mun]?s\b|min\b|[hd]\b)/g, '$1\u00a0');

export function listed(words: string[]): string {
  return words.length < 2
    ? words.join('')
    : `${words.slice(0, -1).join(', ')} and ${words[words.length - 1]}`;
}

const key_figures = [
  'step_time_s',
  'tokens_per_s_per_device',
  'mfu',
  'exposed_communication_s',
  'bubble_mean',
  'peak_memory',
  'joules_per_token',
  'imbalance_cost_s',
  'goodput.simulated',
  'cost',
];

export function figures(report: Row, facts: Facts): HTMLElement {
  return h(
    'dl',
    { class: 'figures large' },
    key_figures.map((name) => {
      const words = facts.of(report, name);
      if (words === '' || facts.number(report, name) === 0) return null;
      const note = notes[name]?.(report, facts);
      return h(
        'div',
        { 'data-fact': name },
        h('dt', {}, facts.label(name)),
        h('dd', {}, words),
        note && h('dd', { class: 'note' }, note),
      );
    }),
  );
}

const notes: { [name: string]: (report: Row, facts: Facts) => string | undefined } = {
  step_time_s: (report, facts) =>
    at_path(report, 'expected_error.low_s') === undefined
      ? undefined
      : `${facts.of(report, 'expected_error.low_s')} to ${facts.of(report, 'expected_error.high_s')}`,
  tokens_per_s_per_device: (report, facts) => `${facts.of(report, 'tokens_per_s')} in all`,
  mfu: (report, facts) => facts.of(report, 'tflops_per_device'),
  exposed_communication_s: (report) =>
    percent(share_of(report, 'breakdown_s.exposed_communication')) + ' of the step',
  bubble_mean: (report, facts) => `${facts.of(report, 'bubble_fraction')} of the slowest rank`,
  peak_memory: (report, facts) => `of ${facts.of(report, 'memory.capacity')}`,
};
