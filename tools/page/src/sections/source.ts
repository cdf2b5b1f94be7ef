// Where the page comes from: command and scenario to copy, and the report as text.
import type { PageData } from '../data';
import { h } from '../dom';
import { section, type Section } from '../section';

function copied(button: HTMLButtonElement, text: string, source: HTMLElement): void {
  const say = (words: string) => {
    button.textContent = words;
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  };
  const select = () => {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = getSelection();
    selection?.removeAllRanges();
    selection?.addRange(range);
    say(document.execCommand('copy') ? 'Copied' : 'Selected');
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => say('Copied'), select);
  else select();
}

export function copyable(label: string, text: string): HTMLElement {
  const source = h(
    'pre',
    { tabindex: 0, 'aria-label': label, class: text.includes('\n') ? undefined : 'line' },
    text,
  );
  const button = h(
    'button',
    {
      type: 'button',
      class: 'copy',
      'aria-label': `Copy ${label}`,
      click: () => copied(button, text, source),
    },
    'Copy',
  );
  return h('div', { class: 'copyable' }, source, button);
}

export function source_section(data: PageData): Section {
  const scenario = data.scenario ?? data.report?.scenario;
  const text = scenario === undefined ? undefined : JSON.stringify(scenario, null, 2);
  return section(
    'source',
    'Scenario and command',
    null,
    data.command !== '' && [h('h3', {}, 'Command'), copyable('the command', data.command)],
    text !== undefined && [h('h3', {}, 'Scenario, with all its files in it'), copyable('the scenario', text)],
    data.text && h('details', {}, h('summary', {}, 'The report as text'), copyable('the report', data.text)),
  );
}
