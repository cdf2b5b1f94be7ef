// Builds dist/page.html: the template with style, script and licences in it. The same bytes every time.
import { build, transform } from 'esbuild';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const at = (...parts) => join(here, ...parts);

async function script() {
  const result = await build({
    entryPoints: [at('src/main.ts')],
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2020',
    charset: 'utf8',
    legalComments: 'none',
    write: false,
    absWorkingDir: here,
  });
  // Inside a script element nothing may look like its end.
  return result.outputFiles[0].text.trim().replaceAll('</script', '<\\/script');
}

async function style() {
  const [charts, own] = await Promise.all(
    ['node_modules/uplot/dist/uPlot.min.css', 'src/style.css'].map((path) => readFile(at(path), 'utf8')),
  );
  return (await transform(`${charts}\n${own}`, { loader: 'css', minify: true })).code.trim();
}

async function licences() {
  const uplot = await readFile(at('node_modules/uplot/LICENSE'), 'utf8');
  const { version } = JSON.parse(await readFile(at('node_modules/uplot/package.json'), 'utf8'));
  return (
    `moesim: Apache License 2.0, with the text in the project's file LICENSE.\n\n` +
    `The curves are drawn by uPlot ${version}:\n\n${uplot.trim()}`
  );
}

const parts = { style: await style(), script: await script(), licences: await licences() };
const template = await readFile(at('src/page.html'), 'utf8');
const page = template.replace(/@(style|script|licences)@/g, (_, name) => parts[name]);
const target = process.argv[2] ?? at('dist/page.html');
await mkdir(dirname(target), { recursive: true });
await writeFile(target, page);
console.log(`${target}: ${page.length} characters`);
