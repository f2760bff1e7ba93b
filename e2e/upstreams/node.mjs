// Answers every request with what Node makes of it. Says its port on standard output, and ends with
// standard input, so that it cannot outlive the test that started it.

import http from "node:http";

const decoded = (path) => {
  try {
    return decodeURIComponent(path);
  } catch {
    return null;
  }
};

const server = http.createServer({ maxHeaderSize: 1 << 20, keepAliveTimeout: 600_000 }, (request, response) => {
  // As a Node service has it: against a base, which a target such as //other/path would replace.
  const url = new URL(request.url, `http://${request.headers.host}`);
  const body = JSON.stringify({
    stack: "node",
    method: request.method,
    host: url.host,
    target: request.url,
    path: url.pathname,
    decoded: decoded(url.pathname),
    query: url.search.replace(/^\?/, ""),
    request_id: request.headers["x-request-id"],
  });
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
