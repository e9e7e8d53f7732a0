import type { AuthorityTools } from './authority-tools.ts';
import type { HubTools } from './hub-tools.ts';
import type { DemoOptions, InitOptions, JoinOptions, RoleIo } from './role-io.ts';
import type { TrustTools } from './trust-tools.ts';

/** Roles that run from a file. */
export type FileRole = 'authority' | 'agent' | 'gateway';

/** A connection to an admin socket. */
export interface AdminConnection {
  readonly socketPath: string;
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  close(): Promise<void>;
}

/** A validated configuration file. */
export interface ReadConfig {
  readonly role: FileRole;
  /** Every default written out, in the words of the file. */
  readonly effective: unknown;
  /** Path of a value → its 1-based line in the file. */
  readonly lines: ReadonlyMap<string, number>;
  readonly stateDir: string;
  /** Absent for a gateway, which has none. */
  readonly adminSocket?: string;
  readonly cluster?: string;
  readonly replica?: string;
  readonly federationDomain?: string;
  readonly passphraseFile?: string;
}

/**
 * What the commands need of the rest of the program. `main.ts` composes it, each part loaded on first use. Every
 * function may throw an IsthmusError; those that resolve to a number give the exit status.
 */
export interface World {
  readonly version: string;
  readonly stdout: RoleIo['stdout'];
  readonly stderr: RoleIo['stderr'];
  readonly env: RoleIo['env'];
  /** Numeric user id; undefined where there is none. */
  readonly uid: number | undefined;
  /** Begins to catch the signals that end a role. Until then they end the process, as usual. */
  catchSignals(): AbortSignal;
  /** Takes SIGHUP over from `catchSignals` until the result is called. */
  onHangup(listener: () => void): () => void;
  connect(socketPath: string, timeoutMs: number): Promise<AdminConnection>;
  readConfig(file: string, role?: FileRole): Promise<ReadConfig>;
  /** The services that an agent's configuration, or a services file, lists: in the words of the file. */
  listServices(from: { readonly config: string } | { readonly file: string }): Promise<readonly unknown[]>;
  run(role: FileRole, file: string, io: RoleIo): Promise<number>;
  demo(options: DemoOptions, io: RoleIo): Promise<number>;
  initAuthority(options: InitOptions, io: RoleIo): Promise<number>;
  join(options: JoinOptions, io: RoleIo): Promise<number>;
  /** What the authority's verbs do without a running authority. */
  authority(): Promise<AuthorityTools>;
  /** What the trust verbs do by themselves. */
  trust(): Promise<TrustTools>;
  /** What the hub verbs do by themselves. */
  hub(): Promise<HubTools>;
}
