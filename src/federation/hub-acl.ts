import { createHash } from 'node:crypto';
import type { Partition } from '../model/ports/hub.ts';
import { hubKeys, partitionPattern } from './hub-keys.ts';

/** A Redis user that may do what its owner does, and nothing else. */
export interface HubUser {
  readonly user: string;
  /** One line for `redis-cli` or an ACL file. It holds no password, only its digest. */
  readonly line: string;
}

export interface HubUserOptions {
  readonly prefix: string;
  /** A cluster, or `authority`. */
  readonly partition: Partition;
  /** Default `<prefix>-<partition>`. */
  readonly user?: string;
  /** Absent: the line has a place for it. */
  readonly password?: string;
}

/** What the scripts and the client use, command by command: no category of Redis is that narrow. */
const commands: readonly string[] = [
  'eval evalsha eval_ro evalsha_ro',
  'type strlen get set del hset hdel hget hgetall hkeys hlen hstrlen memory|usage',
  'xadd xrange xrevrange publish subscribe unsubscribe',
  'hello auth select ping info time client|setname acl|whoami',
].flatMap((some) => some.split(' '));

/**
 * The `ACL SETUSER` line of one writer: all partitions are readable, only the own one can be written (wire.md, "Hub
 * layout"). What is read is sealed, so reading everything gives nothing away but what members may know.
 */
export function hubUser({ prefix, partition, user = `${prefix}-${partition}`, password }: HubUserOptions): HubUser {
  const secret = password === undefined ? '>PASSWORD' : `#${createHash('sha256').update(password).digest('hex')}`;
  const rules = [
    'reset',
    'on',
    secret,
    `~${partitionPattern(prefix, partition)}`,
    `%R~${prefix}:*`,
    `&${hubKeys(prefix).hints}`,
    ...commands.map((command) => `+${command}`),
  ];
  return { user, line: `ACL SETUSER ${user} ${rules.join(' ')}` };
}
