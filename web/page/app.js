'use strict';
// The page: pick a source, ask, watch the answer arrive over a WebSocket (subprotocol headwater.v1), open a citation at
// its lines, stop, reload and go on. The stream's id and the text so far are kept in sessionStorage, so a reload resumes
// after the last event seen.

const $ = (id) => document.getElementById(id);
const el = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const KEEP = 'headwater.answer';
const RETRY_MS = [250, 500, 1000, 2000, 4000, 8000];

let current = null; // {source, question, research, streamId, lastId, text, citations, socket, done, attempt, stopping}

// ---- Markdown: block by block, so that finished blocks are never touched again and nothing flickers ----

function inline(text, into) {
  const parts = text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*|\*[^*\s][^*\n]*\*|\[[^\]\n]*\]\(https?:\/\/[^)\s]+\))/);
  for (const part of parts) {
    if (part.startsWith('`') && part.length > 2) {
      const code = part.slice(1, -1);
      if (/^[^\s#]+#L\d+(-L\d+)?$/.test(code)) into.append(citeButton(code));
      else into.append(el('code', { textContent: code }));
    } else if (part.startsWith('**') && part.length > 4) {
      const strong = el('strong');
      inline(part.slice(2, -2), strong);
      into.append(strong);
    } else if (part.startsWith('*') && part.length > 2) {
      const em = el('em');
      inline(part.slice(1, -1), em);
      into.append(em);
    } else if (part.startsWith('[')) {
      const m = /^\[([^\]]*)\]\((.*)\)$/.exec(part);
      into.append(el('a', { href: m[2], rel: 'noreferrer noopener', target: '_blank', textContent: m[1] }));
    } else {
      for (const piece of part.split(/([^\s`()[\]<>"',;]+#L\d+(?:-L\d+)?)/)) {
        if (/#L\d+(-L\d+)?$/.test(piece)) into.append(citeButton(piece));
        else if (piece) into.append(piece);
      }
    }
  }
}

function citeButton(ref) {
  const m = /^(.*)#L(\d+)(?:-L(\d+))?$/.exec(ref);
  const button = el('button', { type: 'button', className: 'cite', textContent: ref, title: 'Open these lines' });
  button.addEventListener('click', () => openFile(m[1], +m[2], +(m[3] || m[2]), button));
  return button;
}

// Cuts text into blocks: fences, headings, lists, paragraphs. The last block may be unfinished.
function blocks(text) {
  const out = [];
  let cur = [];
  let fence = null;
  const flush = () => { if (cur.length) out.push(cur.join('\n')); cur = []; };
  for (const line of text.split('\n')) {
    if (fence) {
      cur.push(line);
      if (line.trim() === fence) { fence = null; flush(); }
    } else if (/^\s*(`{3,}|~{3,})/.test(line)) {
      flush();
      fence = /^\s*(`{3,}|~{3,})/.exec(line)[1];
      cur.push(line);
    } else if (!line.trim()) {
      flush();
    } else if (/^#{1,6} /.test(line)) {
      flush();
      out.push(line);
    } else {
      cur.push(line);
    }
  }
  flush();
  return out;
}

function renderBlock(source) {
  const fence = /^\s*(`{3,}|~{3,})\s*([\w+-]*)/.exec(source);
  if (fence) {
    const lines = source.split('\n').slice(1);
    if (lines.length && lines[lines.length - 1].trim() === fence[1]) lines.pop();
    return el('pre', { tabIndex: 0 }, el('code', { className: fence[2] ? `language-${fence[2]}` : '', textContent: lines.join('\n') }));
  }
  const heading = /^(#{1,6}) (.*)$/.exec(source);
  if (heading) {
    const h = el(heading[1].length <= 2 ? 'h2' : 'h3');
    inline(heading[2], h);
    return h;
  }
  const lines = source.split('\n');
  const bullet = /^\s*(?:[-*+]|\d+[.)])\s+/;
  if (bullet.test(lines[0])) {
    const list = el(/^\s*\d/.test(lines[0]) ? 'ol' : 'ul');
    for (const line of lines) {
      if (bullet.test(line) || !list.lastChild) list.append(el('li'));
      else list.lastChild.append(' ');
      inline(line.replace(bullet, ''), list.lastChild);
    }
    return list;
  }
  const p = el('p');
  inline(lines.join('\n'), p);
  return p;
}

let shown = []; // sources of the blocks on the page
let frame = 0;
function render() {
  frame = 0;
  const next = blocks(current ? current.text : '');
  const answer = $('answer');
  for (let i = 0; i < next.length; i++) {
    if (shown[i] === next[i]) continue;
    const node = renderBlock(next[i]);
    if (answer.children[i]) answer.children[i].replaceWith(node);
    else answer.append(node);
  }
  while (answer.children.length > next.length) answer.lastChild.remove();
  shown = next;
}
function renderSoon() { if (!frame) frame = requestAnimationFrame(render); }

// ---- the stream ----

function setStatus(text, bad = false) {
  $('status').textContent = text;
  $('status').className = bad ? 'bad' : '';
}

function setBusy(busy) {
  $('answer').setAttribute('aria-busy', String(busy));
  $('send').disabled = busy;
  $('stop').hidden = !busy;
  $('stop').disabled = false;
}

function keep() {
  const { source, question, research, streamId, lastId, text, citations, done } = current;
  try {
    sessionStorage.setItem(KEEP, JSON.stringify({ source, question, research, streamId, lastId, text, citations, done }));
  } catch { /* private mode or full: a reload then starts from the stream's first event */ }
}
let keepTimer = 0;
function keepSoon() {
  if (!keepTimer) keepTimer = setTimeout(() => { keepTimer = 0; if (current) keep(); }, 200);
}

function addCitation(c) {
  current.citations.push(c);
  $('sources').hidden = false;
  const ref = `${c.path}#L${c.start}${c.end !== c.start ? `-L${c.end}` : ''}`;
  $('citations').append(el('li', {}, citeButton(ref), el('span', { className: `state ${c.state}`, textContent: c.state })));
}

function onEvent(id, event, data) {
  if (id && id <= current.lastId) return;
  if (id) current.lastId = id;
  if (event === 'token') { current.text += data.text; renderSoon(); setStatus(''); }
  else if (event === 'status') setStatus(data.progress > 0 && data.progress < 1 ? `${data.message} (${Math.round(data.progress * 100)} %)` : data.message);
  else if (event === 'citation') addCitation(data);
  else if (event === 'reset') { current.text = ''; current.citations = []; $('citations').replaceChildren(); renderSoon(); setStatus('Another provider begins the answer again.'); }
  else if (event === 'error') { current.error = data; setStatus(data.message + (data.hint ? `. ${data.hint}` : ''), true); }
  else if (event === 'done') finish(data.reason);
  keepSoon();
}

function finish(reason) {
  current.done = true;
  setBusy(false);
  render();
  keep();
  if (reason === 'cancelled') setStatus('Stopped. What was written is kept.');
  else if (reason === 'interrupted') setStatus('The server was restarted while it answered. Ask again to go on.', true);
  else if (!current.error) setStatus('');
}

// The stream's id is not visible in the browser's handshake: it comes as the answer to POST /v1/answers, and the socket follows it.
async function start() {
  const content = (current.research ? '[DEEP RESEARCH] ' : '') + current.question;
  const body = { repo_url: current.source, type: 'local', language: 'en', messages: [{ role: 'user', content }] };
  try {
    const r = await fetch('/v1/answers', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    const answer = await r.json();
    if (!r.ok) throw new Error(answer.detail + (answer.hint ? `. ${answer.hint}` : ''));
    current.streamId = answer.stream_id;
    keep();
    follow();
  } catch (e) {
    current.done = true;
    setBusy(false);
    setStatus(e instanceof TypeError ? 'The server cannot be reached. Is it running?' : e.message, true);
  }
}

function follow() {
  const me = current;
  const base = location.origin.replace(/^http/, 'ws');
  const socket = new WebSocket(`${base}/v1/streams/${me.streamId}/events?after=${me.lastId}`, 'headwater.v1');
  me.socket = socket;
  socket.onmessage = (m) => {
    if (me !== current) return;
    me.attempt = 0;
    const e = JSON.parse(m.data);
    onEvent(e.id, e.event, e.data);
  };
  socket.onclose = (e) => {
    if (me !== current || me.done) return;
    if (e.code === 1008) { me.done = true; setBusy(false); setStatus('This answer is no longer kept. Ask again.', true); return; }
    const wait = RETRY_MS[Math.min(me.attempt++, RETRY_MS.length - 1)];
    setStatus('Connection lost. Going on where it stopped…');
    setTimeout(() => { if (me === current && !me.done) follow(); }, wait + Math.random() * 200);
  };
}

function show(answer) {
  if (current && current.socket) current.socket.close();
  current = answer;
  shown = [];
  $('answer').replaceChildren();
  $('citations').replaceChildren();
  $('sources').hidden = true;
  const kept = answer.citations;
  answer.citations = [];
  kept.forEach(addCitation);
  render();
}

function ask(event) {
  event.preventDefault();
  const source = $('source').value;
  const question = $('question').value.trim();
  if (!source || !question) return;
  show({ source, question, research: $('research').checked, streamId: '', lastId: 0, text: '', citations: [], done: false, attempt: 0 });
  setBusy(true);
  setStatus('Asking…');
  start();
}

async function stop() {
  if (!current || current.done || !current.streamId) return;
  $('stop').disabled = true;
  await fetch(`/v1/streams/${current.streamId}/stop`, { method: 'POST' }).catch(() => {});
}

function restore() {
  let kept;
  try { kept = JSON.parse(sessionStorage.getItem(KEEP)); } catch { kept = null; }
  if (!kept || !kept.streamId) return;
  $('question').value = kept.question;
  $('research').checked = kept.research;
  if ([...$('source').options].some((o) => o.value === kept.source)) $('source').value = kept.source;
  show({ ...kept, attempt: 0 });
  if (!kept.done) { setBusy(true); setStatus('Going on…'); follow(); }
}

// ---- the file viewer ----

let opener = null;
async function openFile(path, start, end, from) {
  opener = from;
  const source = current ? current.source : $('source').value;
  const first = Math.max(1, start - 20);
  $('viewer').hidden = false;
  $('viewer-title').textContent = `${path}#L${start}${end !== start ? `-L${end}` : ''}`;
  $('viewer-note').textContent = 'Loading…';
  $('viewer-code').replaceChildren();
  try {
    const r = await fetch(`/v1/sources/${encodeURIComponent(source)}/file?path=${encodeURIComponent(path)}&start=${first}&end=${end + 40}`);
    const file = await r.json();
    if (!r.ok) throw new Error(file.detail);
    const lines = file.text.replace(/\n$/, '').split('\n');
    $('viewer-code').append(...lines.map((text, i) => {
      const n = file.start + i;
      return el('div', { className: n >= start && n <= end ? 'ln hit' : 'ln' }, el('b', { textContent: n }), el('span', { textContent: text }));
    }));
    $('viewer-note').textContent = `Lines ${file.start}–${file.end} of ${file.total_lines}${file.revision ? `, revision ${file.revision.slice(0, 10)}` : ''}`;
    const hit = $('viewer-code').querySelector('.hit');
    if (hit) $('viewer-code').scrollTop = hit.offsetTop - $('viewer-code').offsetTop - 40;
  } catch (e) {
    $('viewer-note').textContent = `The file could not be opened: ${e.message}`;
  }
  $('viewer-title').focus({ preventScroll: true });
}

function closeFile() {
  $('viewer').hidden = true;
  if (opener && opener.isConnected) opener.focus();
}

// ---- start ----

let sources = [];
function describeSource() {
  const s = sources.find((x) => x.name === $('source').value);
  $('source-info').textContent = s ? `${s.files.toLocaleString()} files, ${s.chunks.toLocaleString()} passages` : '';
}

async function loadSources() {
  try {
    const r = await fetch('/v1/sources');
    ({ sources } = await r.json());
  } catch {
    setStatus('The server cannot be reached. Is it running?', true);
    return;
  }
  $('source').replaceChildren(...sources.map((s) => el('option', { value: s.name, textContent: s.name })));
  if (!sources.length) {
    $('form').replaceWith(el('div', { className: 'empty' },
      el('p', { textContent: 'Nothing is indexed yet. In a terminal:' }), el('pre', {}, el('code', { textContent: 'headwater index path/to/repository' })),
      el('p', { textContent: 'then reload this page.' })));
    return;
  }
  describeSource();
}

$('form').addEventListener('submit', ask);
$('stop').addEventListener('click', stop);
$('source').addEventListener('change', describeSource);
$('viewer-close').addEventListener('click', closeFile);
document.addEventListener('keydown', (e) => {
  if (e.key === 'Escape') { if (!$('viewer').hidden) closeFile(); else stop(); }
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey) && e.target === $('question')) $('form').requestSubmit();
});
loadSources().then(() => { if ($('form')) restore(); });
