// Slices in words.
import { time } from '../format';
import { actor_of, type Model, rank_of } from './model';

const pass_letters: { [pass: string]: string } = {
  none: '',
  forward: 'F',
  backward_input: 'B',
  backward_weight: 'W',
  backward: 'BW',
};
const pass_words: { [pass: string]: string } = {
  none: '',
  forward: 'forward',
  backward_input: 'backward for inputs',
  backward_weight: 'weight gradient',
  backward: 'backward',
};

export const spaced = (name: string) => name.replaceAll('_', ' ');

/** "F12 attention". */
export function name_of(model: Model, slice: number): string {
  const [activity, pass] = model.data.kinds[model.kind[slice]];
  const letter = pass_letters[pass] ?? '';
  const microbatch = letter !== '' && model.microbatch[slice] >= 0 ? String(model.microbatch[slice]) : '';
  const what = activity === 'pass' ? '' : spaced(activity);
  return [letter + microbatch, what].filter((word) => word !== '').join(' ') || 'task';
}

/** Everything that a search looks at: of its kind and rank, which many share, and of the slice. */
function shared_words(model: Model, slice: number): string {
  const [activity, pass, chunk, stream, , overlapped] = model.data.kinds[model.kind[slice]];
  const words = [
    activity,
    spaced(activity),
    pass,
    pass_words[pass],
    model.data.streams[stream],
    `rank ${rank_of(model, slice)}`,
  ];
  if (chunk >= 0) words.push(`chunk ${chunk}`);
  if (overlapped) words.push('overlapped');
  return words.join(' ').toLowerCase();
}

function own_words(model: Model, slice: number): string {
  let words = ` ${name_of(model, slice).toLowerCase()} `;
  if (model.microbatch[slice] >= 0) words += `microbatch ${model.microbatch[slice]} `;
  if (model.layer[slice] >= 0) words += `layer ${model.layer[slice]} `;
  return model.critical[slice] ? `${words}critical ` : words;
}

/** What a slice is, in parts. */
export function details_of(model: Model, slice: number): [label: string, words: string][] {
  const [, pass, chunk, stream, , overlapped] = model.data.kinds[model.kind[slice]];
  const { tick_s } = model.data;
  const seconds = (ticks: number) => time(ticks * tick_s);
  const rows: [string, string][] = [
    ['on', `${model.data.actors[actor_of(model, slice)].name}, ${model.data.streams[stream]}`],
    ['when', `${seconds(model.start[slice])} to ${seconds(model.stop[slice])}`],
    ['takes', seconds(model.stop[slice] - model.start[slice])],
  ];
  const where = [
    pass === 'none' ? '' : (pass_words[pass] ?? pass),
    model.microbatch[slice] >= 0 ? `microbatch ${model.microbatch[slice]}` : '',
    model.layer[slice] >= 0 ? `layer ${model.layer[slice]}` : '',
    chunk >= 0 ? `chunk ${chunk}` : '',
    overlapped ? 'overlapped' : '',
  ].filter((word) => word !== '');
  if (where.length > 0) rows.push(['is of', where.join(', ')]);
  const wait = wait_of(model, slice);
  if (wait !== '') rows.push(['waited', wait]);
  if (model.critical[slice]) rows.push(['', 'on the critical path']);
  return rows;
}

/** For whom it waited, and how long its lane was idle before. */
export function wait_of(model: Model, slice: number): string {
  const lane = model.lanes[model.lane[slice]];
  const place = model.place[slice];
  const idle_from = place > 0 ? model.stop[lane.slices[place - 1]] : 0;
  const idle = time((model.start[slice] - idle_from) * model.data.tick_s);
  const cause = model.cause[slice];
  if (cause < 0) return '';
  const whom = `for ${name_of(model, cause)}`;
  const where =
    actor_of(model, cause) === actor_of(model, slice)
      ? ''
      : ` on ${model.data.actors[actor_of(model, cause)].name}`;
  return model.start[slice] > idle_from ? `${whom}${where}, the lane idle for ${idle}` : whom + where;
}

/** One sentence, as a screen reader says it. */
export function sentence_of(model: Model, slice: number): string {
  const details = details_of(model, slice).map(([label, words]) =>
    label === '' ? words : `${label} ${words}`,
  );
  return `${name_of(model, slice)}: ${details.join('; ')}`;
}

/** Which slices have every word of the text; undefined for an empty text. "f12" is the pass, not F120. */
export function matches(model: Model, text: string): Uint8Array | undefined {
  const wanted = text.toLowerCase().trim().replace(/\s+/g, ' ');
  if (wanted === '') return undefined;
  const terms = wanted
    .replace(/(rank|microbatch|layer|chunk) (\d+)/g, '$1\u00a0$2')
    .split(' ')
    .map((term) => term.replace('\u00a0', ' '));
  const is_whole = terms.map((term) => /\d$/.test(term));
  const found = new Uint8Array(model.count);
  const shared = new Map<number, string>();
  for (let i = 0; i < model.count; ++i) {
    const key = model.kind[i] * 65536 + rank_of(model, i);
    let words = shared.get(key);
    if (words === undefined) shared.set(key, (words = shared_words(model, i)));
    const all = `${own_words(model, i)}${words} `;
    found[i] = terms.every((term, k) => all.includes(is_whole[k] ? ` ${term} ` : term)) ? 1 : 0;
  }
  return found;
}
