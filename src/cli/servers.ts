/** Which kind of server a verb talks to. `any`: an agent if there is one, else the authority. */
export type ServerKind = 'agent' | 'authority' | 'any' | 'demo';

/** A socket where a server may be, and why it was thought of. */
export interface ServerCandidate {
  readonly path: string;
  readonly from: string;
}

export interface ServerHints {
  /** `--server`, or its variable. */
  readonly server: string | undefined;
  /** The admin socket that `--config` names. */
  readonly configSocket: string | undefined;
  readonly temporaryDir: string;
  readonly uid: number | undefined;
}

/** Where packages keep the state of a role. */
const installedDir = '/var/lib/isthmus';

/** The folder in which a running demo of this user leaves its sockets. */
export function demoDir(temporaryDir: string, uid: number | undefined): string {
  return `${temporaryDir}/isthmus-demo-${uid ?? 'user'}`;
}

/** Sockets to try, in order. One that was named is tried alone: a typing error must not end at another server. */
export function serverCandidates(kind: ServerKind, hints: ServerHints): readonly ServerCandidate[] {
  if (hints.server !== undefined) return [{ path: hints.server, from: '--server or ISTHMUS_SERVER' }];
  if (hints.configSocket !== undefined) return [{ path: hints.configSocket, from: '--config' }];
  const demo = demoDir(hints.temporaryDir, hints.uid);
  if (kind === 'demo') return [{ path: `${demo}/demo.sock`, from: 'running demo' }];
  const agents = [
    { path: `${installedDir}/agent/admin.sock`, from: 'installed agent' },
    { path: `${demo}/admin.sock`, from: 'agent of a running demo' },
  ];
  const authorities = [
    { path: `${installedDir}/authority/admin.sock`, from: 'installed authority' },
    { path: `${demo}/authority.sock`, from: 'authority of a running demo' },
  ];
  if (kind === 'agent') return agents;
  return kind === 'authority' ? authorities : [...agents, ...authorities];
}

/** How to get a server of a kind, for the message that there is none. */
export function startHint(kind: ServerKind): string {
  if (kind === 'demo') return `Start one with 'isthmus demo'`;
  const role = kind === 'authority' ? 'authority' : 'agent';
  return `Start one with 'isthmus ${role} -f ${role}.yaml', or name its socket with --server or --config`;
}
