import type { AgentConfig } from '../../config/agent.ts';
import { loadConfig, loadServicesFile } from '../../config/io/load.ts';
import type { StaticList, StaticSource } from '../../federation/io/static-source.ts';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { watchFile } from '../../runtime/io/watch-file.ts';

/**
 * The services that a configuration lists, here and in its services file.
 * @throws IsthmusError `invalid`, all problems in its message
 */
export async function listedServices(config: AgentConfig): Promise<StaticList> {
  const { services, servicesFile, healthCheck } = config;
  if (servicesFile === undefined) return { services, healthCheck };
  const more = await loadServicesFile(servicesFile);
  const twice = more.services.find(({ service }) => services.some((other) => other.service === service));
  if (twice) {
    throw new IsthmusError('invalid', `${servicesFile}: service ${twice.service} is in the agent's own file already`);
  }
  const apart = more.services.map((service) => ({
    ...service,
    healthCheck: { ...more.healthCheck, ...service.healthCheck },
  }));
  return { services: [...services, ...apart], healthCheck };
}

export interface LiveServicesOptions {
  /** As the agent was started with. */
  readonly config: AgentConfig;
  readonly source: StaticSource;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Reads the files with the services again when they change. What is not right changes nothing, and is said once; keys
 * that only a restart applies are told apart.
 */
export class LiveServices {
  readonly #options: LiveServicesOptions;
  readonly #ends: (() => void)[] = [];
  #problem: string | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(options: LiveServicesOptions) {
    this.#options = options;
  }

  start(): void {
    const { config, clock } = this.#options;
    for (const file of [config.source?.file, config.servicesFile]) {
      if (file !== undefined) this.#ends.push(watchFile(file, { clock, onChange: () => void this.reload() }));
    }
  }

  /** What is wrong with the files as they are now; one sentence a line. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Reads the files now. Never rejects. */
  reload(): Promise<void> {
    this.#reading = this.#reading.then(() => this.#reload());
    return this.#reading;
  }

  async close(): Promise<void> {
    for (const end of this.#ends.splice(0)) end();
    await this.#reading;
  }

  async #reload(): Promise<void> {
    const { config: first, source, log } = this.#options;
    try {
      const config = first.source ? await loadConfig('agent', first.source.file) : first;
      const list = await listedServices(config);
      source.update(list);
      this.#tell(restartNeeded(first, config));
      log.info({ services: list.services.length }, 'services read again');
    } catch (thrown) {
      this.#tell(`${messageOf(thrown)}; going on with the services read before`);
    }
  }

  #tell(problem: string | undefined): void {
    if (problem !== undefined && problem !== this.#problem) this.#options.log.error({}, problem);
    this.#problem = problem;
  }
}

/** Which keys differ that only a start applies; undefined = none. */
function restartNeeded(before: AgentConfig, now: AgentConfig): string | undefined {
  const live = new Set(['services', 'healthCheck', 'source']);
  const differs = (key: string): boolean => textOf(before, key) !== textOf(now, key);
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])]
    .filter((key) => !live.has(key))
    .filter(differs);
  if (keys.length === 0) return undefined;
  return `${now.source?.file ?? 'the configuration'}: ${keys.join(', ')}: changed since the start: restart the agent to apply`;
}

function textOf(config: AgentConfig, key: string): string | undefined {
  const value = (config as unknown as Readonly<Record<string, unknown>>)[key];
  return JSON.stringify(value, (_, inner: unknown) => (inner instanceof Map ? [...inner] : inner));
}
