// Wheel, drag, pinch and double click on a chart over time. A plain wheel goes on scrolling the page.
import type { TimeWindow } from './window';

export interface Surface {
  element: HTMLElement;
  /** Pixels from the element's left to where time begins, and how wide time is. */
  area(): { left: number; width: number };
}

export function time_at(surface: Surface, window: TimeWindow, client_x: number): number {
  const { left, width } = surface.area();
  const x = client_x - surface.element.getBoundingClientRect().left - left;
  return window.from + (x / width) * window.length;
}

/** `click` gets what was no drag. */
export function attach(surface: Surface, window: TimeWindow, click: (event: PointerEvent) => void): void {
  const { element } = surface;
  attach_wheel(surface, window);
  const pointers = new Map<number, number>(); // client x by pointer
  let moved = 0;
  let frame = { from: 0, length: 0, x: 0, spread: 0 };
  const spread = () => {
    const all = [...pointers.values()];
    return {
      x: all.reduce((sum, x) => sum + x, 0) / all.length,
      spread: Math.abs(all[0] - (all[1] ?? all[0])),
    };
  };
  const begin = () => {
    frame = { from: window.from, length: window.length, ...spread() };
  };
  element.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, event.clientX);
    if (pointers.size === 1) moved = 0;
    begin();
  });
  element.addEventListener('pointermove', (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = pointers.get(event.pointerId)!;
    moved += Math.abs(event.clientX - before);
    pointers.set(event.pointerId, event.clientX);
    if (moved < 4) return;
    element.setPointerCapture(event.pointerId);
    const { left, width } = surface.area();
    const now = spread();
    const factor = frame.spread > 10 && now.spread > 10 ? frame.spread / now.spread : 1;
    const rect_left = element.getBoundingClientRect().left + left;
    const anchor = frame.from + ((frame.x - rect_left) / width) * frame.length;
    const length = frame.length * factor;
    const from = anchor - ((now.x - rect_left) / width) * length;
    window.set(from, from + length);
  });
  const end = (event: PointerEvent) => {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === 'pointerup' && moved < 4 && pointers.size === 0) click(event);
    if (pointers.size > 0) begin();
  };
  element.addEventListener('pointerup', end);
  element.addEventListener('pointercancel', end);
  element.addEventListener('dblclick', (event) => window.zoom(0.25, time_at(surface, window, event.clientX)));
}

function attach_wheel(surface: Surface, window: TimeWindow): void {
  surface.element.addEventListener(
    'wheel',
    (event) => {
      const { width } = surface.area();
      if (event.ctrlKey || event.metaKey || event.altKey) {
        event.preventDefault();
        window.zoom(
          Math.exp(Math.max(-1, Math.min(1, event.deltaY * 0.004))),
          time_at(surface, window, event.clientX),
        );
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        window.pan(((event.deltaX || event.deltaY) / width) * window.length);
      }
    },
    { passive: false },
  );
}
