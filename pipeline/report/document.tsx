import { createHash } from 'node:crypto';
import type { ComponentChildren, JSX } from 'preact';
import { renderToString } from 'preact-render-to-string';
import { Hatchings } from './charts.js';
import type { Look, OrganizationState } from './figures.js';
import { earlyScript, script } from './script.js';
import { pageStyle, style } from './style.js';

/** `'sha256-…'`: what a Content-Security-Policy lets run, by its content. */
const hashed = (text: string): string =>
  `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

const scriptHashes = `${hashed(earlyScript)} ${hashed(script)}`;
const styleHash = hashed(style);

interface DocumentProps {
  /** Of the browser's tab. */
  title: string;
  /** What each printed sheet carries on top. */
  heading: { left: string; right: string };
  look: Look;
  /** What the page says to machines: the figures that people see, exact. */
  block: unknown;
  children: ComponentChildren;
}

/**
 * A whole HTML file that needs nothing but itself: style, script and figures stand in it, and its policy
 * lets a browser load nothing else, run no other script and send no form. Texts are escaped by the
 * markup; what is put in raw is our own style and script, and `block` as JSON.
 */
export function renderDocument(props: DocumentProps): string {
  const { title, heading, look, block, children } = props;
  const print = pageStyle(heading);
  const policy = [
    "default-src 'none'",
    `style-src ${styleHash} ${hashed(print)}`,
    `script-src ${scriptHashes}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const markup = renderToString(
    <html lang="en" data-locale={look.locale}>
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content={policy} />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <title>{title}</title>
        <script dangerouslySetInnerHTML={{ __html: earlyScript }} />
        <style dangerouslySetInnerHTML={{ __html: style }} />
        <style dangerouslySetInnerHTML={{ __html: print }} />
      </head>
      <body>
        <Hatchings />
        <main>{children}</main>
        <script
          id="figures"
          type="application/json"
          dangerouslySetInnerHTML={{ __html: scriptText(block) }}
        />
        <script dangerouslySetInnerHTML={{ __html: script }} />
      </body>
    </html>,
  );
  return `<!doctype html>\n${markup}\n`;
}

/** JSON that no HTML parser takes for anything else (HTML standard, restrictions for contents of script elements). */
function scriptText(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The logo and the title of whoever reports, above all else; nothing where there is neither. */
export function Brand({ look }: { look: Look }): ComponentChildren {
  if (look.logo === null && look.title === null) return null;
  return (
    <div class="brand">
      {look.logo !== null && <img src={look.logo} alt="" />}
      {look.title !== null && <span>{look.title}</span>}
    </div>
  );
}

/** Changes all amounts to their exact ones, and back; shown by the script that makes it work. */
export function ExactButton(): JSX.Element {
  return (
    <button type="button" class="plain small exact" aria-pressed="false" hidden>
      Show exact amounts
    </button>
  );
}

/** What is said below each page. */
export function Foot({
  look,
  children,
}: {
  look: Look;
  children: ComponentChildren;
}): ComponentChildren {
  return (
    <footer>
      {look.footer !== null && <p class="own">{look.footer}</p>}
      {children}
    </footer>
  );
}

/** How final figures are, in a word. */
export function StatePill({ state }: { state: OrganizationState['state'] }): JSX.Element {
  const word = { final: 'Final', provisional: 'Provisional', stale: 'Stale', missing: 'Missing' }[
    state
  ];
  const kind = { final: '', provisional: ' provisional', stale: ' warn', missing: ' warn' }[state];
  return <span class={`pill${kind}`}>{word}</span>;
}
