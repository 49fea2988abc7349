// The player page: one address in, one <video> out, and figures about it.
//
// Parameters of the page's own URL, as players of SRS know them:
//   url                                   the whole address; wins over the rest
//   stream, app                           name and application; the name may have an ending (.flv, .m3u8, ...)
//   vhost, server, port, schema           where; the page's own host and port if not given
//   autostart=true                        play at once, without sound if the browser wants it so
// Any other parameter goes on to the stream, so tokens do too.
'use strict';

const $ = (id) => document.getElementById(id);
const video = $('video');

const LIBRARIES = { mpegts: 'mpegts.js', Hls: 'hls.light.min.js', dashjs: 'dash.mediaplayer.min.js' };
const OURS = ['url', 'stream', 'app', 'vhost', 'server', 'port', 'schema', 'autostart'];

/** Which parameters mean which address. */
function addressFrom(parameters, page) {
  if (parameters.get('url')) return parameters.get('url');
  const isHttp = (schema) => schema === 'http' || schema === 'https';
  const schema = isHttp(parameters.get('schema')) ? parameters.get('schema') : page.protocol.slice(0, -1);
  const server = parameters.get('server') || page.hostname;
  // The port of another protocol is none of ours.
  const given = !parameters.get('schema') || isHttp(parameters.get('schema')) ? parameters.get('port') : null;
  const port = given || (server === page.hostname ? page.port : '');
  let stream = parameters.get('stream') || 'livestream';
  if (!/\.\w+$/.test(stream)) stream += '.flv';
  const host = server.includes(':') && !server.startsWith('[') ? `[${server}]` : server;
  const address = new URL(`${schema}://${host}${port ? ':' + port : ''}/`);
  const levels = [...(parameters.get('app') || 'live').split('/'), ...stream.split('/')];
  address.pathname = levels.map(encodeURIComponent).join('/');
  const vhost = parameters.get('vhost');
  if (vhost && vhost !== server) address.searchParams.set('vhost', vhost);
  for (const [name, value] of parameters) if (!OURS.includes(name)) address.searchParams.append(name, value);
  return address.href;
}

function load(name) {
  if (window[name]) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = LIBRARIES[name];
    script.onload = resolve;
    script.onerror = () => reject(new Error(`cannot load ${LIBRARIES[name]}`));
    document.head.append(script);
  });
}

// What each format is played with: a function from address to { stop, starts?, latency?, bitrate? }.

async function playMpegts(address, type) {
  await load('mpegts');
  if (!mpegts.getFeatureList().mseLivePlayback) throw new Error('this browser cannot play such streams');
  const player = mpegts.createPlayer({ type, url: address, isLive: true }, {
    enableStashBuffer: false,
    liveBufferLatencyChasing: true,
    liveBufferLatencyMaxLatency: 4,
    liveBufferLatencyMinRemain: 1,
    autoCleanupSourceBuffer: true,
  });
  let speed;
  player.on(mpegts.Events.ERROR, (kind, detail, info) => fail(`${kind}: ${detail} ${info?.msg ?? ''}`));
  player.on(mpegts.Events.STATISTICS_INFO, (info) => { speed = info.speed * 8; });
  player.on(mpegts.Events.LOADING_COMPLETE, () => say('The stream has ended.'));
  player.attachMediaElement(video);
  player.load();
  return { stop: () => player.destroy(), bitrate: () => speed };
}

async function playHls(address) {
  await load('Hls');
  if (!Hls.isSupported()) return playNative(address);
  const player = new Hls({ liveDurationInfinity: true });
  let retries = 0;
  player.on(Hls.Events.ERROR, (_, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && retries++ < 3) return player.recoverMediaError();
    fail(`${data.type}: ${data.details}`);
  });
  let kilobits;
  player.on(Hls.Events.FRAG_LOADED, (_, { frag }) => {
    if (frag.duration > 0 && frag.stats.total) kilobits = (frag.stats.total * 8) / frag.duration / 1000;
  });
  player.loadSource(address);
  player.attachMedia(video);
  return { stop: () => player.destroy(), latency: () => player.latency, bitrate: () => kilobits };
}

async function playDash(address) {
  await load('dashjs');
  const player = dashjs.MediaPlayer().create();
  // The time of the server that has the stream; the library would ask a stranger's.
  const clock = { scheme: 'urn:mpeg:dash:utc:http-head:2014', value: address };
  player.updateSettings({
    debug: { logLevel: dashjs.Debug.LOG_LEVEL_NONE },
    streaming: { utcSynchronization: { defaultTimingSource: clock } },
  });
  player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) => fail(error.message ?? String(error)));
  player.on(dashjs.MediaPlayer.events.PLAYBACK_NOT_ALLOWED, () => { video.muted = true; player.play(); });
  player.initialize(video, address, true);
  return {
    // It must see the picture start, or it never looks for newer segments.
    starts: true,
    stop: () => player.destroy(),
    latency: () => player.getCurrentLiveLatency(),
    bitrate: () => player.getCurrentRepresentationForType('video')?.bitrateInKbit,
  };
}

async function playNative(address) {
  video.src = address;
  return { stop: () => { video.removeAttribute('src'); video.load(); } };
}

const PLAYERS = {
  flv: (address) => playMpegts(address, 'flv'),
  ts: (address) => playMpegts(address, 'mpegts'),
  m3u8: playHls,
  mpd: playDash,
};

let playing = null;
let turn = 0;

function say(text, isError = false) {
  $('state').textContent = text;
  $('state').classList.toggle('error', isError);
}

function fail(text) {
  stop();
  say(`Cannot play: ${text}`, true);
}

function stop() {
  turn += 1;
  playing?.stop();
  playing = null;
  $('stop').disabled = true;
  say('Nothing is playing.');
  show();
}

async function play(address) {
  stop();
  const mine = turn;
  say('Loading …');
  $('stop').disabled = false;
  try {
    const { protocol, pathname } = new URL(address);
    if (protocol !== 'http:' && protocol !== 'https:') throw new Error('browsers play over HTTP only');
    const ending = pathname.slice(pathname.lastIndexOf('.') + 1).toLowerCase();
    const player = await (PLAYERS[ending] ?? playNative)(address);
    // Somebody was faster than a library that had to be loaded.
    if (mine !== turn) return player.stop();
    playing = player;
    if (!player.starts) await video.play().catch((error) => {
      if (error.name !== 'NotAllowedError') return;
      // Browsers start sound only for a click.
      video.muted = true;
      return video.play();
    });
  } catch (error) {
    if (mine === turn && error.name !== 'AbortError') fail(error.message);
  }
}

video.addEventListener('playing', () => say(video.muted ? 'Playing, without sound.' : 'Playing.'));
video.addEventListener('waiting', () => { if (playing) say('Waiting for the stream …'); });
video.addEventListener('error', () => { if (video.src || playing) fail(video.error?.message || 'the browser cannot'); });

const DIGITS = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const figure = (value, unit) => (Number.isFinite(value) ? `${DIGITS.format(value)} ${unit}` : '–');

function show() {
  const { buffered, currentTime } = video;
  const end = playing && buffered.length ? buffered.end(buffered.length - 1) : NaN;
  const quality = video.getVideoPlaybackQuality();
  $('latency').textContent = figure(playing?.latency?.() ?? end - currentTime, 's');
  $('buffered').textContent = figure(end - currentTime, 's');
  $('bitrate').textContent = figure(playing?.bitrate?.(), 'kbit/s');
  $('decoded').textContent = playing ? quality.totalVideoFrames : '–';
  $('dropped').textContent = playing ? quality.droppedVideoFrames : '–';
  $('picture').textContent = playing && video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : '–';
}

setInterval(show, 500);
$('form').addEventListener('submit', (event) => { event.preventDefault(); play($('url').value); });
$('stop').addEventListener('click', stop);

const parameters = new URLSearchParams(location.search);
$('url').value = addressFrom(parameters, location);
if (parameters.get('autostart') === 'true') play($('url').value);
