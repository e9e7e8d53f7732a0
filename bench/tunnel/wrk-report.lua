-- Prints wrk's own figures as one JSON object.
done = function(summary, latency)
  local seconds = summary.duration / 1e6
  local e = summary.errors
  io.write(string.format(
    '{"requestsPerS":%f,"bytesPerS":%f,"p99Ms":%f,"errors":%d}\n',
    summary.requests / seconds, summary.bytes / seconds, latency:percentile(99) / 1000,
    e.connect + e.read + e.write + e.status + e.timeout))
end
