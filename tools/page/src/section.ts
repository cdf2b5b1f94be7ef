// A section of the page: heading, a sentence on how to read it, content.
import { type Child, h } from './dom';

export interface Section {
  id: string;
  title: string;
  element: HTMLElement;
}

export function section(id: string, title: string, note: Child, ...content: Child[]): Section {
  return {
    id,
    title,
    element: h(
      'section',
      { id, 'aria-labelledby': `${id}-title` },
      h('h2', { id: `${id}-title` }, title),
      note ? h('p', { class: 'note' }, note) : null,
      content,
    ),
  };
}
