// Verifies every message with the package of Standard Webhooks, and answers 204 where it takes it and 400 where it does
// not. Says its port on standard output, and ends with standard input.

const http = require("node:http");
const { Webhook } = require("standardwebhooks");

const webhook = new Webhook(process.argv[2]);
const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      webhook.verify(Buffer.concat(chunks).toString("utf8"), request.headers);
      response.writeHead(204).end();
    } catch (why) {
      response.writeHead(400).end(String(why));
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
