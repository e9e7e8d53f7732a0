/** What one look at a Redis server found out. Sizes in bytes, times in ms. */
export interface HubFacts {
  readonly version: string;
  /** As the server signs this connection in; undefined: it will not say. */
  readonly user: string | undefined;
  readonly role: 'master' | 'slave' | 'unknown';
  readonly connectedReplicas: number;
  /** Of a replica: whether it hears from its master. */
  readonly masterLink: 'up' | 'down' | undefined;
  readonly evictionPolicy: string;
  readonly maxMemory: number;
  readonly usedMemory: number;
  readonly appendOnly: boolean;
  readonly savesSnapshots: boolean;
  readonly lastSaveOk: boolean;
  readonly latencyP50Ms: number;
  readonly latencyP99Ms: number;
  /** Server's clock less this machine's. */
  readonly skewMs: number;
  readonly permissions: HubPermissions;
}

/** What this user could do, tried out; each is `ok` or the server's words. */
export interface HubPermissions {
  readonly readOthers: string;
  readonly hints: string;
  /** Undefined: it is not known whose partition would be the own one. */
  readonly writeOwn: string | undefined;
  /** What it should not be able to do. */
  readonly writeForeign: string;
}
