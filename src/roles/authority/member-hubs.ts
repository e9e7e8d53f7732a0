import { randomBytes } from 'node:crypto';
import type { AuthorityConfig, HubForMembers } from '../../config/authority.ts';
import { hubUser } from '../../federation/hub-acl.ts';
import { type HubUsers, redisHubUsers } from '../../federation/io/redis-hub/users.ts';
import { IsthmusError } from '../../model/error.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { MemberHub } from '../../model/trust.ts';
import { redisOptions, type OpenHubContext } from '../open-hub.ts';

/** Bytes of a password that nobody has to type. */
const passwordBytes = 24;

/** What members are told of the hub, and the Redis users that they sign in as. */
export interface MemberHubs {
  /**
   * For a replica that joins: its user is made, if that was left to the authority.
   * @throws IsthmusError `unavailable`: the user cannot be made now
   */
  enlist(cluster: ClusterName, replica: ReplicaName): Promise<MemberHub | undefined>;
  /** The line that makes the user of a cluster; undefined: nobody has to run it. */
  lineFor(cluster: ClusterName): string | undefined;
  /** Takes the users of a revoked cluster away. @throws IsthmusError */
  expel(cluster: ClusterName, replicas: ReadonlySet<string>): Promise<void>;
}

/** @throws IsthmusError naming the value whose file cannot be read */
export async function openMemberHubs(config: AuthorityConfig, context: OpenHubContext): Promise<MemberHubs> {
  const told = toldHub(config);
  if (!told) return { enlist: async () => undefined, lineFor: () => undefined, expel: async () => undefined };
  const { url, prefix, username, admin } = told;
  if (!admin) {
    return {
      async enlist(cluster) {
        return { url, prefix, ...(username !== undefined && { username: nameFor(username, cluster, '') }) };
      },
      lineFor(cluster) {
        const user = username !== undefined && { user: nameFor(username, cluster, '') };
        return hubUser({ prefix, partition: cluster, ...user }).line;
      },
      expel: async () => undefined,
    };
  }
  const users: HubUsers = redisHubUsers(
    await redisOptions({ url, prefix, ...admin }, { ...context, keyPath: 'hubForMembers.admin' }),
  );
  const pattern = username ?? `${prefix}-{cluster}-{replica}`;
  let warned = false;
  return {
    async enlist(cluster, replica) {
      const user = nameFor(pattern, cluster, replica);
      const password = randomBytes(passwordBytes).toString('base64url');
      const forgets = await users.put({ user, partition: cluster, password }).catch((cause: unknown) => {
        const { message } = IsthmusError.from(cause);
        throw new IsthmusError('unavailable', `${cluster} is admitted, but has no Redis user yet: ${message}`, {
          hint: 'Join again with the same token and state directory: it goes on where it was.',
          cause,
        });
      });
      context.log.info({ user, cluster, replica }, 'made a Redis user');
      if (forgets !== undefined && !warned) {
        warned = true;
        context.log.warn(
          { hub: url, reason: forgets },
          'the hub forgets its users when it restarts: give it an aclfile',
        );
      }
      return { url, prefix, username: user, password };
    },
    lineFor: () => undefined,
    expel: (cluster, replicas) => users.remove([...replicas].map((replica) => nameFor(pattern, cluster, replica))),
  };
}

function nameFor(pattern: string, cluster: string, replica: string): string {
  return pattern.replaceAll('{cluster}', cluster).replaceAll('{replica}', replica);
}

/** A hub inside of this process is no use to members. */
function toldHub({ hub, hubForMembers }: AuthorityConfig): HubForMembers | undefined {
  if (hubForMembers) return hubForMembers;
  return hub && hub.url !== 'memory' ? { url: hub.url, prefix: hub.prefix } : undefined;
}
