// A story by dockerode, which speaks to the engine by streams. Any difference ends it with what differs.
'use strict';

const assert = require('assert');
const { once } = require('events');
const { PassThrough } = require('stream');
const Docker = require('dockerode');
const tar = require('tar-stream');

const docker = new Docker();

/** All that a stream says to its end. */
async function whole(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** What a stream of frames says on either side, to its end. */
async function sides(stream) {
  const out = new PassThrough();
  const err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  const [said, complained] = await Promise.all([whole(out), whole(err)]);
  return [said.toString(), complained.toString()];
}

/** What a stream says next. */
async function next(stream) {
  const [chunk] = await once(stream, 'data');
  return chunk;
}

/** Fails as it must. */
async function refused(status, promise) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.statusCode, status, error.message);
    assert(error.json.message, 'an error without words');
    return true;
  });
}

async function images() {
  assert.strictEqual((await docker.ping()).toString(), 'OK');
  assert.strictEqual((await docker.version()).Os, 'linux');
  const steps = await new Promise((resolve, reject) => {
    docker.pull('busybox:latest', (error, stream) => {
      if (error) return reject(error);
      docker.modem.followProgress(stream, (failed, all) => (failed ? reject(failed) : resolve(all)));
    });
  });
  assert(steps.some((step) => /Downloaded newer image/.test(step.status)), JSON.stringify(steps));
  const image = await docker.getImage('busybox').inspect();
  assert.deepStrictEqual(image.RepoTags, ['busybox:latest']);
  assert.deepStrictEqual((await docker.listImages()).map((each) => each.Id), [image.Id]);
  await refused(404, docker.getImage('nothing-of-the-kind').inspect());
  await refused(404, docker.createContainer({ Image: 'nothing-of-the-kind' }));
}

/** The library's own way to run something: create, attach, start, wait. */
async function run() {
  const out = new PassThrough();
  const err = new PassThrough();
  const [ended, container] = await docker.run(
    'busybox', ['sh', '-c', 'echo out; echo err >&2; exit 3'], [out, err], { Tty: false });
  assert.strictEqual(ended.StatusCode, 3);
  assert.deepStrictEqual([out.read().toString(), err.read().toString()], ['out\n', 'err\n']);
  await container.remove();
}

/** Input and output of one that was attached to before it started. */
async function attach() {
  const container = await docker.createContainer({
    Image: 'busybox', Cmd: ['sh', '-c', 'cat; echo over >&2'], OpenStdin: true, StdinOnce: true });
  const stream = await container.attach({
    stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  const said = sides(stream);
  await container.start();
  stream.end('typed\n');
  assert.deepStrictEqual(await said, ['typed\n', 'over\n']);
  assert.strictEqual((await container.wait()).StatusCode, 0);
  await container.remove();
}

async function exec(container) {
  const command = await container.exec({
    Cmd: ['sh', '-c', 'echo $A; cat; echo e >&2; exit 5'],
    AttachStdin: true, AttachStdout: true, AttachStderr: true, Env: ['A=b'] });
  const stream = await command.start({ hijack: true, stdin: true });
  const said = sides(stream);
  stream.end('typed\n');
  assert.deepStrictEqual(await said, ['b\ntyped\n', 'e\n']);
  const { ExitCode, Running } = await command.inspect();
  assert.deepStrictEqual([ExitCode, Running], [5, false]);

  const terminal = await container.exec({ Cmd: ['stty', 'size'], Tty: true, AttachStdout: true });
  const size = await terminal.start({ Tty: true, hijack: true, ConsoleSize: [30, 90] });
  assert.strictEqual((await whole(size)).toString(), '30 90\r\n');
}

async function files(container) {
  const pack = tar.pack();
  pack.entry({ name: 'note' }, 'text');
  pack.finalize();
  await container.putArchive(await whole(pack), { path: '/data' });
  await refused(404, container.putArchive(Buffer.alloc(1024), { path: '/nowhere' }));
  const found = {};
  const extract = tar.extract();
  extract.on('entry', (header, stream, done) => {
    whole(stream).then((content) => { found[header.name] = content.toString(); done(); }, done);
  });
  (await container.getArchive({ path: '/data/note' })).pipe(extract);
  await once(extract, 'finish');
  assert.deepStrictEqual(found, { note: 'text' });
}

async function stats(container) {
  const now = await container.stats({ stream: false });
  assert(now.cpu_stats.cpu_usage.total_usage > 0 && now.networks.eth0.rx_bytes > 0, JSON.stringify(now));
  // Empty where the computer has no such controllers.
  assert(now.memory_stats && now.pids_stats, JSON.stringify(now));
  const stream = await container.stats({ stream: true });
  let text = '';
  while (!text.includes('\n')) text += await next(stream);
  stream.destroy();
  assert.strictEqual(JSON.parse(text.split('\n')[0]).name, '/isle');
}

async function networks(container) {
  const network = await docker.createNetwork({
    Name: 'strait', Internal: true, Labels: { kind: 'test' },
    IPAM: { Config: [{ Subnet: '192.0.2.0/24' }] } });
  await network.connect({
    Container: container.id,
    EndpointConfig: { Aliases: ['port'], IPAMConfig: { IPv4Address: '192.0.2.7' } } });
  const { Containers, Internal } = await network.inspect();
  assert.strictEqual(Containers[container.id].IPv4Address, '192.0.2.7/24');
  assert(Internal);
  const { Networks } = (await container.inspect()).NetworkSettings;
  assert.deepStrictEqual(Object.keys(Networks).sort(), ['bridge', 'strait']);
  assert(Networks.strait.Aliases.includes('port'), JSON.stringify(Networks.strait));
  const named = await docker.listNetworks({ filters: { label: ['kind=test'] } });
  assert.deepStrictEqual(named.map((each) => each.Name), ['strait']);
  await refused(403, network.remove());
  await network.disconnect({ Container: container.id });
  await network.remove();
  await refused(404, network.inspect());
}

async function life() {
  const seen = [];
  const events = await docker.getEvents({ filters: { type: ['container'] } });
  let rest = '';
  events.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) seen.push(JSON.parse(line).Action);
    events.emit('seen');
  });
  const container = await docker.createContainer({
    name: 'isle', Image: 'busybox', Cmd: ['sh', '-c', 'echo begun; exec sleep 1000'],
    Labels: { kind: 'test' }, HostConfig: { Binds: ['store:/data'], Init: true } });
  await refused(409, docker.createContainer({ name: 'isle', Image: 'busybox' }));
  await container.start();
  await assert.rejects(container.start(), { statusCode: 304 });
  assert.deepStrictEqual(
    (await docker.listContainers({ filters: { label: ['kind=test'] } })).map((each) => each.Names), [['/isle']]);
  const follow = await container.logs({ follow: true, stdout: true, stderr: true });
  assert.strictEqual((await next(follow)).subarray(8).toString(), 'begun\n');
  follow.destroy();
  // Whole, not followed: the library gives the frames themselves.
  const logs = await container.logs({ stdout: true, stderr: true });
  assert.deepStrictEqual([...logs.subarray(0, 8)], [1, 0, 0, 0, 0, 0, 0, 6]);

  await exec(container);
  await files(container);
  await stats(container);
  await networks(container);

  await container.pause();
  assert((await container.inspect()).State.Paused);
  await container.unpause();
  assert((await container.top()).Processes.some((row) => row.some((cell) => cell.includes('sleep 1000'))));
  const ended = container.wait();
  await container.kill({ signal: 'SIGTERM' });
  assert.strictEqual((await ended).StatusCode, 143);
  await refused(409, container.kill());
  await container.remove({ v: true });
  await docker.getVolume('store').remove();
  await refused(404, container.inspect());

  while (!seen.includes('destroy')) await once(events, 'seen');
  events.destroy();
  for (const action of ['create', 'start', 'pause', 'unpause', 'kill', 'die', 'destroy']) {
    assert(seen.includes(action), `${action} is not among ${seen}`);
  }
  assert(seen.some((action) => action.startsWith('exec_create: sh -c')), `${seen}`);
}

(async () => {
  await images();
  await run();
  await attach();
  await life();
  assert.deepStrictEqual(await docker.listContainers({ all: true }), []);
  console.log('done');
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
