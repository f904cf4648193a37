import { ConfigurationError, PipelineError, describeError } from '../shared/errors.js';
import { keepSecret } from '../shared/printable.js';
import type { Threshold } from '../shared/threshold.js';
import { thresholdText } from '../shared/threshold.js';

/** Who is told of a run: what `notify` in the configuration file says, and what of it stands in the environment. */

export const hookKinds = ['webhook', 'slack', 'teams'] as const;
export type HookKind = (typeof hookKinds)[number];

/**
 * When somebody is told. `failure`: the run did not do all that it was asked for. `restated`: AWS has changed a month that
 * had been fetched before. `provisional-final`: a month's figures were provisional, and are final now.
 */
export const occasions = ['failure', 'always', 'restated', 'provisional-final'] as const;
export type Occasion = (typeof occasions)[number];

/** An entry of the configuration file, as it was written. */
export interface HookEntry {
  kind: HookKind;
  /** Either this or the variable that holds it. */
  address: URL | undefined;
  addressFrom: string | undefined;
  /** The variable with the secret that signs; of a webhook, and of nothing else. */
  secretFrom: string | undefined;
  on: readonly Occasion[];
  /** How far a month's amount has to move to be told as restated, by all of them; none: by anything. */
  thresholds: readonly Threshold[];
}

/** Who is told, with the secrets that it takes. */
export interface Hook extends Pick<HookEntry, 'kind' | 'on' | 'thresholds'> {
  /** Secret but for its host: whoever has it may write there. */
  url: URL;
  /** What signs; of a webhook, and of nothing else. */
  key: Buffer | undefined;
}

/** A hook as people know it: of its address no more than the host is shown. */
export function hookName({ kind, url }: Pick<Hook, 'kind' | 'url'>): string {
  return `${kind} at ${url.host}`;
}

/** What is sent where, and when, in words. */
export function describeHook(hook: Pick<Hook, 'kind' | 'url' | 'on' | 'thresholds'>): string {
  const size = hook.thresholds.map(thresholdText).join(' and ');
  const when = hook.on.map((one) =>
    one === 'restated' && size !== '' ? `${one} by ${size}` : one,
  );
  return `${hookName(hook)}, on ${when.join(', ')}`;
}

const LOOPBACK = ['127.0.0.1', '[::1]', 'localhost'];

/**
 * The address of a hook: https, since what is sent is nobody else's business; plain http for this machine alone.
 * @throws {ConfigurationError} which does not repeat it.
 */
export function parseHookAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:') return url;
  if (url?.protocol === 'http:' && LOOPBACK.includes(url.hostname)) return url;
  throw new ConfigurationError('is no https:// address');
}

/** Bytes of a key (Standard Webhooks 1.0.0, "Signature scheme": at least 192 bits, 512 bits at most). */
const KEY = { least: 24, most: 64 };

/**
 * The key of a secret as Standard Webhooks writes it: `whsec_` and the key in base64.
 * @throws {ConfigurationError} which does not repeat it.
 */
export function parseHookSecret(text: string): Buffer {
  const [, digits = ''] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const key = Buffer.from(digits, 'base64');
  const isWhole = key.toString('base64').replace(/=+$/, '') === digits.replace(/=+$/, '');
  if (isWhole && key.length >= KEY.least && key.length <= KEY.most) return key;
  throw new ConfigurationError('holds no secret that signs', {
    next: 'make one with: echo "whsec_$(openssl rand -base64 32)"',
  });
}

/** Parts of an address that are long enough to be secret on their own, and never a word of something else. */
const SECRET_PART = 16;

function keepAddressSecret(url: URL): void {
  const [login, ...parts] = addressParts(url);
  keepSecret(url.href, login, url.password, ...parts.filter((part) => part.length >= SECRET_PART));
}

/**
 * All of an address that is not to be shown, as it may come back in an answer: the login as HTTP sends it, or '', and
 * the other parts, as they are written and as they are meant.
 */
export function addressParts({
  username,
  password,
  pathname,
  search,
  searchParams,
}: URL): string[] {
  const written = [
    username,
    password,
    pathname + search,
    ...pathname.split('/'),
    ...search.split(/[?&=]/),
  ];
  const meant = [...written.map(decoded), ...searchParams.values()];
  const login = `${decoded(username)}:${decoded(password)}`;
  return [
    login === ':' ? '' : Buffer.from(login).toString('base64'),
    ...new Set([...written, ...meant].filter((part) => part !== '' && part !== '/')),
  ];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The hooks, with what stands in the environment; without those of which anything is wrong.
 * @param fault is told what is wrong: the place in the configuration file, and the message.
 */
export function hooksOf(
  entries: readonly HookEntry[],
  env: Readonly<Record<string, string | undefined>>,
  fault: (path: string, message: string) => void,
): Hook[] {
  const told = <T>(path: string, variable: string, parse: (text: string) => T): T | undefined => {
    const text = env[variable]?.trim() ?? '';
    try {
      // The variable is not named: whoever confused the two has written the secret there.
      if (text === '')
        throw new ConfigurationError('names an environment variable that is not set');
      return parse(text);
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      fault(path, text === '' ? error.message : `names a variable that ${describeError(error)}`);
      return undefined;
    }
  };
  return entries.flatMap(({ address, addressFrom, secretFrom, ...entry }, index) => {
    const { kind, on, thresholds } = entry;
    const url =
      addressFrom === undefined
        ? address
        : told(`${index}.${kind}From`, addressFrom, parseHookAddress);
    const secret = secretFrom === undefined ? undefined : env[secretFrom]?.trim();
    const key =
      secretFrom === undefined
        ? undefined
        : told(`${index}.secretFrom`, secretFrom, parseHookSecret);
    if (url === undefined) return [];
    keepAddressSecret(url);
    keepSecret(secret, secret?.replace('whsec_', ''));
    // Nobody believes what is not signed.
    if (secretFrom !== undefined && key === undefined) return [];
    return [{ kind, on, thresholds, url, key }];
  });
}
