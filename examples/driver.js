#!/usr/bin/env node
// A driver for punchd: records a punch for each PIN on stdin, and answers requests of the server. It needs nothing but Node.
//
//     examples/driver.js /run/punchd/driver.sock
'use strict';

const net = require('node:net');
const readline = require('node:readline');

const punchd = net.connect(process.argv[2] || '/run/punchd/driver.sock');
const say = (message) => punchd.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');

// The sensor recognised a person (verify 4: by card).
const seen = (pin) => say({ id: 2, method: 'punch', params: { pin, verify: 4 } });

// A request of punchd, or an answer. `result`: what we sent is on the terminal's disk.
function heard(line) {
  const message = JSON.parse(line);
  if (message.method === 'unlock') {
    console.log('the door is open');
    say({ id: message.id, result: true });
  } else if (message.method === 'enroll') {
    console.log('enrolled a card of', message.params.pin);
    say({ id: message.id, result: { outcome: 'done', card: '1234567' } });
  } else if (!('method' in message)) {
    console.log('result' in message ? 'done:' : 'refused:', line);
  }
}

say({ id: 1, method: 'register', params: { name: 'driver.js', provides: ['card', 'unlock'] } });
readline.createInterface({ input: punchd }).on('line', heard);
readline.createInterface({ input: process.stdin }).on('line', seen);
punchd.on('close', () => process.exit(0));
punchd.on('error', (error) => {
  console.error(`driver.js: ${error.message}`);
  process.exit(1);
});
