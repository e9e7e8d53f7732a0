import type { Timer } from '../../../model/ports/clock.ts';
import type { SpiffeId } from '../../../model/identity.ts';
import { http2Only, type Reply } from '../../http/reply.ts';
import type { SpokenProtocol } from '../../http/spoken.ts';
import { sniff, type Sniffed, sniffH2 } from '../../http/sniff.ts';
import type { Held } from '../carried.ts';
import { abortEnd } from '../splice.ts';
import type { HttpClient, HttpContext } from './context.ts';
import { H1Client } from './h1-client.ts';
import { serveH2 } from './h2-server.ts';

const empty = Buffer.alloc(0);

/** Takes client connections whose requests may be told apart, and gives each to what it speaks. */
export class HttpIntake {
  readonly #context: HttpContext;

  constructor(context: HttpContext) {
    this.#context = context;
  }

  /** Answers one request of a client of HTTP/1.1 that there is no room for, and waits but briefly for it. */
  refuse(client: HttpClient, refusal: Reply): void {
    new H1Client(this.#context, client, { refusal, brief: true }).start();
  }

  /** `otherwise`: carries the connection as bytes, none of which was lost. Only for `detect`. */
  take(client: HttpClient, spoken: Exclude<SpokenProtocol, 'tcp'>, otherwise: () => void): void {
    const context = this.#context;
    switch (spoken) {
      case 'http':
        return new H1Client(context, client, { onH2: () => serveH2(client, context) }).start();
      case 'http2':
      case 'grpc':
        return new Sniffing(client, context, {
          look: sniffH2,
          waitMs: context.limits.httpHeadTimeoutMs,
          done: (found) => {
            if (found === 'h2') serveH2(client, context);
            else new H1Client(context, client, { refusal: http2Only }).start();
          },
        }).start();
      case 'detect':
        return new Sniffing(client, context, {
          look: sniff,
          waitMs: context.limits.httpDetectMs,
          done: (found) => {
            if (found === 'h2') serveH2(client, context);
            else if (found === 'h1') new H1Client(context, client, {}).start();
            else otherwise();
          },
        }).start();
    }
  }
}

interface SniffingOptions {
  readonly look: (bytes: Buffer) => Sniffed;
  /** Then what has come must do. */
  readonly waitMs: number;
  readonly done: (found: Exclude<Sniffed, 'more'>) => void;
}

/** A client whose first bytes are waited for. They are put back, whatever they are. */
class Sniffing implements Held {
  readonly #client: HttpClient;
  readonly #context: HttpContext;
  readonly #options: SniffingOptions;
  #bytes: Buffer = empty;
  #timer: Timer | undefined;

  constructor(client: HttpClient, context: HttpContext, options: SniffingOptions) {
    this.#client = client;
    this.#context = context;
    this.#options = options;
  }

  get peer(): SpiffeId | undefined {
    return this.#client.about.peer;
  }

  start(): void {
    const { end } = this.#client;
    this.#context.connections.add(this);
    this.#timer = this.#context.clock.schedule(this.#options.waitMs, () => this.#decide('other'));
    end.on('readable', this.#onReadable).on('error', this.#onGone).on('close', this.#onGone);
    if (end.destroyed) this.#onGone();
  }

  buffered(): number {
    return this.#bytes.length;
  }

  sweep(): void {}

  drain(): void {}

  recheck(): void {
    if (this.#client.permit?.revoked() !== undefined) this.cut();
  }

  cut(): void {
    abortEnd(this.#client.end);
  }

  readonly #onReadable = (): void => {
    const { end } = this.#client;
    // Its end of file must be seen by whoever gets it next: reading on would use that up.
    if (end.readableLength === 0) return this.#decide('other');
    const chunk = end.read() as Buffer | null;
    if (chunk === null) return;
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const found = this.#options.look(this.#bytes);
    if (found !== 'more') this.#decide(found);
  };

  readonly #onGone = (): void => {
    this.#stop();
    abortEnd(this.#client.end);
    const { opened } = this.#client;
    if (!opened) return;
    opened.end.on('error', () => undefined);
    abortEnd(opened.end);
    opened.release('neutral');
  };

  #decide(found: Exclude<Sniffed, 'more'>): void {
    this.#stop();
    if (this.#bytes.length > 0) this.#client.end.unshift(this.#bytes);
    this.#bytes = empty;
    this.#options.done(found);
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#client.end.off('readable', this.#onReadable).off('error', this.#onGone).off('close', this.#onGone);
    this.#context.connections.remove(this);
  }
}
