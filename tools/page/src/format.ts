// Numbers as the text report prints them (models/base/units.cpp, sim/report/fact_print.cpp).

type Scale = readonly [size: number, unit: string];

const times: Scale[] = [
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'us'],
  [1e-9, 'ns'],
  [1e-12, 'ps'],
];
const sizes: Scale[] = [
  [1e15, 'PB'],
  [1e12, 'TB'],
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
  [1, 'B'],
];
const flops: Scale[] = [
  [1e18, 'EFLOP'],
  [1e15, 'PFLOP'],
  [1e12, 'TFLOP'],
  [1e9, 'GFLOP'],
  [1e6, 'MFLOP'],
  [1, 'FLOP'],
];
const flop_rates: Scale[] = [
  [1e18, 'EFLOPS'],
  [1e15, 'PFLOPS'],
  [1e12, 'TFLOPS'],
  [1e9, 'GFLOPS'],
  [1, 'FLOPS'],
];
const powers: Scale[] = [
  [1e6, 'MW'],
  [1e3, 'kW'],
  [1, 'W'],
];
const energies: Scale[] = [
  [1e12, 'TJ'],
  [1e9, 'GJ'],
  [1e6, 'MJ'],
  [1e3, 'kJ'],
  [1, 'J'],
  [1e-3, 'mJ'],
  [1e-6, 'uJ'],
  [1e-12, 'pJ'],
];

/** So many digits behind the point; what lies half-way goes to the even one, as in C. */
export function fixed(number: number, behind: number): string {
  const power = 10 ** behind;
  const size = Math.abs(number) * power;
  const is_tie = size - Math.floor(size) === 0.5 && size / power === Math.abs(number);
  if (!is_tie) return number.toFixed(behind);
  const even = 2 * Math.round(size / 2);
  return ((Math.sign(number) * even) / power).toFixed(behind);
}

/** Significant digits without zeros behind them, as C's %.4g. */
export function digits(number: number, count = 4): string {
  if (number === 0 || !Number.isFinite(number)) return String(number);
  const [mantissa, power] = number.toExponential(count - 1).split('e');
  const exponent = Number(power);
  const trimmed = (text: string) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
  if (exponent < -4 || exponent >= count) {
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${trimmed(mantissa)}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  return trimmed(fixed(number, Math.max(0, count - 1 - exponent)));
}

/** The nearest whole number with commas. */
export function grouped(number: number): string {
  return fixed(number, 0).replace(/\B(?=(\d{3})+$)/g, ',');
}

function scaled(number: number, scales: readonly Scale[]): string {
  const size = Math.abs(number);
  const last = scales[scales.length - 1];
  const [most, largest] = scales[0];
  // Beyond the largest unit four digits would turn into powers of ten.
  if (size >= most * 9999.5) return `${fixed(number / most, 0)} ${largest}`;
  const [unit_size, unit] = scales.find(([one]) => size >= one * 0.99995) ?? last;
  return `${digits(number / unit_size)} ${unit}`;
}

export function time(seconds: number): string {
  if (seconds === 0) return '0 s';
  const size = Math.abs(seconds);
  if (size < 300) return scaled(seconds, times);
  if (size < 2 * 3600) return `${digits(seconds / 60)} min`;
  return size < 2 * 86400 ? `${digits(seconds / 3600)} h` : scaled(seconds, [[86400, 'd']]);
}

export const bytes = (count: number) => scaled(count, sizes);
export const percent = (share: number, behind = 1) => `${fixed(100 * share, behind)} %`;

function in_unit(number: number, unit: string): string {
  const text = Math.abs(number) < 999.95 ? digits(number) : grouped(number);
  return unit === '' ? text : `${text} ${unit}`;
}

/** A number of a fact in its unit; `behind` is digits behind the point of shares and ratios. */
export function print_number(number: number, unit: string, behind: number): string {
  switch (unit) {
    case 's':
      return time(number);
    case 'B':
      return bytes(number);
    case 'share':
      return percent(number, behind);
    case 'ratio':
      return fixed(number, behind);
    case 'FLOP':
      return scaled(number, flops);
    case 'TFLOPS':
      return scaled(number * 1e12, flop_rates);
    case 'J':
      return scaled(number, energies);
    case 'W':
      return scaled(number, powers);
    case 'kWh':
    case 'h':
    case 'kg':
      return in_unit(number, unit);
    case 'money':
      return in_unit(number, '');
    default:
      return grouped(number);
  }
}
