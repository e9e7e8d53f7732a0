import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import { dialTls, secureContextOf } from '../../../../src/runtime/io/tls.ts';
import { gatewayId, type TestCa } from '../../support/identities.ts';
import { until } from '../../support/mesh.ts';

/** A tunnel whose bytes the test writes by itself. */
export interface RawTunnel {
  readonly stream: ClientHttp2Stream;
  readonly status: number;
  /** What came back so far. */
  readonly text: () => string;
  /** How it ended: cleanly, by a reset, or not yet. */
  readonly end: () => 'eof' | 'reset' | undefined;
  /** Waits until what came back matches. */
  readonly answered: (form: RegExp) => Promise<string>;
  /** Waits for its end. */
  readonly ended: () => Promise<'eof' | 'reset'>;
}

/** A gateway with a good certificate that keeps to none of the rules. */
export interface HostileGateway {
  readonly session: ClientHttp2Session;
  /** CONNECT to shop/web:80; `headers`: besides, or instead. */
  tunnel(headers?: Readonly<Record<string, string>>): Promise<RawTunnel>;
  close(): void;
}

export async function hostileGateway(ca: TestCa, port: number, cluster = 'west'): Promise<HostileGateway> {
  const identity = ca.issue(gatewayId(cluster, 'gw9'));
  const { socket } = await dialTls({
    host: '127.0.0.1',
    port,
    context: secureContextOf({ identity, anchors: [ca.anchor] }),
    alpn: ['h2'],
    check: () => undefined,
    timeoutMs: 10_000,
  });
  const session = connect('https://gateway.test', { createConnection: () => socket });
  session.on('error', () => undefined);
  return {
    session,
    tunnel: (headers = {}) => openTunnel(session, headers),
    close: () => session.destroy(),
  };
}

async function openTunnel(session: ClientHttp2Session, headers: Readonly<Record<string, string>>): Promise<RawTunnel> {
  const stream = session.request(
    { ':method': 'CONNECT', ':authority': 'web.shop.svc.clusterset.local:80', ...headers },
    { endStream: false },
  );
  let text = '';
  let end: 'eof' | 'reset' | undefined;
  stream
    .on('error', () => (end = 'reset'))
    .on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    .on('end', () => (end ??= (stream.rstCode ?? 0) === 0 ? 'eof' : 'reset'))
    .on('close', () => (end ??= 'reset'));
  const response = await new Promise<IncomingHttpHeaders>((resolve, reject) => {
    stream.once('response', resolve).once('close', () => reject(new Error('The tunnel was closed without an answer')));
  });
  return {
    stream,
    status: Number(response[':status']),
    text: () => text,
    end: () => end,
    async answered(form) {
      await until(`an answer like ${form}`, () => form.test(text));
      return text;
    },
    async ended() {
      await until('the end of the tunnel', () => end !== undefined);
      return end ?? 'reset';
    },
  };
}
