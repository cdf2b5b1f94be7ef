// The part of the step that all charts over time show: one for the whole page, so that they move together.

export class TimeWindow {
  from = 0;
  to: number;
  private readonly listeners: (() => void)[] = [];
  private is_waiting = false;

  /** Of a step of that many seconds; nothing shorter than `least` is shown. */
  constructor(
    readonly end: number,
    private readonly least: number,
  ) {
    this.to = end;
  }

  get length(): number {
    return this.to - this.from;
  }

  is_whole(): boolean {
    return this.length >= this.end * 0.9999;
  }

  on_change(listener: () => void): void {
    this.listeners.push(listener);
  }

  set(from: number, to: number): void {
    const length = Math.min(this.end, Math.max(this.least, to - from));
    const start = Math.max(0, Math.min(this.end - length, from));
    if (start === this.from && start + length === this.to) return;
    this.from = start;
    this.to = start + length;
    this.notify();
  }

  zoom(factor: number, around = (this.from + this.to) / 2): void {
    const length = Math.min(this.end, Math.max(this.least, this.length * factor));
    const share = (around - this.from) / this.length;
    this.set(around - share * length, around - share * length + length);
  }

  pan(seconds: number): void {
    this.set(this.from + seconds, this.to + seconds);
  }

  show_all(): void {
    this.set(0, this.end);
  }

  /** Moves as little as it takes to show that span; zooms out or in where it is too large or tiny. */
  reveal(from: number, to: number): void {
    const span = to - from;
    if (span > this.length || span < this.length / 400) {
      const length = Math.max(span * 12, this.least);
      this.set((from + to - length) / 2, (from + to + length) / 2);
    } else if (from < this.from || to > this.to) {
      this.pan((from + to - this.from - this.to) / 2);
    }
  }

  /** Listeners draw: once a frame is enough. */
  private notify(): void {
    if (this.is_waiting) return;
    this.is_waiting = true;
    requestAnimationFrame(() => {
      this.is_waiting = false;
      for (const listener of this.listeners) listener();
    });
  }
}

/** Round marks for an axis, about `count` of them. */
export function marks(from: number, to: number, count: number): number[] {
  const rough = (to - from) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((digit) => digit * power >= rough) ?? 10);
  const found: number[] = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; ++i) found.push(i * step + 0);
  return found;
}
