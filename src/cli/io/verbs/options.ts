import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../../../runtime/duration.ts';
import { outputFormats } from '../../output-format.ts';
import type { ShowFlags } from '../commands/show.ts';

/** Options and habits that verbs share. */

/** Each verb's module is loaded when the verb runs: `--help` must not pay for any of them. */
export type Action = () => Promise<number>;

/** A verb's action hands its work to the program, which runs it after the whole line was understood. */
export type Choose = (action: Action) => void;

const defaultTimeoutMs = 5000;

/** The part of a help text that shows command lines and what they do. */
export function examples(lines: readonly (readonly [string, string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length));
  return `\nExamples:\n${lines.map(([command, what]) => `  ${command.padEnd(width)}  # ${what}\n`).join('')}`;
}

/** Reads a duration above zero, in ms. */
export function durationOption(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms === 0) throw new InvalidArgumentError(`It must be a duration such as '500ms' or '5s'.`);
  return ms;
}

/** Reads the first port of a block that needs no privilege. */
export function portOption(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1024 || port > 65_000) {
    throw new InvalidArgumentError('It must be a port from 1024 to 65000.');
  }
  return port;
}

/** `-f, --config <file>`. */
export function fileOption(): Option {
  return new Option('-f, --config <file>', 'configuration, YAML').env('ISTHMUS_CONFIG');
}

/** The same, where nothing goes without it. */
export function requiredFileOption(): Option {
  return fileOption().makeOptionMandatory();
}

/** Flags of verbs that talk to a running server. */
export function withServer(command: Command): Command {
  return command
    .addOption(new Option('--server <socket>', 'admin socket of the agent or authority').env('ISTHMUS_SERVER'))
    .addOption(new Option('--config <file>', 'its configuration, which tells the socket').env('ISTHMUS_CONFIG'))
    .addOption(
      new Option('--timeout <duration>', 'give up after this')
        .argParser(durationOption)
        .default(undefined, '5s')
        .env('ISTHMUS_TIMEOUT'),
    );
}

/** Flags of verbs that answer with data. */
export function withOutput(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'form of the answer')
        .choices(outputFormats)
        .default('table')
        .env('ISTHMUS_OUTPUT'),
    )
    .option('--no-headers', 'leave out the line of titles');
}

/** What `withServer` parses. */
export interface ServerOptions {
  readonly server?: string;
  readonly config?: string;
  readonly timeout?: number;
}

/** What a command needs of it. */
export function serverFlags({
  server,
  config,
  timeout,
}: ServerOptions): Pick<ShowFlags, 'server' | 'config' | 'timeoutMs'> {
  return {
    ...(server !== undefined && { server }),
    ...(config !== undefined && { config }),
    timeoutMs: timeout ?? defaultTimeoutMs,
  };
}
