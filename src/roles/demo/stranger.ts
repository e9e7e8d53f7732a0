import { connect } from 'node:tls';

/** A peer that has not hung up by then has let the stranger in. */
const patienceMs = 2000;
/** HTTP/2 connection preface and an empty SETTINGS frame (RFC 9113 §3.4). */
const preface = Buffer.from('505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000', 'hex');

/**
 * Dials a gateway's tunnel port as a TLS client without a certificate and says hello in HTTP/2. True: the gateway hung up
 * without a word. Under TLS 1.3 a client learns of the refusal only after its own handshake is done.
 */
export function refusesStrangers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    const end = (refused: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(refused);
    };
    const timer = setTimeout(() => end(false), patienceMs);
    socket.once('secureConnect', () => socket.write(preface));
    socket.once('data', () => end(false));
    socket.once('error', () => end(true));
    socket.once('close', () => end(true));
  });
}
