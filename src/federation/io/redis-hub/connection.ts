import { isIP } from 'node:net';
import { Redis, type RedisOptions } from 'ioredis';
import type { Clock } from '../../../model/ports/clock.ts';
import type { Log } from '../../../model/ports/log.ts';
import { messageOf } from '../../../model/error.ts';
import type { RedisAddress } from './address.ts';

/** Timings of one connection, in ms. */
export interface RedisTimings {
  /** For one command; the server may still carry it out. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** No wait between two attempts to connect is longer. */
  readonly maxReconnectMs: number;
  /** An idle subscriber asks for a sign of life so often. */
  readonly pingMs: number;
}

export const defaultRedisTimings: RedisTimings = {
  commandTimeoutMs: 1500,
  connectTimeoutMs: 2000,
  maxReconnectMs: 1000,
  pingMs: 2000,
};

/** Grace in ms for the end of a connection. */
const disconnectMs = 50;

export interface ConnectionOptions {
  readonly address: RedisAddress;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** PEM of the authorities that may have signed the server's certificate. */
  readonly ca?: string | Buffer | undefined;
  readonly timings: RedisTimings;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * One connection that comes back by itself. Commands fail at once while it is down: nothing is queued, and nothing that
 * was under way is sent again, because the caller alone knows whether that would be right.
 */
export function connectRedis(options: ConnectionOptions, role: 'commands' | 'hints'): Redis {
  const { address, timings, clock, log } = options;
  const settings = {
    host: address.host,
    port: address.port,
    db: address.db,
    connectionName: `isthmus-${role}`,
    ...definedCredentials(options),
    ...(address.tls && { tls: { ...(isIP(address.host) === 0 && { servername: address.host }), ...caOf(options) } }),
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timings.commandTimeoutMs,
    connectTimeout: timings.connectTimeoutMs,
    socketTimeout: timings.commandTimeoutMs * 2,
    keepAlive: 5000,
    // A connection that does not end by itself is destroyed after so long; the library's own timer keeps the process up.
    disconnectTimeout: disconnectMs,
    retryStrategy: (attempt: number): number => {
      const nominal = Math.min(timings.maxReconnectMs, 50 * 2 ** Math.min(attempt, 16));
      return nominal / 2 + (nominal / 2) * clock.random();
    },
    autoResubscribe: false,
  } satisfies RedisOptions;
  const client = new Redis(settings);
  let down = false;
  const lost = (why: string): void => {
    if (down) return;
    down = true;
    log.warn({ hub: address.name, connection: role, reason: why }, 'hub connection lost; reconnecting');
  };
  // Without a listener the library prints to the console.
  client.on('error', (error: unknown) => lost(messageOf(error)));
  client.on('close', () => lost('closed'));
  client.on('ready', () => {
    if (down) log.info({ hub: address.name, connection: role }, 'hub connection restored');
    down = false;
  });
  return client;
}

function definedCredentials(options: ConnectionOptions): Pick<RedisOptions, 'username' | 'password'> {
  const username = options.username ?? options.address.username;
  const password = options.password ?? options.address.password;
  return { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
}

function caOf(options: ConnectionOptions): { ca?: string | Buffer } {
  return options.ca === undefined ? {} : { ca: options.ca };
}

/** Resolves when the first attempt to connect has come to an end, well or badly. Never rejects. */
export function firstContact(client: Redis): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      client.off('ready', done).off('close', done).off('end', done);
      resolve();
    };
    client.on('ready', done).on('close', done).on('end', done);
  });
}

/** Ends a connection for good. Resolves when it is gone, soon in any case. */
export function endConnection(client: Redis, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel();
      client.off('end', done);
      resolve();
    };
    const timer = clock.schedule(2 * disconnectMs, done);
    client.on('end', done);
    client.disconnect();
    if (client.status === 'end') done();
  });
}
