import type { HubReport } from '../model/status.ts';

/** Whose Redis user is asked for. */
export interface HubUserQuestion {
  /** Clusters, or `authority`. */
  readonly partitions: readonly string[];
  readonly prefix: string;
  /** Of a single user only. */
  readonly passwordFile?: string;
}

/** A Redis user as `isthmus hub acl` prints it. */
export interface HubUserRow {
  readonly user: string;
  readonly line: string;
}

/** Which hub is looked at: as a file of an agent or authority says, or by its URL. */
export type HubQuestion =
  | { readonly config: string }
  | {
      readonly url: string;
      readonly username?: string;
      readonly passwordFile?: string;
      readonly caFile?: string;
      readonly prefix: string;
      /** Whose partition this user should be able to write. */
      readonly cluster?: string;
    };

/** What the verbs of the hub do by themselves. Every function may throw an IsthmusError. */
export interface HubTools {
  users(question: HubUserQuestion): Promise<readonly HubUserRow[]>;
  check(question: HubQuestion): Promise<HubReport>;
}
