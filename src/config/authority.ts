import { z } from 'zod';
import type { TrustDomain } from '../model/identity.ts';
import type { HostPort } from '../model/address.ts';
import type { ConfigDocument } from './document.ts';
import { type HubConfig, hubPrefix, hubSection, hubSignIn, hubUrl } from './hub.ts';
import {
  dialAddress,
  duration,
  type LogLevel,
  listenAddress,
  logLevel,
  path,
  type ResolvePath,
  trustDomain,
  word,
} from './scalars.ts';
import { adminSocketPath } from './socket-path.ts';
import { type ConfigSource, sourceOf } from './source.ts';
import { count, section } from '../wire/schema.ts';
import { type Validated, validate } from './validate.ts';

/** What `isthmus authority` runs from. Paths are absolute. */
export interface AuthorityConfig {
  /** 0700; holds the keys, the roster, tokens and the journal. */
  readonly stateDir: string;
  /** Parent of every cluster's trust domain; never a trust domain itself. */
  readonly federationDomain: TrustDomain;
  /** gRPC for agents. Default 0.0.0.0:8443. */
  readonly listen: HostPort;
  /** Where agents reach it, as join tokens say. Default: `listen`, when that is a single address. */
  readonly advertise: readonly HostPort[];
  /** Admin socket. Default `<stateDir>/admin.sock`. */
  readonly admin: string;
  /** 0600; unlocks the keys. Default: `<stateDir>/passphrase`, made by `authority init`. */
  readonly passphraseFile?: string;
  /** Where the sealed roster is published as well. */
  readonly hub?: HubConfig;
  /** Where members find the hub, as they are told when they join. Default: `hub`, unless that is in this process. */
  readonly hubForMembers?: HubForMembers;
  /** What intermediates are like; absent = as by default. */
  readonly issuance?: IssuanceConfig;
  /** How many certificate requests are looked at; absent = rates that a storm of 500 newcomers passes. */
  readonly rates?: RatesConfig;
  /** Serves SPIFFE bundles over HTTPS (profile https_web); absent: nobody does. */
  readonly bundles?: BundlesConfig;
  readonly log: LogLevel;
  readonly source?: ConfigSource;
}

/** What a joining cluster is told of the hub. */
export interface HubForMembers {
  readonly url: string;
  readonly prefix: string;
  /**
   * Name of a Redis user; `{cluster}` stands for the cluster's name, `{replica}` for that of the replica which joins.
   * Default with `admin`: `<prefix>-{cluster}-{replica}`; without it: no user.
   */
  readonly username?: string;
  /** Signs in to make the users of those who join, and to take those of revoked clusters away; absent: people do. */
  readonly admin?: HubAdmin;
}

/** A Redis user that may run `ACL SETUSER`, `ACL DELUSER` and `ACL SAVE`. */
export interface HubAdmin {
  readonly username?: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
}

export interface IssuanceConfig {
  /** Bind intermediates to their trust domain by name constraints. Default true; rustls rejects every such chain. */
  readonly nameConstraints: boolean;
  /** Default 60 days, at most 90. */
  readonly intermediateLifeMs: number;
}

/** `burst` at once, then so many per second. */
export interface RateConfig {
  readonly perSecond: number;
  readonly burst: number;
}

export interface RatesConfig {
  /** All callers together. */
  readonly global: RateConfig;
  /** Each source address. */
  readonly source: RateConfig;
  /** Each cluster or agent. */
  readonly identity: RateConfig;
}

/** The HTTPS endpoint of the federation's bundles. */
export interface BundlesConfig {
  /** Default 0.0.0.0:8444. */
  readonly listen: HostPort;
  /** PEM chain that readers trust for the host they dial. */
  readonly certFile: string;
  /** PEM, 0600. */
  readonly keyFile: string;
}

/** Listening everywhere is an address for nobody. */
function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

const day = 86_400_000;

const rate: z.ZodType<RateConfig> = section({ perSecond: count(1, 100_000), burst: count(1, 1_000_000) });

const issuance: z.ZodType<IssuanceConfig> = section({
  nameConstraints: z.boolean().default(true),
  intermediateLife: duration(3_600_000, 90 * day).default(60 * day),
}).transform(({ nameConstraints, intermediateLife }) => ({ nameConstraints, intermediateLifeMs: intermediateLife }));

const userPattern = word(
  `a Redis user name, in which '{cluster}' and '{replica}' stand for who joins`,
  /^[^\s:@]{1,128}$/,
);

function schema(resolve: ResolvePath): z.ZodType<AuthorityConfig> {
  return section({
    role: z.exactOptional(z.literal('authority')),
    stateDir: path(resolve),
    federationDomain: trustDomain,
    listen: listenAddress.default({ host: '0.0.0.0', port: 8443 }),
    advertise: z.exactOptional(z.array(dialAddress).min(1).max(16)),
    admin: z.exactOptional(path(resolve)),
    passphraseFile: z.exactOptional(path(resolve)),
    hub: z.exactOptional(hubSection(resolve)),
    hubForMembers: z.exactOptional(
      section({
        url: hubUrl,
        prefix: hubPrefix.default('isthmus'),
        username: z.exactOptional(userPattern),
        admin: z.exactOptional(section(hubSignIn(resolve))),
      })
        .refine(({ url }) => url !== 'memory', {
          path: ['url'],
          error: 'must be the address of a Redis: members cannot reach into this process',
        })
        .refine(({ username, admin }) => admin === undefined || (username ?? '{replica}').includes('{replica}'), {
          path: ['username'],
          error: "must contain '{replica}': each replica that joins gets a user with a password of its own",
        }),
    ),
    issuance: issuance.prefault({}),
    rates: z.exactOptional(section({ global: rate, source: rate, identity: rate })),
    bundles: z.exactOptional(
      section({
        listen: listenAddress.default({ host: '0.0.0.0', port: 8444 }),
        certFile: path(resolve),
        keyFile: path(resolve),
      }),
    ),
    log: logLevel,
  })
    .superRefine(({ listen, advertise }, context) => {
      if (advertise === undefined && (isWildcard(listen.host) || listen.port === 0)) {
        const message = 'is required: the addresses at which agents reach the authority, because it listens everywhere';
        context.addIssue({ code: 'custom', path: ['advertise'], message });
      }
    })
    .transform(({ role: _role, ...config }, context) => ({
      ...config,
      advertise: config.advertise ?? [config.listen],
      admin: adminSocketPath(config, context),
    }));
}

/** Reads an authority's configuration; every default is applied. */
export function parseAuthorityConfig(document: ConfigDocument, resolve: ResolvePath): Validated<AuthorityConfig> {
  const result = validate(schema(resolve), document);
  return result.ok ? { ok: true, value: { ...result.value, source: sourceOf(document) } } : result;
}
