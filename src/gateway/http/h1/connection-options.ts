/** What `Connection` says (RFC 9110 §7.6.1). */
export interface ConnectionOptions {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  /** Names of further fields that are of this hop only, in lower case. */
  readonly named: ReadonlySet<string>;
}

const none: ReadonlySet<string> = new Set();
/** Without these a message means something else, so nobody may have them taken out. */
const indispensable: ReadonlySet<string> = new Set(['host', 'content-length', 'transfer-encoding', 'trailer']);
const token = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const maxNamed = 32;

export const noOptions: ConnectionOptions = { close: false, keepAlive: false, upgrade: false, named: none };
const justKeepAlive: ConnectionOptions = { ...noOptions, keepAlive: true };
const justClose: ConnectionOptions = { ...noOptions, close: true };

/** `value`: of all `Connection` fields, joined by commas. Undefined: it cannot be followed. */
export function connectionOptions(value: string): ConnectionOptions | undefined {
  // What nearly all messages say.
  if (value === 'keep-alive') return justKeepAlive;
  if (value === 'close') return justClose;
  let [close, keepAlive, upgrade] = [false, false, false];
  const named = new Set<string>();
  for (const part of value.toLowerCase().split(',')) {
    const option = part.trim();
    if (option === '') continue;
    if (!token.test(option) || indispensable.has(option) || named.size >= maxNamed) return undefined;
    if (option === 'close') close = true;
    else if (option === 'keep-alive') keepAlive = true;
    else if (option === 'upgrade') upgrade = true;
    else named.add(option);
  }
  return { close, keepAlive, upgrade, named };
}
