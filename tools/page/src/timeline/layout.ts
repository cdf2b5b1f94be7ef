// Where lanes stand: compute is tall, what goes on beside it is thin, ranks are apart.
import type { Model } from './model';

export interface Band {
  lane: number;
  top: number;
  height: number;
}

export interface Group {
  actor: number;
  top: number;
  height: number;
}

export interface Layout {
  bands: Band[]; // by lane
  groups: Group[];
  height: number;
}

export const compute_height = 14;
const beside_height = 5;

export function layout_of(model: Model): Layout {
  const bands: Band[] = [];
  const groups: Group[] = [];
  let y = 0;
  model.lanes.forEach((lane, number) => {
    let group = groups[groups.length - 1];
    if (!group || group.actor !== lane.actor) {
      if (group) {
        group.height = y - group.top;
        y += 6;
      }
      group = { actor: lane.actor, top: y, height: 0 };
      groups.push(group);
    }
    const height = lane.stream === 0 ? compute_height : beside_height;
    bands.push({ lane: number, top: y, height });
    y += height + 1;
  });
  const last = groups[groups.length - 1];
  if (last) last.height = y - last.top;
  return { bands, groups, height: y + 4 };
}

/** The lane at a height, or the nearest within a few pixels. */
export function band_at(layout: Layout, y: number): Band | undefined {
  let best: Band | undefined;
  let distance = 5;
  for (const band of layout.bands) {
    const away = Math.max(0, band.top - y, y - band.top - band.height);
    if (away < distance) [best, distance] = [band, away];
  }
  return best;
}
