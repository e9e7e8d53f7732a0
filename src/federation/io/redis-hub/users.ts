import type { Partition } from '../../../model/ports/hub.ts';
import { messageOf } from '../../../model/error.ts';
import { hubUser } from '../../hub-acl.ts';
import { connectRedis, endConnection, firstContact } from './connection.ts';
import { hubError } from './errors.ts';
import { connectionOf, type RedisHubOptions } from './open-redis-hub.ts';

/** A Redis user to be made. */
export interface NewHubUser {
  readonly user: string;
  /** The only one that it may write. */
  readonly partition: Partition;
  readonly password: string;
}

/** The users of a hub's server, changed by one that may do so. */
export interface HubUsers {
  /**
   * Makes a user anew, with this password alone. @throws IsthmusError `unavailable`, `timeout`, `denied`
   * @returns why the server will not remember it over a restart; undefined: it will
   */
  put(user: NewHubUser): Promise<string | undefined>;
  /** Takes users away, which ends their connections. @throws IsthmusError `unavailable`, `timeout`, `denied` */
  remove(users: readonly string[]): Promise<void>;
}

/** @param options signs in as a user that may run `ACL SETUSER`, `ACL DELUSER` and `ACL SAVE` */
export function redisHubUsers(options: RedisHubOptions): HubUsers {
  const { connection, prefix } = connectionOf(options);
  type Call = (...words: readonly string[]) => Promise<unknown>;
  const connected = async <T>(action: string, run: (acl: Call) => Promise<T>): Promise<T> => {
    const client = connectRedis(connection, 'commands');
    let lastError: unknown;
    client.on('error', (error: unknown) => (lastError = error));
    try {
      await firstContact(client);
      return await run((...words) => client.call('ACL', ...words));
    } catch (thrown) {
      throw hubError(connection.address.name, action, lastError ?? thrown);
    } finally {
      await endConnection(client, options.clock);
    }
  };
  /** Without an ACL file the server has nothing to save to, which is no reason to refuse a user. */
  const save = async (acl: Call): Promise<string | undefined> => {
    try {
      await acl('SAVE');
      return undefined;
    } catch (thrown) {
      return messageOf(thrown).slice(0, 200);
    }
  };
  return {
    put: ({ user, partition, password }) =>
      connected(`make user ${user}`, async (acl) => {
        // The rules as people would type them: `ACL SETUSER <user> <rule> …`.
        const { line } = hubUser({ prefix, partition, user, password });
        await acl(...line.split(' ').slice(1));
        return save(acl);
      }),
    async remove(users): Promise<void> {
      if (users.length === 0) return;
      await connected(`remove users ${users.join(', ')}`, async (acl) => {
        await acl('DELUSER', ...users);
        await save(acl);
      });
    },
  };
}
