import { type DestinationStream, destination, type Logger, pino } from 'pino';
import type { Log } from '../../model/ports/log.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** JSON lines on stderr: stdout is for data. */
export function createLog(role: string, level: LogLevel, to: DestinationStream = destination(2)): Log {
  const logger: Logger = pino({ level, base: { role }, timestamp: pino.stdTimeFunctions.isoTime }, to);
  return logger;
}
