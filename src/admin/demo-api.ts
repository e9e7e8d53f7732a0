import { type ClusterName, parseClusterName } from '../model/names.ts';
import { adminPaths, type DemoStatus } from '../model/status.ts';
import { bodyOf, textField } from './body.ts';
import { get, post, type Routes } from './routes.ts';

/** What a running demo answers. */
export interface DemoApi {
  status(): DemoStatus;
  /** Stops the cluster's instances of the demo's service, abruptly. @throws IsthmusError `not-found` */
  fail(cluster: ClusterName): Promise<void>;
  /** Starts them again. @throws IsthmusError `not-found` */
  restore(cluster: ClusterName): Promise<void>;
}

/** The demo's control API; both changes answer with the status after them. */
export function demoRoutes(api: DemoApi): Routes {
  const clusterOf = (body: unknown): ClusterName => parseClusterName(textField(bodyOf(body, ['cluster']), 'cluster'));
  return [
    get(adminPaths.demo, () => api.status()),
    post(adminPaths.demoFail, async ({ body }) => {
      await api.fail(clusterOf(body));
      return api.status();
    }),
    post(adminPaths.demoRestore, async ({ body }) => {
      await api.restore(clusterOf(body));
      return api.status();
    }),
  ];
}
