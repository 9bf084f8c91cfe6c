// Servers of node that echo: servers.js KIND PORT
'use strict';

const [kind, port] = process.argv.slice(2);
const server = kind === 'http'
  ? require('http').createServer((request, response) => request.pipe(response))
  : require('net').createServer((socket) => socket.pipe(socket));
server.listen(Number(port), '127.0.0.1');
