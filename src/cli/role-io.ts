/** Where a command writes. `process.stdout` is one. */
export interface Output {
  write(text: string): unknown;
  /** A person watches. */
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** All that a role gets of the process that runs it. */
export interface RoleIo {
  /** Aborts at SIGINT or SIGTERM, and at SIGHUP unless somebody listens to that: end everything, then resolve. */
  readonly signal: AbortSignal;
  /** Calls back at SIGHUP: read the files again. The result ends it. */
  readonly onHangup: (listener: () => void) => () => void;
  /** Data. */
  readonly stdout: Output;
  /** Progress and logs. */
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** `isthmus demo`. */
export interface DemoOptions {
  /** `memory`: in process. `auto`: a private redis-server if one is installed, else memory. Or the URL of a Redis. */
  readonly hub: string;
  /** Runs unattended and ends; absent = until stopped. */
  readonly scenario?: 'failover';
  /** The last line on stdout is one JSON object. */
  readonly json: boolean;
  /** Real TCP servers on this machine that `east` exports. */
  readonly services: readonly DemoService[];
  /** First of a block of fixed ports; absent = free ones. */
  readonly portsFrom?: number;
}

/** `--service shop/db=127.0.0.1:5432`. The service port is the server's own. */
export interface DemoService {
  /** `<namespace>/<name>` */
  readonly service: string;
  readonly host: string;
  readonly port: number;
}

/** `isthmus authority init`. */
export interface InitOptions {
  /** Absolute. */
  readonly stateDir: string;
  readonly federationDomain: string;
  /** Absolute; absent = one is made in the state directory. */
  readonly passphraseFile?: string;
  /** Where the root comes from; absent = a new one. Paths are absolute. */
  readonly root?: InitRoot;
}

/** An existing CA with its key, or one that signs elsewhere. */
export type InitRoot =
  | { readonly kind: 'import'; readonly certificateFile: string; readonly keyFile: string }
  | { readonly kind: 'offline'; readonly certificateFile: string };

/** `isthmus join`: the first identity of an agent replica. */
export interface JoinOptions {
  /** Absolute. */
  readonly stateDir: string;
  readonly replica: string;
  /** The token must be for this cluster; absent = whatever it is for. */
  readonly cluster?: string;
  /** Take the place of the identity that is there. */
  readonly rejoin: boolean;
  /** Secret. */
  readonly token: string;
}
