// Colours: hues of Okabe and Ito (2008), which readers with any colour vision tell apart, a little lighter on
// dark ground. Style sheets and canvases share them through custom properties.

export const categories = [
  'forward',
  'backward',
  'weight',
  'other',
  'exchange',
  'context',
  'pipeline',
  'gradient',
  'update',
  'host',
] as const;
export type Category = (typeof categories)[number];

export const category_words: { [category in Category]: string } = {
  forward: 'forward',
  backward: 'backward',
  weight: 'weight gradient',
  other: 'other computation',
  exchange: 'dispatch and combine',
  context: 'tensor and context',
  pipeline: 'pipeline sends',
  gradient: 'gradients and parameters',
  update: 'optimizer',
  host: 'host and copies',
};

const exchanges = ['dispatch', 'combine', 'dispatch_backward', 'combine_backward'];

/** What a task's colour says. */
export function category_of(activity: string, pass: string, stream: number): Category {
  if (stream >= 4) return 'host';
  if (activity === 'pipeline') return 'pipeline';
  if (activity === 'gradient' || activity === 'parameter' || stream === 3) return 'gradient';
  if (exchanges.includes(activity)) return 'exchange';
  if (stream === 1) return activity === '' ? 'exchange' : 'context';
  if (activity === 'optimizer') return 'update';
  if (pass === 'forward') return 'forward';
  if (pass === 'backward_weight') return 'weight';
  return pass === 'none' ? 'other' : 'backward';
}

export interface Palette {
  ground: string;
  raised: string;
  ink: string;
  muted: string;
  line: string;
  accent: string;
  ramp: number[][]; // red, green, blue
  of: { [category in Category]: string };
}

const property = (styles: CSSStyleDeclaration, name: string) => styles.getPropertyValue(name).trim();

export function palette(): Palette {
  const styles = getComputedStyle(document.documentElement);
  const of = {} as Palette['of'];
  for (const category of categories) of[category] = property(styles, `--${category}`);
  return {
    ground: property(styles, '--ground'),
    raised: property(styles, '--raised'),
    ink: property(styles, '--ink'),
    muted: property(styles, '--muted'),
    line: property(styles, '--line'),
    accent: property(styles, '--accent'),
    ramp: [0, 1, 2, 3, 4].map((i) => {
      const colour = property(styles, `--ramp-${i}`);
      return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    }),
    of,
  };
}

type Listener = () => void;
const listeners: Listener[] = [];

/** Calls back when colours change, also for print. */
export function on_theme(listener: Listener): void {
  listeners.push(listener);
}

export function theme_changed(): void {
  for (const listener of listeners) listener();
}

export function watch_theme(): void {
  for (const query of ['(prefers-color-scheme: dark)', 'print'])
    matchMedia(query).addEventListener('change', theme_changed);
  addEventListener('beforeprint', theme_changed);
  addEventListener('afterprint', theme_changed);
}

/** A step from nothing to all of a sequential scale, from ground to one strong hue. */
export function ramp(share: number, { ramp: stops }: Palette): string {
  const place = Math.max(0, Math.min(0.9999, share)) * (stops.length - 1);
  const i = Math.floor(place);
  const mixed = stops[i].map((low, k) => Math.round(low + (stops[i + 1][k] - low) * (place - i)));
  return `rgb(${mixed.join(' ')})`;
}
