// Answers each request with what llhttp, node's strict parser, read of it. Prints its port, and ends with its input.
import http from "node:http";

let count = 0;

const server = http.createServer({ insecureHTTPParser: false, keepAliveTimeout: 60_000 }, (request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    count += 1;
    const told = {
      count,
      method: request.method,
      target: request.url,
      version: request.httpVersion,
      headers: request.rawHeaders, // names and values in turn, each byte a character
      body: Buffer.concat(chunks).toString("latin1"),
      trailers: request.rawTrailers,
      complete: request.complete,
    };
    const data = request.method === "HEAD" ? "" : JSON.stringify(told);
    response.writeHead(200, { "Content-Type": "application/json", "X-Count": count, "X-Method": request.method });
    response.end(data);
  });
});

server.on("clientError", (error, socket) => {
  const why = `llhttp: ${error.code} ${error.reason ?? error.message}`;
  socket.end(`HTTP/1.1 400 Refused\r\nContent-Length: ${Buffer.byteLength(why)}\r\nConnection: close\r\n\r\n${why}`);
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
