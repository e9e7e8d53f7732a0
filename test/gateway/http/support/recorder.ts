import type { Socket } from 'node:net';

/** What a backend saw, connection by connection, byte for byte. */
export interface Recorder {
  readonly serve: (socket: Socket) => void;
  /** Of the connections that have said anything since the last `clear`. */
  seen(): string[];
  clear(): void;
}

export const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/**
 * A backend that understands nothing: it writes down what comes and answers with `reply` each time an empty line has
 * come since its last answer.
 */
export function recorder(reply: (fresh: string, socket: Socket) => string | undefined = () => ok): Recorder {
  const connections: { text: string; answered: number }[] = [];
  return {
    seen: () => connections.map(({ text }) => text).filter((text) => text !== ''),
    clear() {
      for (const one of connections) Object.assign(one, { text: '', answered: 0 });
    },
    serve(socket) {
      const one = { text: '', answered: 0 };
      connections.push(one);
      socket.on('end', () => socket.end());
      socket.on('data', (chunk: Buffer) => {
        one.text += chunk.toString('latin1');
        const fresh = one.text.slice(one.answered);
        if (!fresh.includes('\r\n\r\n')) return;
        const text = reply(fresh, socket);
        if (text === undefined) return;
        one.answered = one.text.length;
        socket.write(text, 'latin1');
      });
    },
  };
}

/** The head as an upstream sees it, without what the gateway adds. */
export function without(text: string): string {
  return text.replace(/^x-(?:forwarded-\w+|request-id): [^\r\n]*\r\n/gim, '');
}
