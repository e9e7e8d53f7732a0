import { readFile } from 'node:fs/promises';
import type { HubQuestion, HubTools } from '../cli/hub-tools.ts';
import { resolveHub } from '../config/hub.ts';
import { loadAnyConfig, readConfiguredSecret } from '../config/io/load.ts';
import { judgeHub } from '../federation/check/judge-hub.ts';
import { hubUser } from '../federation/hub-acl.ts';
import { inspectRedis } from '../federation/io/redis-hub/inspect.ts';
import { parseRedisUrl } from '../federation/io/redis-hub/address.ts';
import type { RedisHubOptions } from '../federation/io/redis-hub/open-redis-hub.ts';
import { IsthmusError, messageOf } from '../model/error.ts';
import { parseClusterName } from '../model/names.ts';
import { authorityPartition, type Partition } from '../model/ports/hub.ts';
import type { Log } from '../model/ports/log.ts';
import { systemClock } from '../runtime/io/clock.ts';
import { redisOptions } from './open-hub.ts';
import { keepAlive } from './shutdown.ts';

/** The tools of `isthmus hub …` that need no server. */
export const hubTools: HubTools = {
  async users({ partitions, prefix, passwordFile }) {
    if (passwordFile !== undefined && partitions.length > 1) {
      throw new IsthmusError('invalid', '--password-file is the password of one user: name one cluster');
    }
    const password = passwordFile && (await secret(passwordFile));
    return partitions.map((name) =>
      hubUser({ prefix, partition: partitionOf(name), ...(password !== undefined && { password }) }),
    );
  },
  async check(question) {
    const { options, own } = await optionsOf(question);
    // Timers of a clock do not keep the process up.
    const release = keepAlive();
    try {
      const facts = await inspectRedis(options, own);
      const acl = `isthmus hub acl ${own ?? '<cluster>'}`;
      return { hub: parseRedisUrl(options.url).name, checks: judgeHub(facts, acl) };
    } finally {
      release();
    }
  },
};

function partitionOf(name: string): Partition {
  return name === authorityPartition ? name : parseClusterName(name);
}

function secret(file: string): Promise<string> {
  return readConfiguredSecret(file, undefined, '--password-file');
}

interface Inspection {
  readonly options: RedisHubOptions;
  readonly own: Partition | undefined;
}

async function optionsOf(question: HubQuestion): Promise<Inspection> {
  const context = { source: undefined, clock: systemClock, log: silent };
  if ('config' in question) {
    const { kind, config } = await loadAnyConfig(question.config);
    const hub = 'hub' in config && config.hub ? resolveHub(config.hub, undefined) : undefined;
    if (!hub || hub.url === 'memory') {
      throw new IsthmusError('invalid', `${question.config} is the configuration of a ${kind} without a Redis hub`, {
        hint: 'Name the configuration of an agent or the authority, or the hub with --url',
      });
    }
    const own = 'cluster' in config ? config.cluster : authorityPartition;
    return { options: await redisOptions(hub, { ...context, source: config.source }), own };
  }
  const { url, prefix, username, passwordFile, caFile, cluster } = question;
  const password = passwordFile && (await secret(passwordFile));
  const ca =
    caFile &&
    (await readFile(caFile).catch((cause: unknown) => {
      throw new IsthmusError('invalid', `Cannot read ${caFile}: ${messageOf(cause)}`, { cause });
    }));
  return {
    options: {
      url,
      prefix,
      clock: systemClock,
      log: silent,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(ca !== undefined && { ca }),
    },
    own: cluster === undefined ? undefined : partitionOf(cluster),
  };
}

/** What is wrong is the answer; it need not be logged as well. */
const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};
