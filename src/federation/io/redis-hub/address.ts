import { IsthmusError } from '../../../model/error.ts';

/** A Redis server as its URL names it. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Without user and password: for people, logs and errors. */
  readonly name: string;
}

/**
 * Parses `redis[s]://[user[:password]@]host[:port][/db]`.
 * @throws IsthmusError `invalid`; the message never shows what might hold a password.
 */
export function parseRedisUrl(text: string): RedisAddress {
  const url = URL.parse(text);
  if (!url || (url.protocol !== 'redis:' && url.protocol !== 'rediss:') || url.hostname === '') {
    throw new IsthmusError('invalid', 'A hub URL must be redis://host[:port][/db] or rediss://…: the given one is not');
  }
  const db = url.pathname === '' || url.pathname === '/' ? 0 : Number(url.pathname.slice(1));
  if (!Number.isInteger(db) || db < 0 || db > 1_000_000) {
    throw new IsthmusError(
      'invalid',
      `The path of a hub URL must be a database number: current value is '${url.pathname}'`,
    );
  }
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  const port = url.port === '' ? 6379 : Number(url.port);
  const tls = url.protocol === 'rediss:';
  return {
    host,
    port,
    db,
    tls,
    username: decoded(url.username),
    password: decoded(url.password),
    name: `${url.protocol}//${url.hostname}:${port}/${db}`,
  };
}

function decoded(part: string): string | undefined {
  try {
    return part === '' ? undefined : decodeURIComponent(part);
  } catch {
    // The cause would show it.
    throw new IsthmusError('invalid', `User and password of a hub URL must escape '%' as '%25': the given ones do not`);
  }
}
