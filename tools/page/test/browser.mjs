// Opens the pages of scenarios of different size in Debian's Chromium and uses them as a reader does:
// `node test/browser.mjs [PROGRAM] [FOLDER]`, where FOLDER gets the pages and pictures of them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../../..');
const program = resolve(process.argv[2] ?? join(root, 'build/release/moesim'));
const wants_pictures = process.argv[3] !== undefined;
const folder = wants_pictures ? resolve(process.argv[3]) : mkdtempSync(join(tmpdir(), 'moesim-browser-'));
mkdirSync(folder, { recursive: true });

const runs = [
  'two-gpus',
  'dualpipe-8x20',
  'mixtral-8x7b-h100',
  'deepseek-v3-routing-bad',
  'deepseek-v3-h800',
];
const others = {
  compare: 'compare scenarios/dualpipe-8x20.json --over schedule.kind=1f1b,zb_h1,dualpipe',
  sweep:
    'sweep scenarios/mixtral-8x7b-h100.json --over schedule.kind=1f1b,zb_h1 --over cluster.topology.nic_rate=100Gb/s,200Gb/s,400Gb/s',
  search: 'search scenarios/two-gpus.json --simulate 20',
  explain: 'explain scenarios/moe-top2.json',
  validate: 'validate --group schedules --group pipelines',
};

/** Writes the page of a command; returns its path, and what the command prints as JSON. */
function page_of(name, command) {
  const path = join(folder, `${name}.html`);
  const words = [...command.split(' '), '--html', path, ...(name === 'sweep' ? [] : ['--format', 'json'])];
  const { status, stdout, stderr } = spawnSync(program, words, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1e9,
  });
  assert.equal(status, 0, `${command}: ${stderr}`);
  return { path, json: name === 'sweep' ? stdout : JSON.parse(stdout) };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});

/** Opens a page, and fails at the end where the console has an error or anything was fetched. */
async function opened(path, options, use) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on(
    'console',
    (message) => ['error', 'warning'].includes(message.type()) && wrong.push(message.text()),
  );
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on(
    'request',
    (request) => request.url().startsWith('file:') || wrong.push(`fetches ${request.url()}`),
  );
  await page.goto(pathToFileURL(path).href);
  await page.waitForSelector('main section');
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await use(page);
  assert.deepEqual(wrong, [], path);
  await context.close();
}

/** Figures on the page are those of the JSON, as the text report prints them. */
async function check_figures(page, json) {
  const shown = await page.evaluate(() =>
    Object.fromEntries(
      [...document.querySelectorAll('[data-fact]')].map((element) => [
        element.dataset.fact,
        element.querySelector('dd').textContent,
      ]),
    ),
  );
  const text = spawnSync(program, ['run', '-', '--quiet'], {
    cwd: root,
    encoding: 'utf8',
    input: JSON.stringify(json.scenario),
    maxBuffer: 1e9,
  }).stdout;
  assert.ok(
    text.includes(`step time      ${shown.step_time_s}`),
    `${shown.step_time_s} is not the step time of\n${text}`,
  );
  const embedded = await page.evaluate(() => JSON.parse(document.getElementById('data').textContent).report);
  delete embedded.engine.wall_s;
  delete json.engine.wall_s;
  assert.deepEqual(embedded, json);
  if (shown.mfu) assert.ok(text.includes(`MFU ${shown.mfu}`), shown.mfu);
  if (shown.peak_memory) assert.ok(text.includes(`${shown.peak_memory} of `), shown.peak_memory);
  if (shown.bubble_mean) assert.ok(text.includes(`bubble ${shown.bubble_mean}`), shown.bubble_mean);
  await check_breakdown(page, text);
}

async function check_breakdown(page, text) {
  const row = await page.evaluate(() =>
    [...document.querySelectorAll('#time tbody tr:first-child td.number')].map((cell) =>
      cell.textContent.split(' · '),
    ),
  );
  for (const [name, [words, share]] of [
    ['compute', row[0]],
    ['exposed communication', row[1]],
    ['bubble', row[3]],
  ]) {
    const line = text
      .split('Where the time goes')[1]
      .split('\n')
      .find((one) => one.trim().startsWith(name));
    assert.ok(line.includes(words) && line.includes(share), `${name}: ${words} ${share} is not in ${line}`);
  }
}

/** Waits until a condition holds; the page's own policy lets no script be made of text, as the usual way does. */
async function until(page, condition, argument) {
  for (let i = 0; i < 100; ++i) {
    if (await page.evaluate(condition, argument)) return;
    await page.waitForTimeout(30);
  }
  throw new Error(`never holds: ${condition}`);
}

const window_of = (page) => page.evaluate(() => [globalThis.moesim.window.from, globalThis.moesim.window.to]);
const selected = (page) => page.evaluate(() => document.querySelector('.detail [data-slice]')?.dataset.slice);

/** The middle of a compute slice that is wide enough to be met, in the page's pixels. */
async function point_of_slice(page) {
  return page.evaluate(() => {
    const { timeline, window } = globalThis.moesim;
    const box = document.querySelector('canvas.lanes').getBoundingClientRect();
    const { model, layout } = timeline;
    const gutter = timeline.gutter();
    let best = { width: 0 };
    for (const slice of model.lanes[0].slices) {
      const per_tick = (model.data.tick_s / window.length) * (box.width - gutter);
      const from = gutter + (model.start[slice] - window.from / model.data.tick_s) * per_tick;
      const width = (model.stop[slice] - model.start[slice]) * per_tick;
      if (from >= gutter && from + width <= box.width && width > best.width)
        best = { slice, width, x: box.left + from + width / 2, y: box.top + 22 + layout.bands[0].top + 6 };
    }
    return best;
  });
}

/** So that its first lanes are in view. */
const scroll_to_lanes = (page) =>
  page.evaluate(() => {
    document.querySelector('.scroller').scrollTop = 0;
    scrollTo(0, document.querySelector('canvas.lanes').getBoundingClientRect().top + scrollY - 80);
  });

async function check_zoom(page) {
  const canvas = page.locator('canvas.lanes');
  await scroll_to_lanes(page);
  const whole = await window_of(page);
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 30);
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, -400);
  await page.keyboard.up('Control');
  await until(page, (end) => globalThis.moesim.window.length < end * 0.9, whole[1]);
  const near = await window_of(page);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2 - 120, box.y + 30, { steps: 4 });
  await page.mouse.up();
  const moved = await window_of(page);
  assert.ok(moved[0] > near[0], 'dragging to the left shows what is later');
  await page.getByRole('button', { name: 'Show the whole step' }).click();
  assert.deepEqual(await window_of(page), whole);
  const scrolled = await page.evaluate(() => scrollY);
  await page.mouse.move(box.x + box.width / 2, box.y + 30);
  await page.mouse.wheel(0, 200);
  await page.waitForTimeout(150);
  assert.deepEqual(await window_of(page), whole, 'a plain wheel does not zoom');
  await page.evaluate((y) => scrollTo(0, y), scrolled);
}

async function check_hover(page) {
  await scroll_to_lanes(page);
  const point = await point_of_slice(page);
  assert.ok(point.width > 0);
  await page.mouse.move(point.x, point.y);
  const tip = page.locator('.tip');
  await tip.waitFor({ state: 'visible' });
  const words = await tip.innerText();
  assert.match(words, /takes/);
  assert.match(words, /when/);
  await page.mouse.click(point.x, point.y);
  assert.ok((await selected(page)) !== undefined);
  assert.ok((await page.locator('.detail').innerText()).includes(words.split('\n')[0]));
}

async function check_keys(page) {
  await page.locator('canvas.lanes').focus();
  await page.keyboard.press('Escape');
  await page.keyboard.press('ArrowRight');
  const first = await selected(page);
  await page.keyboard.press('ArrowRight');
  const second = await selected(page);
  assert.notEqual(first, undefined);
  if (await page.evaluate(() => globalThis.moesim.timeline.model.lanes[0].slices.length > 1))
    assert.notEqual(first, second);
  const before = await window_of(page);
  await page.keyboard.press('+');
  await until(page, (length) => globalThis.moesim.window.length < length, before[1] - before[0]);
  await page.keyboard.press('0');
  const has_cause = await page.evaluate(
    (slice) => globalThis.moesim.timeline.model.cause[slice] >= 0,
    second,
  );
  await page.keyboard.press('c');
  if (has_cause) {
    const cause = await page.evaluate((slice) => globalThis.moesim.timeline.model.cause[slice], second);
    assert.equal(await selected(page), String(cause));
  }
}

async function check_search(page) {
  await page.locator('canvas.lanes').focus();
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.type), 'search');
  await page.keyboard.type('f1');
  await until(page, () => /found/.test(document.querySelector('.status').textContent));
  const count = Number((await page.locator('.status').innerText()).replace(/\D/g, ''));
  const expected = await page.evaluate(() => {
    const { model } = globalThis.moesim.timeline;
    let sum = 0;
    for (let i = 0; i < model.count; ++i)
      if (model.microbatch[i] === 1 && model.data.kinds[model.kind[i]][1] === 'forward') ++sum;
    return sum;
  });
  assert.equal(count, expected);
  if (count > 0) {
    await page.keyboard.press('Enter');
    await until(page, () => document.querySelector('.detail [data-slice]'));
    assert.match(await page.locator('.detail').innerText(), /^F1\b/);
  }
  await page.keyboard.press('Escape');
}

/** Drawing the whole step, zoomed in, and while a search marks slices. */
async function check_speed(page, name) {
  const times = await page.evaluate(() => {
    const { timeline, window } = globalThis.moesim;
    const median = (action) => {
      const all = Array.from({ length: 9 }, () => (action(), timeline.draw_now())).sort((a, b) => a - b);
      return all[4];
    };
    window.show_all();
    const whole = median(() => {});
    const near = median(() => ((window.from = window.end * 0.4), (window.to = window.end * 0.42)));
    window.from = 0;
    window.to = window.end;
    timeline.find('attention');
    const searched = median(() => {});
    timeline.find('');
    return { slices: timeline.model.count, whole, near, searched };
  });
  console.log(
    `${name}: ${times.slices} slices, ms a frame: whole ${times.whole.toFixed(1)}, near ${times.near.toFixed(1)}, ` +
      `searched ${times.searched.toFixed(1)}`,
  );
  assert.ok(times.whole < 400, 'a frame of the whole step takes too long');
}

/** Nothing is wider than the screen, every control and picture has a name. */
async function check_layout(page, name) {
  const { width, client } = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    client: document.documentElement.clientWidth,
  }));
  assert.ok(width <= client, `${name} is ${width} wide on a screen of ${client}`);
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll('button, select, input, canvas, [role=img], [role=region]')]
      .filter((element) => element.getAttribute('aria-hidden') !== 'true')
      .filter(
        (element) =>
          !(
            element.getAttribute('aria-label') ||
            element.textContent.trim() ||
            element.closest('label')?.textContent.trim()
          ),
      )
      .filter((element) => !element.closest('[role=img]') || element.getAttribute('role') === 'img')
      .map((element) => element.outerHTML.slice(0, 100)),
  );
  assert.deepEqual(nameless, [], name);
}

/** Wide and narrow, light and dark; with pictures of each and of the print where a folder is asked for. */
async function check_looks(path, name) {
  const narrow = { width: 400, height: 800 };
  const looks = { light: {}, 'narrow-dark': { viewport: narrow, colorScheme: 'dark' } };
  if (wants_pictures) Object.assign(looks, { dark: { colorScheme: 'dark' }, narrow: { viewport: narrow } });
  for (const [look, options] of Object.entries(looks)) {
    await opened(path, options, async (page) => {
      await check_layout(page, `${name} ${look}`);
      if (wants_pictures)
        await page.screenshot({ path: join(folder, `${name}-${look}.png`), fullPage: true });
    });
  }
  if (!wants_pictures) return;
  await opened(path, { colorScheme: 'dark' }, (page) =>
    page.pdf({ path: join(folder, `${name}.pdf`), format: 'A4' }),
  );
}

/** A document of rows that the page knows nothing else of, as one of a later program. */
async function check_rows() {
  const page_text = readFileSync(join(folder, 'two-gpus.html'), 'utf8');
  const [before, rest] = page_text.split('id="data">');
  const end = rest.indexOf('</script>');
  const data = JSON.parse(rest.slice(0, end));
  delete data.run;
  data.report = {
    schema: 'moesim.unknown/1',
    about: 'changes',
    scenario: data.report.scenario,
    changes: [
      { change: 'schedule.kind=zb_h1', step_time_s: 0.0125, gain_s: 0.0025, fits: true },
      { change: 'recompute=[]', step_time_s: 0.011, gain_s: 0.004, fits: false },
    ],
  };
  const path = join(folder, 'rows.html');
  writeFileSync(
    path,
    `${before}id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}${rest.slice(end)}`,
  );
  await opened(path, {}, async (page) => {
    const rows = await page.locator('#changes tbody tr').allInnerTexts();
    assert.deepEqual(
      rows.map((row) => row.split(/\t/)),
      [
        ['schedule.kind=zb_h1', '12.5 ms', '2.5 ms', 'yes'],
        ['recompute=[]', '11 ms', '4 ms', 'NO'],
      ],
    );
  });
}

/** What a scenario says is text, whatever it looks like. */
async function check_hostile() {
  const about = '</script><script>alert(1)</script><img src=x onerror=alert(2)>';
  const path = join(folder, 'hostile.html');
  const { status } = spawnSync(
    program,
    ['run', 'scenarios/two-gpus.json', '--set', `about=${about}`, '--html', path],
    { cwd: root },
  );
  assert.equal(status, 0);
  await opened(path, {}, async (page) => {
    page.on('dialog', () => assert.fail('a scenario has run a script'));
    assert.equal(await page.locator('h1').innerText(), about);
    assert.equal(await page.locator('img').count(), 0);
  });
}

for (const name of runs) {
  const { path, json } = page_of(name, `run scenarios/${name}.json`);
  assert.ok(statSync(path).size < 2e6, `${name} is larger than 2 MB`);
  await opened(path, {}, async (page) => {
    await check_figures(page, json);
    await check_zoom(page);
    await check_hover(page);
    await check_keys(page);
    await check_search(page);
    await check_speed(page, name);
  });
  await check_looks(path, name);
}
for (const [name, command] of Object.entries(others)) {
  const { path, json } = page_of(name, command);
  await opened(path, {}, async (page) => {
    const text = await page.locator('main').innerText();
    if (name === 'compare')
      for (const run of json.runs) assert.ok(text.includes(run.relative.toFixed(3)), String(run.relative));
    if (name === 'search') assert.ok(text.includes(json.plans[0].plan));
    if (name === 'explain') {
      const words = text.replaceAll('\u00a0', ' ');
      for (const sentence of json.verdict) assert.ok(words.includes(sentence), sentence);
      const shown = page.locator('#setting tbody tr, #numerics tbody tr, #what_if tbody tr, #rest tbody tr');
      assert.equal(await shown.count(), json.changes.length);
    }
    if (name === 'validate') for (const one of json.cases) assert.ok(text.includes(one.name), one.name);
    if (name === 'sweep') assert.equal(await page.locator('#points > .table tbody tr').count(), 6);
    const header = page.locator('thead button').first();
    await header.click();
    assert.equal(await page.locator('th[aria-sort=ascending]').count(), 1);
  });
  await check_looks(path, name);
}
await check_hostile();
await check_rows();
await browser.close();
console.log(
  `The pages of ${runs.length} scenarios and of ${Object.keys(others).length} other commands do what they should${wants_pictures ? `; pictures are in ${folder}` : ''}.`,
);
