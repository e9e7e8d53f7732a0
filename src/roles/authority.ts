import { startAdmin } from '../admin/io/server.ts';
import { authorityRoutes } from '../admin/authority-api.ts';
import type { RoleIo } from '../cli/role-io.ts';
import { formatHostPort } from '../model/address.ts';
import type { AuthorityConfig, BundlesConfig } from '../config/authority.ts';
import { blame } from '../config/source.ts';
import { IsthmusError } from '../model/error.ts';
import type { Clock } from '../model/ports/clock.ts';
import type { Hub } from '../model/ports/hub.ts';
import type { Log } from '../model/ports/log.ts';
import { bootMs, systemClock } from '../runtime/io/clock.ts';
import { type Authority, openAuthority } from '../trust/io/authority.ts';
import { authorityLimits } from '../trust/io/authority-issuance.ts';
import { type BundleEndpoint, startBundleEndpoint } from '../trust/io/bundle-endpoint.ts';
import { createAuthorityApi } from './authority/api.ts';
import { openMemberHubs } from './authority/member-hubs.ts';
import { openHub } from './open-hub.ts';
import { roleLog } from './role-log.ts';
import { aborted, keepAlive, Started } from './shutdown.ts';

export interface AuthorityRole {
  readonly authority: Authority;
  close(): Promise<void>;
}

export interface RoleContext {
  readonly clock: Clock;
  readonly log: Log;
  /** Instead of the configured one; not closed with the role. */
  readonly hub?: Hub;
}

/** Starts the authority with its admin socket. @throws IsthmusError; nothing is then left running */
export async function startAuthority(config: AuthorityConfig, context: RoleContext): Promise<AuthorityRole> {
  const { clock, log, hub: given } = context;
  const started = new Started(log);
  try {
    let hub = given;
    if (!hub && config.hub) {
      hub = await openHub(config.hub, { source: config.source, clock, log });
      started.add('hub', () => hub?.close());
    }
    const hubs = await openMemberHubs(config, { source: config.source, clock, log });
    const authority = await openAuthority({
      stateDir: config.stateDir,
      listen: config.listen,
      ...(config.passphraseFile !== undefined && { passphraseFile: config.passphraseFile }),
      clock,
      // A clock of a test's own has a time of its own.
      ...(clock === systemClock && { elapsedMs: bootMs }),
      log,
      ...(hub && { hub }),
      hubFor: (cluster, replica) => hubs.enlist(cluster, replica),
      ...config.issuance,
      ...(config.rates && { limits: { ...authorityLimits, ...config.rates } }),
    }).catch((thrown: unknown) => {
      throw blamed(thrown, config);
    });
    started.add('authority', () => authority.close());
    if (authority.federationDomain !== config.federationDomain) {
      const message = `The authority in ${config.stateDir} is that of ${authority.federationDomain}: current value is '${config.federationDomain}'`;
      throw blame(new IsthmusError('invalid', message), config.source, 'federationDomain');
    }
    let endpoint: BundleEndpoint | undefined;
    if (config.bundles) {
      const served = await serveBundles(config.bundles, authority, { clock, log }).catch((thrown: unknown) => {
        throw blame(thrown, config.source, bundleKeyOf(thrown));
      });
      endpoint = served;
      started.add('bundle endpoint', () => served.close());
    }
    // A configured port 0 is known only now.
    const addresses = config.advertise.map((address) =>
      formatHostPort(address.port === 0 ? { ...address, port: authority.port } : address),
    );
    const api = createAuthorityApi(authority, {
      config,
      clock,
      hubName: hub?.name,
      bundleProblem: () => endpoint?.problem(),
      hubs,
      log,
      startedAt: clock.monotonic(),
      addresses,
    });
    const admin = await startAdmin({ socketPath: config.admin, routes: authorityRoutes(api), log });
    started.add('admin socket', () => admin.close());
    return { authority, close: () => started.end() };
  } catch (thrown) {
    await started.end();
    throw thrown;
  }
}

/** A port in use and a passphrase that is wrong are values of the file. */
function blamed(thrown: unknown, config: AuthorityConfig): unknown {
  const error = IsthmusError.from(thrown);
  if (error.code === 'conflict') return blame(error, config.source, 'listen');
  if (['denied', 'invalid'].includes(error.code) && config.passphraseFile !== undefined) {
    return blame(error, config.source, 'passphraseFile');
  }
  return thrown;
}

function serveBundles(
  { listen, certFile, keyFile }: BundlesConfig,
  { trust }: Authority,
  context: Pick<RoleContext, 'clock' | 'log'>,
): Promise<BundleEndpoint> {
  return startBundleEndpoint({ listen, certFile, keyFile, trust, ...context });
}

/** Which value of the file keeps bundles from being served: the address, or the files. */
function bundleKeyOf(thrown: unknown): string {
  const { code, message } = IsthmusError.from(thrown);
  if (message.startsWith('Cannot listen')) return 'bundles.listen';
  return code === 'denied' ? 'bundles.keyFile' : 'bundles.certFile';
}

/** `isthmus authority`: runs until `io.signal` aborts. */
export async function runAuthority(config: AuthorityConfig, io: RoleIo): Promise<number> {
  const log = roleLog('authority', config.log, io);
  const release = keepAlive();
  try {
    const role = await startAuthority(config, { clock: systemClock, log });
    await aborted(io.signal);
    log.info({}, 'stopping');
    await role.close();
    return 0;
  } finally {
    release();
  }
}
