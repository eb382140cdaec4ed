// The page of `phonegate simulate`: shows the updates of the server, and sends what is done at a telephone. The messages
// are described in src/view.rs. Text from calls is only ever set as text, never as HTML.
'use strict';

const TOKEN = new URLSearchParams(location.search).get('token') ?? '';
const MAX_CALLS = 50; // as many as the server keeps
const MAX_PROBLEMS = 20; // as many as the server keeps
const OPEN_AGAIN = 'To go on, start it again, and open the address that it prints then: this page is only for the simulator '
  + 'that has ended.';
const ENDED = `The simulator has ended. ${OPEN_AGAIN}`;
const LOST = 'The connection to the simulator is lost. If it still runs, this page connects by itself. If it has ended, '
  + 'start it again, and open the address that it prints then.';
const REPLY_WITHIN = 10_000; // milliseconds
const NO_REPLY = 'The simulator does not reply. A browser opens at most six connections to it, and each tab with this page '
  + 'uses one: close the others, then do it again.';
const REPLACED = `Another simulator runs at this address now. ${OPEN_AGAIN}`;
const TIME = { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 1 };
const LINES = { sip: 'SIP', twilio_studio: 'Twilio Studio' };

const byId = (id) => document.getElementById(id);
const telephones = new Map(); // by number
const calls = new Map(); // by id

/** Creates an element with a class and a text. */
function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Writes a number of North America in groups, and any other as it is. */
function readable(number) {
  return number.replace(/^\+1(\d{3})(\d{3})(\d{4})$/, '+1 $1 $2 $3');
}

/** Writes the time of day of a timestamp. */
function clock(at) {
  return new Date(at).toLocaleTimeString('en-GB', TIME);
}

/** Says something to a screen reader. */
function announce(text) {
  byId('status').textContent = text;
}

function showProblem(text) {
  const problem = byId('problem');
  problem.textContent = text;
  problem.hidden = !text;
}

/** Sends a request. Shows why if it was refused or has no reply. Without a connection, the page says so already. */
async function post(path, body) {
  if (isLost()) return false;
  const request = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    // A request that waits for a connection is not sent later, when it may be about another call.
    signal: AbortSignal.timeout(REPLY_WITHIN),
  };
  try {
    const response = await fetch(`${path}?token=${encodeURIComponent(TOKEN)}`, request);
    const problem = response.ok ? '' : await response.text();
    if (!isLost()) showProblem(problem);
    return response.ok;
  } catch (error) {
    if (!isLost()) showProblem(error.name === 'TimeoutError' ? NO_REPLY : 'The simulator cannot be reached.');
    return false;
  }
}

/** A call beside its telephone. */
class Call {
  constructor({ id, number, caller, line, result, steps }) {
    this.id = id;
    this.number = number;
    this.caller = caller;
    this.keys = '';
    this.root = element('details', 'call');
    this.root.open = true;
    const summary = element('summary');
    this.result = element('span', 'result');
    summary.append(element('span', 'id', `Call ${id}`), element('span', 'line', LINES[line] ?? line), this.result);
    this.steps = element('ol', 'steps');
    this.root.append(summary, this.steps);
    this.end(result);
    steps.forEach((step) => this.add(step));
    const telephone = telephones.get(number);
    if (!telephone) return;
    const older = telephone.part('calls').firstElementChild;
    if (older) older.open = false;
    telephone.part('calls').prepend(this.root);
    telephone.part('none').hidden = true;
    if (telephone.call === id) telephone.showCaller();
  }

  end(result) {
    this.result.textContent = result ?? 'in progress';
    this.root.classList.toggle('ended', result !== null);
  }

  /** Shows 'no connection' as the result of a call that has not ended. */
  showDisconnected() {
    if (!this.root.classList.contains('ended')) this.result.textContent = 'no connection';
  }

  add({ at, kind, text }) {
    const item = element('li', kind);
    const time = element('time', '', clock(at));
    time.dateTime = at;
    item.append(time);
    if (kind === 'event') {
      item.append(element('span', '', text));
      // Also what an ending pressed, and what was pressed before the page was loaded.
      this.keys += /^Pressed ([0-9*#])\.$/.exec(text)?.[1] ?? '';
      const telephone = telephoneOf(this.id);
      telephone?.showCaller();
      // What a prompt that is heard, and not read, was understood to ask for.
      if (text.startsWith('The prompt asks for ')) telephone?.caption('en', text);
    } else {
      const details = element('details');
      const end = text.indexOf('\n');
      const sender = kind === 'sent' ? 'Simulator' : 'PhoneGate';
      const summary = element('summary', '', end < 0 ? text : text.slice(0, end));
      summary.prepend(element('span', 'sender', `${sender}: `));
      const message = element('pre', '', text);
      message.tabIndex = 0;
      message.setAttribute('aria-label', `Message of ${sender}`);
      details.append(summary, message);
      item.append(details);
    }
    this.steps.append(item);
  }
}

function showTelephone(view) {
  if (!telephones.has(view.number)) telephones.set(view.number, new Telephone(view.number));
  telephones.get(view.number).show(view);
  byId('empty').hidden = true;
  sound.ring([...telephones.values()].some(({ state }) => state === 'ringing'));
}

function showCall(view) {
  calls.set(view.id, new Call(view));
  telephones.get(view.number)?.showCaller();
  if (calls.size > MAX_CALLS) {
    // The simulator forgets the same one.
    const all = [...calls.values()];
    const oldest = all.find(({ root }) => root.classList.contains('ended')) ?? all[0];
    oldest.root.remove();
    calls.delete(oldest.id);
  }
}

/** Shows why a call was refused, or cannot succeed. */
function showCallProblem({ at, number, text }) {
  const item = element('li');
  const time = element('time', '', clock(at));
  time.dateTime = at;
  item.append(time, element('span', '', `${readable(number) || 'no number'}: ${text}`));
  const list = byId('problems').querySelector('ol');
  list.append(item);
  if (list.children.length > MAX_PROBLEMS) list.firstElementChild.remove();
  byId('problems').hidden = false;
}

const UPDATES = {
  snapshot(update) {
    for (const { root } of calls.values()) root.remove();
    calls.clear();
    byId('empty').hidden = update.telephones.length > 0;
    update.telephones.forEach(showTelephone);
    update.calls.forEach(showCall);
    byId('problems').querySelector('ol').replaceChildren();
    byId('problems').hidden = true;
    update.problems.forEach(showCallProblem);
  },
  telephone: showTelephone,
  call: showCall,
  call_ended({ call, result }) {
    const ended = calls.get(call);
    if (!ended) return;
    ended.end(result);
    announce(`Call to ${readable(ended.number)}: ${result}`);
  },
  problem: showCallProblem,
  step: ({ call, step }) => calls.get(call)?.add(step),
  audio: ({ call, pcmu }) => telephoneOf(call)?.loudspeaker.play(pcmu),
  speech: ({ call, language, text }) => telephoneOf(call)?.speak(language, text),
  simulator_ended() {
    updates.close();
    showDisconnected(ENDED);
  },
};

function telephoneOf(call) {
  return [...telephones.values()].find((telephone) => telephone.call === call);
}

let updates; // the connection to the simulator

function isLost() {
  return document.body.classList.contains('lost');
}

/** Shows that there is no connection, and why: nothing can be done at the telephones. */
function showDisconnected(text) {
  document.body.classList.add('lost');
  telephones.forEach((telephone) => telephone.showDisconnected());
  calls.forEach((call) => call.showDisconnected());
  byId('add').querySelector('button').disabled = true;
  sound.ring(false);
  showProblem(text);
}

function connect() {
  updates = new EventSource(`/updates?token=${encodeURIComponent(TOKEN)}`);
  updates.onopen = () => {
    document.body.classList.remove('lost');
    byId('add').querySelector('button').disabled = false;
    showProblem('');
  };
  updates.onmessage = ({ data }) => {
    const update = JSON.parse(data);
    UPDATES[update.type](update);
  };
  updates.onerror = () => {
    showDisconnected(LOST);
    // The browser connects again by itself, but not after a response that refuses.
    if (updates.readyState === EventSource.CLOSED) connectAgain();
  };
}

/** Connects again, unless the simulator refuses this page's token, as another one at the same address does. */
async function connectAgain() {
  try {
    const response = await fetch(`/page.js?token=${encodeURIComponent(TOKEN)}`);
    if (response.status === 403) {
      showDisconnected(REPLACED);
      return;
    }
    if (!response.ok) showDisconnected(await response.text());
  } catch {
    // It still cannot be reached.
  }
  setTimeout(connect, 3000);
}

byId('sound').addEventListener('click', async () => {
  if (sound.isOn) sound.mute();
  else await sound.turnOn();
  byId('sound').textContent = sound.isOn ? 'Mute' : 'Turn sound on';
  byId('sound-why').textContent = sound.isOn ? 'Sound is on.' : 'Sound is off.';
  sound.ring([...telephones.values()].some(({ state }) => state === 'ringing'));
});

byId('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  if (await post('/telephones', { number: byId('number').value })) byId('number').value = '';
});

setInterval(() => telephones.forEach((telephone) => telephone.showLevel()), 100);
connect();
