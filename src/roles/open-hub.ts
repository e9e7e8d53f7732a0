import { readFile } from 'node:fs/promises';
import type { HubConfig } from '../config/hub.ts';
import { readConfiguredSecret } from '../config/io/load.ts';
import { blame, type ConfigSource } from '../config/source.ts';
import { createEmbeddedHub } from '../federation/io/embedded-hub.ts';
import { openRedisHub, type RedisHubOptions } from '../federation/io/redis-hub/open-redis-hub.ts';
import type { Clock } from '../model/ports/clock.ts';
import type { Hub } from '../model/ports/hub.ts';
import type { Log } from '../model/ports/log.ts';

export interface OpenHubContext {
  readonly source: ConfigSource | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Where the section stands in the file. Default `hub`. */
  readonly keyPath?: string;
}

/** A hub, and a password that came another way than by a file. */
export type SignIn = HubConfig & { readonly password?: string };

/** The hub that a configuration names. @throws IsthmusError naming the value whose file cannot be read */
export async function openHub(config: SignIn, context: OpenHubContext): Promise<Hub> {
  return config.url === 'memory' ? createEmbeddedHub() : openRedisHub(await redisOptions(config, context));
}

/** How to sign in to it. @throws IsthmusError naming the value whose file cannot be read */
export async function redisOptions(
  config: SignIn,
  { source, clock, log, keyPath = 'hub' }: OpenHubContext,
): Promise<RedisHubOptions> {
  const { url, prefix, username, passwordFile, caFile } = config;
  const password =
    passwordFile === undefined
      ? config.password
      : await readConfiguredSecret(passwordFile, source, `${keyPath}.passwordFile`);
  let ca: Buffer | undefined;
  try {
    ca = caFile === undefined ? undefined : await readFile(caFile);
  } catch (thrown) {
    throw blame(thrown, source, `${keyPath}.caFile`);
  }
  return {
    url,
    prefix,
    clock,
    log,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { ca }),
  };
}
