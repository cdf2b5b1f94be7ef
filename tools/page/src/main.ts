// The page: reads the data that the program put in, and shows what it is of.
import type { PageData, Row } from './data';
import { h } from './dom';
import { Facts } from './facts';
import { compare_page, type Summary } from './sections/compare';
import { expert_section } from './sections/experts';
import { explain_page } from './sections/explain';
import { error_section, figure_section } from './sections/figures';
import { link_section } from './sections/links';
import { memory_section } from './sections/memory';
import { rows_page } from './sections/rows';
import { search_page } from './sections/search';
import { source_section } from './sections/source';
import { sweep_page } from './sections/sweep';
import { critical_section, kernel_section, step_section, time_section } from './sections/times';
import { validate_page } from './sections/validate';
import { Pipeline } from './pipeline';
import { section, type Section } from './section';
import { theme_changed, watch_theme } from './theme';
import { Timeline } from './timeline/view';
import { figures, unbroken, verdict } from './verdict';
import { TimeWindow } from './window';

function run_sections(data: PageData, facts: Facts): Section[] {
  const report = data.report!;
  const { run } = data;
  const sections: (Section | undefined)[] = [];
  let window: TimeWindow | undefined;
  if (run) {
    const { tick_s, end } = run.timeline;
    window = new TimeWindow(end * tick_s, Math.max(20 * tick_s, end * tick_s * 2e-6));
    const timeline = new Timeline(run.timeline, window);
    (globalThis as any).moesim = { window, timeline }; // for who asks in the console, and for tests
    sections.push(
      section(
        'timeline',
        'Timeline',
        'All ranks over the step. Charts over time move together.',
        timeline.element,
      ),
    );
    if (run.pipeline)
      sections.push(
        section(
          'pipeline',
          'Pipeline',
          'A cell is a pass of one microbatch, with its number; a pair that shares ' +
            'the device has the forward above the backward; odd chunks are paler.',
          new Pipeline(run.pipeline, tick_s, window).element,
        ),
      );
  }
  sections.push(time_section(report, run?.ranks, facts), step_section(report), kernel_section(report, facts));
  if (run && window) sections.push(link_section(report, run, window));
  sections.push(
    memory_section(report, run, facts, window),
    expert_section(report, run, facts),
    critical_section(report),
    error_section(report, facts),
    figure_section(report, facts),
  );
  return sections.filter((one): one is Section => one !== undefined);
}

function several(data: PageData, facts: Facts): Summary {
  if (data.table) return sweep_page(data, facts);
  switch (data.report?.schema) {
    case 'moesim.compare/1':
      return compare_page(data, facts);
    case 'moesim.search/1':
      return search_page(data, facts);
    case 'moesim.explain/1':
      return explain_page(data, facts);
    case 'moesim.validate/1':
      return validate_page(data);
    default:
      return rows_page(data, facts);
  }
}

const scenario_of = (data: PageData) => (data.scenario ?? data.report?.scenario) as Row | undefined;

/** What was run, for a heading. */
function title_of(data: PageData): string {
  const about = data.report?.about ?? scenario_of(data)?.about;
  if (typeof about === 'string' && about !== '') return about;
  return data.report?.schema === 'moesim.validate/1' ? 'Published figures, simulated' : 'moesim';
}

function theme_button(): HTMLElement {
  const names = ['auto', 'light', 'dark'];
  const button = h(
    'button',
    {
      type: 'button',
      class: 'theme',
      click: () => {
        const next =
          names[(names.indexOf(document.documentElement.dataset.theme ?? 'auto') + 1) % names.length];
        document.documentElement.dataset.theme = next;
        button.textContent = `Colours: ${next}`;
        theme_changed();
      },
    },
    'Colours: auto',
  );
  return button;
}

function show(data: PageData, page: HTMLElement): void {
  const facts = new Facts(data.facts);
  const is_run = data.report?.schema === 'moesim.report/1';
  const summary: Summary = is_run
    ? { sentences: verdict(data.report!, facts), sections: run_sections(data, facts) }
    : several(data, facts);
  const sections = [...summary.sections, source_section(data)];
  const title = title_of(data);
  document.title = `${title} - moesim`;
  const [first, ...rest] = summary.sentences.map(unbroken);
  const plan = data.report?.plan ?? data.report?.on;
  const facts_of_run = is_run ? figures(data.report!, facts) : null;
  page.append(
    h('a', { class: 'skip', href: '#main' }, 'Skip to the report'),
    h(
      'nav',
      { 'aria-label': 'Sections' },
      h('strong', {}, 'moesim'),
      h(
        'ul',
        {},
        sections.map(({ id, title: name }) => h('li', {}, h('a', { href: `#${id}` }, name))),
      ),
      theme_button(),
    ),
    h(
      'main',
      { id: 'main' },
      h(
        'header',
        {},
        h('h1', {}, title),
        typeof plan === 'string' && h('p', { class: 'plan' }, plan),
        first && h('p', { class: 'verdict' }, first),
        rest.length > 0 && h('p', { class: 'words' }, rest.join(' ')),
        facts_of_run,
      ),
      sections.map(({ element }) => element),
      footer(data),
    ),
  );
}

function footer(data: PageData): HTMLElement {
  const fingerprint = data.report?.fingerprint;
  return h(
    'footer',
    {},
    h(
      'p',
      {},
      'Written by moesim. This page needs no network and sends nothing.',
      typeof fingerprint === 'string' && ` Fingerprint of the timeline: ${fingerprint}.`,
    ),
  );
}

function start(): void {
  const page = document.getElementById('page')!;
  try {
    const data = JSON.parse(document.getElementById('data')!.textContent ?? 'null') as PageData | null;
    if (data === null)
      page.append(
        h(
          'main',
          {},
          h('p', {}, 'This page has no data: moesim run SCENARIO --html FILE writes one that has.'),
        ),
      );
    else show(data, page);
  } catch (error) {
    page.append(
      h('main', {}, h('p', { role: 'alert' }, `The data of this page cannot be shown: ${String(error)}`)),
    );
    throw error;
  }
  watch_theme();
}

start();
