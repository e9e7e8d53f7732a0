import type { RouteTable, ServiceRoute } from '../../model/route.ts';
import type { ServiceBook } from '../balance/service-book.ts';

/** The table as `/routes` shows it: what the agent planned, and what this gateway makes of it. Plain JSON. */
export function routesView(table: RouteTable, book: ServiceBook, now: number): object {
  const reports = new Map(book.report(now).map((report) => [report.service, report]));
  return {
    self: table.self,
    services: [...table.services.values()].map((route) => ({
      ...plain(route),
      standing: book.get(route.key)?.standing,
      now: reports.get(route.key),
    })),
    clusters: [...table.clusters.values()],
  };
}

function plain(route: ServiceRoute): object {
  return {
    ...route,
    endpoints: route.endpoints.map((endpoint) => ({ ...endpoint, ports: Object.fromEntries(endpoint.ports) })),
  };
}
