// A telephone on the page: its keypad, display and settings. `page.js` creates it, and sends what is done at it.
'use strict';

const KEYS = [
  ['1', ''], ['2', 'ABC'], ['3', 'DEF'], ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'],
  ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'], ['*', ''], ['0', '+'], ['#', ''],
];
const KEY_NAMES = { '*': 'star', '#': 'pound' };
const STATES = { idle: 'Ready', ringing: 'Ringing', in_call: 'In call' };

class Telephone {
  constructor(number) {
    this.number = number;
    this.actions = []; // that were done; the first one is being sent
    this.isLeaving = false; // whether an action was sent that ends the state
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

  /** Sends what is done, one request after the other, so that keys arrive in their order. */
  async act(action) {
    this.actions.push(action);
    if (this.actions.length > 1) return;
    while (this.actions.length) {
      if (await post(`/telephones/${encodeURIComponent(this.number)}/actions`, this.actions[0])) this.actions.shift();
      else this.refused();
    }
  }

  /** Forgets what was done after an action that was refused, and shows the settings that the simulator has. */
  refused() {
    this.actions = [];
    this.isLeaving = false;
    this.showSettings();
  }

  pickUp() {
    if (this.state === 'ringing') this.leave('pick_up');
    // The button is about to be disabled, which would lose the focus.
    this.device.focus();
  }

  hangUp() {
    if (this.state === 'ringing') this.leave('decline');
    if (this.state === 'in_call') this.leave('hang_up');
    this.device.focus();
  }

  /** Ends the state of the telephone. A second click, before the page shows the next state, does nothing. */
  leave(action) {
    if (this.isLeaving) return;
    this.isLeaving = true;
    this.act({ action });
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
    const isEnter = event.key === 'Enter' && event.target === this.device;
    if (!isEnter && !/^([0-9*#]|Escape)$/.test(event.key)) return;
    event.preventDefault();
    // A key that is held is pressed once.
    if (event.repeat) return;
    if (isEnter) this.pickUp();
    else if (event.key === 'Escape') this.hangUp();
    else this.press(event.key);
  }

  show(view) {
    const { state, call, is_busy: isBusy } = view;
    const began = state !== this.state || call !== this.call;
    const focused = document.activeElement;
    this.view = view;
    this.state = state;
    this.call = call;
    if (began) this.isLeaving = false;
    this.showSettings();
    this.root.dataset.state = state;
    this.part('state').textContent = isBusy && state === 'idle' ? 'Busy' : STATES[state];
    this.part('pick-up').disabled = state !== 'ringing';
    this.part('hang-up').disabled = state === 'idle';
    this.part('hang-up').querySelector('span').textContent = state === 'in_call' ? 'Hang up' : 'Decline';
    for (const button of this.part('keypad').children) button.disabled = state !== 'in_call';
    this.busy.disabled = false;
    this.ending.disabled = false;
    this.keepFocus(focused);
    if (!began) return;
    this.showCaller();
    if (state !== 'in_call') {
      this.part('caption').textContent = '';
      this.loudspeaker.stop();
    }
    if (state === 'in_call') announce(`Telephone ${readable(this.number)} is in a call.`);
    if (state === 'ringing') {
      announce(`Telephone ${readable(this.number)} rings.`);
      if (document.activeElement === document.body) this.device.focus();
    }
  }

  /** Shows 'No connection' and disables the controls until the next snapshot. */
  showDisconnected() {
    const focused = document.activeElement;
    this.state = 'lost';
    this.root.dataset.state = 'lost';
    this.part('state').textContent = 'No connection';
    for (const control of this.device.querySelectorAll('button, input, select')) control.disabled = true;
    this.keepFocus(focused);
    this.loudspeaker.stop();
  }

  showSettings() {
    this.busy.checked = this.view.is_busy;
    this.ending.value = this.view.ending;
  }

  /** Moves the focus from a control that was disabled, which would lose it. */
  keepFocus(focused) {
    if (focused?.disabled && this.device.contains(focused)) this.device.focus();
  }

  /** Shows who calls, and the keys pressed in this call. */
  showCaller() {
    const call = calls.get(this.call);
    this.part('caller').textContent = call ? `From ${readable(call.caller) || 'a hidden number'}` : '';
    this.part('keys').textContent = call ? call.keys : '';
  }

  caption(language, text) {
    this.part('caption').textContent = text;
    this.part('caption').lang = language;
  }

  speak(language, text) {
    this.caption(language, text);
    this.loudspeaker.speak(language, text);
  }

  showLevel() {
    this.part('level').hidden = !(sound.isOn && this.state === 'in_call');
    this.part('level').value = this.loudspeaker.level();
  }
}
