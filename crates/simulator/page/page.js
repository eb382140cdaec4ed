// The page of `phonegate simulate`: shows the updates of the server, and sends what is done at a telephone. The messages
// are described in src/view.rs. Text from calls is only ever set as text, never as HTML.
'use strict';

const TOKEN = new URLSearchParams(location.search).get('token') ?? '';
const MOST_CALLS = 50; // as many as the server keeps
const KEYS = [
  ['1', ''], ['2', 'ABC'], ['3', 'DEF'], ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'],
  ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'], ['*', ''], ['0', '+'], ['#', ''],
];
const KEY_NAMES = { '*': 'star', '#': 'pound' };
const STATES = { idle: 'Ready', ringing: 'Ringing', in_call: 'In call' };
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

/** Says something to a screen reader. */
function announce(text) {
  byId('status').textContent = text;
}

function showProblem(text) {
  const problem = byId('problem');
  problem.textContent = text;
  problem.hidden = !text;
}

/** Sends a request. Shows why if it was refused. */
async function post(path, body) {
  const request = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  try {
    const response = await fetch(`${path}?token=${encodeURIComponent(TOKEN)}`, request);
    showProblem(response.ok ? '' : await response.text());
    return response.ok;
  } catch {
    showProblem('The simulator cannot be reached.');
    return false;
  }
}

class Telephone {
  constructor(number) {
    this.number = number;
    this.loudspeaker = new Loudspeaker();
    this.root = byId('telephone').content.firstElementChild.cloneNode(true);
    this.part = (name) => this.root.querySelector(`.${name}`);
    this.device = this.part('device');
    this.device.setAttribute('aria-label', `Telephone ${readable(number)}`);
    this.part('number').textContent = readable(number);
    this.part('history').querySelector('h3').textContent = `Calls to ${readable(number)}`;
    for (const [key, letters] of KEYS) {
      const button = element('button', 'key');
      button.type = 'button';
      button.dataset.key = key;
      if (KEY_NAMES[key]) button.setAttribute('aria-label', KEY_NAMES[key]);
      button.append(element('span', 'digit', key), ' ', element('span', 'letters', letters));
      button.addEventListener('click', () => this.press(key));
      this.part('keypad').append(button);
    }
    this.busy = this.part('busy').querySelector('input');
    this.ending = this.part('ending').querySelector('select');
    this.part('pick-up').addEventListener('click', () => this.pickUp());
    this.part('hang-up').addEventListener('click', () => this.hangUp());
    this.busy.addEventListener('change', () => this.act({ action: 'set_busy', busy: this.busy.checked }));
    this.ending.addEventListener('change', () => this.act({ action: 'set_ending', ending: this.ending.value }));
    this.device.addEventListener('keydown', (event) => this.onKey(event));
    byId('telephones').append(this.root);
  }

  act(action) {
    return post(`/telephones/${encodeURIComponent(this.number)}/actions`, action);
  }

  pickUp() {
    if (this.state === 'ringing') this.act({ action: 'pick_up' });
    // The button is about to be disabled, which would lose the focus.
    this.device.focus();
  }

  hangUp() {
    if (this.state === 'ringing') this.act({ action: 'decline' });
    if (this.state === 'in_call') this.act({ action: 'hang_up' });
    this.device.focus();
  }

  press(key) {
    if (this.state !== 'in_call') return;
    sound.key(key);
    const button = this.root.querySelector(`[data-key="${key}"]`);
    button.classList.add('pressed');
    setTimeout(() => button.classList.remove('pressed'), 150);
    this.act({ action: 'press', key });
  }

  onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target === this.ending) return;
    if (/^[0-9*#]$/.test(event.key)) this.press(event.key);
    else if (event.key === 'Escape') this.hangUp();
    else if (event.key === 'Enter' && event.target === this.device) this.pickUp();
    else return;
    event.preventDefault();
  }

  show({ state, call, is_busy: isBusy, ending }) {
    const began = state !== this.state || call !== this.call;
    this.state = state;
    this.call = call;
    this.busy.checked = isBusy;
    this.ending.value = ending;
    this.root.dataset.state = state;
    this.part('state').textContent = isBusy && state === 'idle' ? 'Busy' : STATES[state];
    this.part('pick-up').disabled = state !== 'ringing';
    this.part('hang-up').disabled = state === 'idle';
    this.part('hang-up').querySelector('span').textContent = state === 'in_call' ? 'Hang up' : 'Decline';
    for (const button of this.part('keypad').children) button.disabled = state !== 'in_call';
    if (!began) return;
    this.showCaller();
    if (state !== 'in_call') this.part('caption').textContent = '';
    if (state === 'idle') {
      this.loudspeaker.stop();
      window.speechSynthesis?.cancel();
    }
    if (state === 'ringing') {
      announce(`Telephone ${readable(this.number)} rings.`);
      if (document.activeElement === document.body) this.device.focus();
    }
  }

  /** Shows who calls, and the keys pressed in this call. */
  showCaller() {
    const call = calls.get(this.call);
    this.part('caller').textContent = call ? `From ${readable(call.caller) || 'a hidden number'}` : '';
    this.part('keys').textContent = call ? call.keys : '';
  }

  speak(language, text) {
    this.part('caption').textContent = text;
    this.part('caption').lang = language;
    sound.speak(language, text);
  }

  showLevel() {
    this.part('level').hidden = !(sound.isOn && this.state === 'in_call');
    this.part('level').value = this.loudspeaker.level();
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

  add({ at, kind, text }) {
    const item = element('li', kind);
    const time = element('time', '', new Date(at).toLocaleTimeString('en-GB', TIME));
    time.dateTime = at;
    item.append(time);
    if (kind === 'event') {
      item.append(element('span', '', text));
      // Also what an ending pressed, and what was pressed before the page was loaded.
      this.keys += /^Pressed ([0-9*#])\.$/.exec(text)?.[1] ?? '';
      const telephone = telephones.get(this.number);
      if (telephone?.call === this.id) telephone.showCaller();
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
  const known = calls.get(view.id);
  if (known) {
    known.end(view.result);
    return;
  }
  calls.set(view.id, new Call(view));
  telephones.get(view.number)?.showCaller();
  if (calls.size > MOST_CALLS) {
    const [oldest] = calls.keys();
    calls.get(oldest).root.remove();
    calls.delete(oldest);
  }
}

const UPDATES = {
  snapshot(update) {
    for (const { root } of calls.values()) root.remove();
    calls.clear();
    byId('empty').hidden = update.telephones.length > 0;
    update.telephones.forEach(showTelephone);
    update.calls.forEach(showCall);
  },
  telephone: showTelephone,
  call: showCall,
  step: ({ call, step }) => calls.get(call)?.add(step),
  audio: ({ call, pcmu }) => telephoneOf(call)?.loudspeaker.play(pcmu),
  speech: ({ call, language, text }) => telephoneOf(call)?.speak(language, text),
};

function telephoneOf(call) {
  return [...telephones.values()].find((telephone) => telephone.call === call);
}

function connect() {
  const updates = new EventSource(`/updates?token=${encodeURIComponent(TOKEN)}`);
  updates.onopen = () => {
    document.body.classList.remove('lost');
    showProblem('');
  };
  updates.onmessage = ({ data }) => {
    const update = JSON.parse(data);
    UPDATES[update.type](update);
  };
  updates.onerror = () => {
    document.body.classList.add('lost');
    sound.ring(false);
    showProblem('The connection to the simulator is lost. If it has ended, start `phonegate simulate` again and open the '
      + 'address that it prints; otherwise the page connects again by itself.');
    // The browser tries again by itself, but not after a response that refuses.
    if (updates.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
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
