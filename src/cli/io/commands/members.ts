import { IsthmusError } from '../../../model/error.ts';
import { adminPaths, type ClusterRow } from '../../../model/status.ts';
import { clustersView } from '../../views/clusters.ts';
import type { World } from '../../world.ts';
import { askAuthority, type AuthorityFlags, showView } from './authority.ts';

/** What can become of a member. */
export type MemberChange = 'suspend' | 'resume' | 'revoke';

const states = { suspend: 'suspended', resume: 'active', revoke: 'revoked' } as const;

const undo: Readonly<Record<MemberChange, (cluster: string) => string>> = {
  suspend: (cluster) => `Undo: isthmus clusters resume ${cluster} --why …`,
  resume: (cluster) => `Undo: isthmus clusters suspend ${cluster} --why …`,
  revoke: () => `There is no undo: a revoked cluster comes back under another name only.`,
};

/** `isthmus clusters suspend|resume|revoke` */
export async function changeMember(
  world: World,
  change: MemberChange,
  request: { readonly cluster: string; readonly why: string },
  flags: AuthorityFlags,
): Promise<number> {
  const body = { ...request, state: states[change] };
  const rows = await askAuthority(world, flags, (authority) =>
    authority.post<ClusterRow[]>(adminPaths.clusterState, body),
  );
  world.stderr.write(`${undo[change](request.cluster)}\n`);
  return showView(world, clustersView(only(rows, request.cluster)), flags);
}

/** `isthmus clusters label|admit` */
export async function admitMember(
  world: World,
  request: { readonly cluster: string; readonly why: string; readonly body: object },
  flags: AuthorityFlags,
): Promise<number> {
  const { cluster, why, body } = request;
  if (Object.keys(body).length === 0) throw new IsthmusError('invalid', 'There is nothing to change: see --help');
  const rows = await askAuthority(world, flags, (authority) =>
    authority.post<ClusterRow[]>(adminPaths.clusterAdmission, { cluster, why, ...body }),
  );
  return showView(world, clustersView(only(rows, cluster)), flags);
}

function only(rows: readonly ClusterRow[], cluster: string): readonly ClusterRow[] {
  return rows.filter((row) => row.cluster === cluster);
}
