import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import { type HttpListener, listenHttp, sendText } from './http-listener.ts';

/**
 * `/healthz/live` and `/healthz/ready`, the latter 503 with the reason while `waitingFor` gives one.
 * @throws IsthmusError `conflict`, `unavailable`
 */
export function startHealthServer(address: ListenAddress, waitingFor: () => string | undefined): Promise<HttpListener> {
  return listenHttp({
    address,
    purpose: 'health checks',
    answer(request, response) {
      if (request.url === '/healthz/live') return sendText(response, 200, 'ok');
      if (request.url !== '/healthz/ready') return sendText(response, 404, 'see /healthz/ready and /healthz/live');
      const waiting = waitingFor();
      sendText(response, waiting === undefined ? 200 : 503, waiting ?? 'ok');
    },
  });
}
