import type { RoleIo } from '../cli/role-io.ts';
import type { GatewayConfig } from '../config/gateway.ts';
import { blame } from '../config/source.ts';
import { connectConfig, type ConfigClient } from '../gateway/io/config-client.ts';
import type { OtlpTracing } from '../gateway/io/http/otlp-tracing.ts';
import { type Gateway, startGateway } from '../gateway/io/gateway.ts';
import type { AccessLog } from '../gateway/access-log.ts';
import { StaticIdentities } from '../gateway/access/static-identities.ts';
import { IsthmusError } from '../model/error.ts';
import { trustDomainOf } from '../model/identity.ts';
import type { Clock } from '../model/ports/clock.ts';
import type { Log } from '../model/ports/log.ts';
import type { GatewayAddress } from '../model/record.ts';
import { judgeByPolicy } from '../policy/access.ts';
import { sharesStep } from '../policy/shares.ts';
import { formatHostPort } from '../model/address.ts';
import { systemClock } from '../runtime/io/clock.ts';
import { ensurePrivateDir, readFileIfPresent, readSecretFile } from '../runtime/io/files.ts';
import { keepYoungHeapSmall } from '../runtime/io/heap.ts';
import { type GatewayIdentity, openGatewayIdentity } from '../trust/io/gateway-identity.ts';
import { type SelfCheck, startSelfCheck } from '../trust/io/self-check.ts';
import type { TrustReport } from '../wire/gateway-report.ts';
import { roleLog } from './role-log.ts';
import { aborted, keepAlive, Started } from './shutdown.ts';
import { version } from './version.ts';

export interface GatewayContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly accessLog?: AccessLog;
}

/** A started gateway. It may still wait for its identity or its routes. */
export interface GatewayRole {
  readonly gateway: Gateway;
  readonly identity: GatewayIdentity;
  readonly config: ConfigClient;
  /** Lets connections in progress finish, then ends everything. */
  drain(): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** Starts a gateway. @throws IsthmusError naming the value of the file that is to blame; nothing is then left running */
export async function startGatewayRole(config: GatewayConfig, context: GatewayContext): Promise<GatewayRole> {
  const { clock, log, accessLog } = context;
  const started = new Started(log);
  try {
    await ensurePrivateDir(config.stateDir).catch((thrown: unknown) => {
      throw blame(thrown, config.source, 'stateDir');
    });
    const identity = await openIdentity(config, { clock, log });
    started.add('identity', () => identity.close());
    let gateway: Gateway | undefined;
    let selfCheck: SelfCheck | undefined;
    const client = await connectConfig({
      addresses: identity.agentAddresses,
      credentials: identity.credentials,
      stateDir: config.stateDir,
      self: identity.cluster,
      advert: () => gateway && { addresses: advertised(config, gateway), version },
      report: (movesSince) => gateway && { ...gateway.report(movesSince), trust: trustReport(selfCheck, clock) },
      onTrust: (update) => identity.acceptTrust(update),
      onLoads: (loads) => gateway?.setSiblingLoads(loads),
      clock,
      log,
    });
    started.add('config client', () => client.close());
    const tracing = await openTracing(config, identity, { clock, log });
    if (tracing) started.add('tracing', () => tracing.close());
    gateway = await startGateway({
      cluster: identity.cluster,
      instance: identity.instance,
      listen: {
        hbone: config.listen.hbone,
        importHost: config.listen.imports,
        health: config.listen.health,
        metrics: config.listen.metrics,
      },
      svid: identity.svid,
      trust: identity.trust,
      verifier: identity.verifier,
      table: client.table,
      step: sharesStep(() => clock.now()),
      access: judgeByPolicy,
      clock,
      log,
      limits: config.limits,
      http: {
        detect: config.http?.detect ?? false,
        ...(tracing && { tracer: tracing.tracer, traceMetrics: () => tracing.metrics() }),
      },
      identities: new StaticIdentities(config.identities, () => {
        const svid = identity.svid.current;
        return svid && trustDomainOf(svid.id);
      }),
      settings: shownSettings(config),
      tableStatus: () => identity.waitingFor() ?? client.status(),
      tableDigest: () => client.digest(),
      version,
      ...(accessLog && { accessLog }),
      sampling: { share: config.accessLog.sample, random: () => clock.random() },
    }).catch((thrown: unknown) => {
      throw blamedPort(thrown, config);
    });
    const running = gateway;
    started.add('gateway', () => running.close());
    const check = startSelfCheck({
      listener: () => ({ host: config.listen.hbone.host, port: running.hbonePort }),
      material: identity.material,
      trust: identity.trust,
      verifier: identity.verifier,
      clock,
      log,
    });
    selfCheck = check;
    started.add('self-check', () => check.close());
    started.add(
      'acknowledgement',
      check.result.subscribe(() => client.reportNow()),
    );
    started.add(
      'readiness',
      running.ready.subscribe(() => client.reportNow()),
    );
    return {
      gateway: running,
      identity,
      config: client,
      async drain(): Promise<void> {
        const drained = running.drain(config.drainTimeoutMs, config.drainGraceMs);
        client.reportNow();
        await drained;
        await started.end();
      },
      close: () => started.end(),
    };
  } catch (thrown) {
    await started.end();
    throw thrown;
  }
}

/** What this gateway has proved to present and to trust. */
function trustReport(selfCheck: SelfCheck | undefined, clock: Clock): TrustReport {
  const { acknowledged, problem } = selfCheck?.result.current ?? { acknowledged: undefined, problem: 'not looked yet' };
  return {
    clock: clock.now(),
    ...(acknowledged && { acknowledged }),
    ...(problem !== undefined && { problem: problem.slice(0, 500) }),
  };
}

/** What traces need is loaded only when they are wanted. */
async function openTracing(
  { tracing }: GatewayConfig,
  { cluster, instance }: GatewayIdentity,
  { clock, log }: GatewayContext,
): Promise<OtlpTracing | undefined> {
  if (!tracing) return undefined;
  const { startOtlpTracing } = await import('../gateway/io/http/otlp-tracing.ts');
  return startOtlpTracing({ endpoint: tracing.otlp, sample: tracing.sample, cluster, instance, version, clock, log });
}

async function openIdentity(config: GatewayConfig, { clock, log }: GatewayContext): Promise<GatewayIdentity> {
  const { stateDir, replica, join } = config;
  // A used token may be gone from the disk: it matters only as long as there is no identity.
  const there = join && (await readFileIfPresent(join.tokenFile)) !== undefined;
  try {
    const token = there ? (await readSecretFile(join.tokenFile)).toString('utf8').trim() : undefined;
    return await openGatewayIdentity({
      stateDir,
      replica,
      agentAddresses: config.agent.map(formatHostPort),
      clock,
      log,
      ...(token !== undefined && { token }),
    });
  } catch (thrown) {
    const error = IsthmusError.from(thrown);
    if (join && !there) {
      const missing = new IsthmusError(
        'invalid',
        `there is no file ${join.tokenFile}, and no identity in ${stateDir}`,
        {
          cause: thrown,
          hint: `isthmus token issue --gateway ${replica} > ${join.tokenFile}`,
        },
      );
      throw blame(missing, config.source, 'join.tokenFile');
    }
    throw blame(error, config.source, error.code === 'conflict' ? 'replica' : 'join.tokenFile');
  }
}

/** What `/config` shows beside the limits. */
function shownSettings({
  listen,
  advertise,
  agent,
  replica,
  drainGraceMs,
  drainTimeoutMs,
  log,
}: GatewayConfig): object {
  return { replica, listen, advertise, agent, drainGraceMs, drainTimeoutMs, log };
}

/** A configured port 0 is known only once it listens. */
function advertised(config: GatewayConfig, gateway: Gateway): readonly GatewayAddress[] {
  return config.advertise.map(({ address, port }) => ({
    address,
    port: port === 0 ? gateway.hbonePort : port,
    kind: 'instance',
    instances: 1,
  }));
}

/** Which listener a port in use was meant for. */
function blamedPort(thrown: unknown, config: GatewayConfig): unknown {
  const { message } = IsthmusError.from(thrown);
  const { hbone, health, metrics } = config.listen;
  const path = [
    { name: 'listen.hbone', address: hbone },
    { name: 'listen.health', address: health },
    { name: 'listen.metrics', address: metrics },
  ].find(({ address }) => message.includes(`${address.host}:${address.port}`))?.name;
  return path === undefined ? thrown : blame(thrown, config.source, path);
}

/** `isthmus gateway`: runs until `io.signal` aborts, then drains. */
export async function runGateway(config: GatewayConfig, io: RoleIo): Promise<number> {
  keepYoungHeapSmall();
  const log = roleLog('gateway', config.log, io);
  const release = keepAlive();
  try {
    const role = await startGatewayRole(config, {
      clock: systemClock,
      log,
      accessLog: (entry) => log.info(entry, 'connection'),
    });
    log.info({ cluster: role.identity.cluster, hbone: role.gateway.hbonePort }, 'gateway is up');
    await aborted(io.signal);
    log.info({}, 'draining');
    await role.drain();
    return 0;
  } finally {
    release();
  }
}
