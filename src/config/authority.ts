import { z } from 'zod';
import type { TrustDomain } from '../model/identity.ts';
import type { HostPort } from '../model/address.ts';
import type { ConfigDocument } from './document.ts';
import { type HubConfig, hubSection } from './hub.ts';
import { dialAddress, type LogLevel, listenAddress, logLevel, path, type ResolvePath, trustDomain } from './scalars.ts';
import { adminSocketPath } from './socket-path.ts';
import { type ConfigSource, sourceOf } from './source.ts';
import { section } from '../wire/schema.ts';
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
  /** Serves SPIFFE bundles over HTTPS (profile https_web); absent: nobody does. */
  readonly bundles?: BundlesConfig;
  readonly log: LogLevel;
  readonly source?: ConfigSource;
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
