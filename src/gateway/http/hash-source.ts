import type { LoadBalancingPlan } from '../../model/traffic.ts';

/** What a request can be asked for. */
export interface HashFields {
  /** First value of a header field. `name` in lower case. */
  readonly header: (name: string) => string | undefined;
  /** Values of all `cookie` fields. */
  readonly cookies: () => readonly string[];
}

/** What `consistentHash` goes by: the header or cookie that the policy names, else the client's address. */
export function sourceOf(
  { algorithm, hash }: LoadBalancingPlan,
  address: string | undefined,
  fields: HashFields,
): string | undefined {
  if (algorithm !== 'consistentHash' || !hash || hash.by === 'sourceIP') return address;
  const value = hash.by === 'header' ? fields.header(hash.name) : cookieOf(hash.name, fields.cookies());
  return value === undefined || value === '' ? address : value;
}

/** RFC 6265 §4.2.1: `name=value; name=value`. */
function cookieOf(name: string, cookies: readonly string[]): string | undefined {
  for (const cookie of cookies) {
    for (const pair of cookie.split(';')) {
      const equals = pair.indexOf('=');
      if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}
