import { z } from 'zod';
import { isReservedPath, parseSpiffeId, pathOf, type SpiffeId } from '../model/identity.ts';
import { path, type ResolvePath, word } from './scalars.ts';
import { scalar, section } from '../wire/schema.ts';

/** An issuer of tokens that say who a workload is. */
export interface JwtIssuerConfig {
  /** `iss` of its tokens. */
  readonly issuer: string;
  /** Must be among `aud` of a token. Default `isthmus`. */
  readonly audience: string;
  /** JWK Set: a file, or else its value. */
  readonly keysFile?: string;
  readonly keys?: object;
  /** How `sub` names a workload. Default: as Kubernetes does, `system:serviceaccount:{namespace}:{serviceAccount}`. */
  readonly subject: string;
}

/** A Unix socket of the SPIFFE Workload API, for one workload. */
export interface WorkloadSocketConfig {
  /** In a directory of its own, which becomes the user's. */
  readonly path: string;
  /** The identity of whoever opens it: a SPIFFE ID, or else a service account as `<namespace>/<name>`. */
  readonly spiffeId?: SpiffeId;
  readonly serviceAccount?: string;
  /** Who may open it; absent = the agent's own user. */
  readonly uid?: number;
}

/** How workloads get identities from this agent. */
export interface WorkloadsConfig {
  /** DNS names under which clients of the signing API reach the agent; they stand in its certificate. Default none. */
  readonly serverNames: readonly string[];
  readonly jwt: readonly JwtIssuerConfig[];
  readonly sockets: readonly WorkloadSocketConfig[];
}

const maxIssuers = 32;
const maxSockets = 256;
const maxServerNames = 16;

/** RFC 1035 §2.3.1 in lower case, no wildcard. */
const dnsName = word(
  `a DNS name, such as 'isthmus-agent.isthmus-system.svc'`,
  /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/,
);

const text = (expected: string, max: number): z.ZodType<string> =>
  word(expected, new RegExp(`^[\\x21-\\x7e]{1,${max}}$`));

const issuer = (resolve: ResolvePath): z.ZodType<JwtIssuerConfig> =>
  section({
    issuer: text(`the issuer of tokens, such as 'https://kubernetes.default.svc'`, 2048),
    audience: text(`an audience of your own, such as 'isthmus'`, 255).default('isthmus'),
    keysFile: z.exactOptional(path(resolve)),
    keys: z.exactOptional(z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })) })),
    subject: text(`a subject with {namespace} and {serviceAccount}`, 300).default(
      'system:serviceaccount:{namespace}:{serviceAccount}',
    ),
  }).superRefine(({ keysFile, keys, subject }, context) => {
    if ((keysFile === undefined) === (keys === undefined)) {
      const message = 'is required unless there is keys: one of the two, with the public keys of the issuer';
      context.addIssue({ code: 'custom', path: ['keysFile'], message });
    }
    const names = subject.match(/\{namespace\}|\{serviceAccount\}/g) ?? [];
    if (names.length !== 2 || names[0] === names[1] || subject.includes('}{')) {
      const message = 'must have {namespace} and {serviceAccount} once each, with text between them';
      context.addIssue({ code: 'custom', path: ['subject'], message });
    }
  });

const spiffeId: z.ZodType<SpiffeId> = scalar(
  `a SPIFFE ID, such as 'spiffe://east.mesh.example/ns/shop/sa/web'`,
  (value) => {
    if (typeof value !== 'string') return undefined;
    const id = parseSpiffeId(value);
    if (pathOf(id) === '' || isReservedPath(id)) throw new Error(`must be a workload's, not one below '/isthmus'`);
    return id;
  },
);

const socket = (resolve: ResolvePath): z.ZodType<WorkloadSocketConfig> =>
  section({
    path: path(resolve),
    spiffeId: z.exactOptional(spiffeId),
    serviceAccount: z.exactOptional(
      word(
        `a service account as <namespace>/<name>, such as 'shop/web'`,
        /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/,
      ),
    ),
    uid: z.exactOptional(z.number().int().min(0).max(4_294_967_294)),
  }).superRefine(({ spiffeId: id, serviceAccount }, context) => {
    if ((id === undefined) === (serviceAccount === undefined)) {
      const message = 'is required unless there is spiffeId: one of the two says whose socket it is';
      context.addIssue({ code: 'custom', path: ['serviceAccount'], message });
    }
  });

/** The directory of a path, without touching the disk. */
function folderOf(file: string): string {
  return file.slice(0, Math.max(0, file.lastIndexOf('/')));
}

/** The key `workloads` of an agent. */
export function workloadsSection(resolve: ResolvePath): z.ZodType<WorkloadsConfig> {
  return section({
    serverNames: z.array(dnsName).max(maxServerNames).default([]),
    jwt: z.array(issuer(resolve)).max(maxIssuers).default([]),
    sockets: z.array(socket(resolve)).max(maxSockets).default([]),
  })
    .superRefine(({ jwt, sockets }, context) => {
      const once = (list: string, key: string, values: readonly string[], what: string): void => {
        for (const [index, value] of values.entries()) {
          if (values.indexOf(value) === index) continue;
          const message = `${what}: '${value}' is that of ${list}[${values.indexOf(value)}] already`;
          context.addIssue({ code: 'custom', path: [list, index, key], message });
        }
      };
      once(
        'jwt',
        'issuer',
        jwt.map((each) => each.issuer),
        'must be there once',
      );
      once(
        'sockets',
        'path',
        sockets.map((each) => folderOf(each.path)),
        'must be in a directory of its own',
      );
    })
    .prefault({});
}
