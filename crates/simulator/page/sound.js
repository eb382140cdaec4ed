// What the telephones sound like: ring tone, keys, and the audio of calls, by Web Audio; sentences, by speech synthesis.
'use strict';

const RATE = 8000; // samples a second of PCMU
const BEGIN_AFTER = 0.15; // seconds of a call's audio that are waited for, so that a late piece leaves no gap
const MAX_AHEAD = 2; // seconds of audio that may wait to be played; more is left out
const MAX_SENTENCES = 16; // that may wait to be spoken; more are left out
const AFTER_CANCEL = 50; // milliseconds after which a browser that stopped speaking speaks again

/** The samples of the 256 bytes of PCMU (ITU-T G.711). */
const PCMU = Float32Array.from({ length: 256 }, (_, byte) => {
  const code = ~byte & 0xff;
  const magnitude = ((((code & 0x0f) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84;
  return (code & 0x80 ? -magnitude : magnitude) / 32768;
});

/** The two frequencies of each key (ITU-T Q.23), in Hz. */
const KEY_TONES = {
  1: [697, 1209], 2: [697, 1336], 3: [697, 1477],
  4: [770, 1209], 5: [770, 1336], 6: [770, 1477],
  7: [852, 1209], 8: [852, 1336], 9: [852, 1477],
  '*': [941, 1209], 0: [941, 1336], '#': [941, 1477],
};

const sound = {
  context: null,
  isOn: false,
  sentences: [], // that wait to be spoken, each with its loudspeaker: a computer speaks one at a time
  spoken: null, // the sentence that is being spoken

  /** Plays from now on. A browser allows this only after a click. */
  async turnOn() {
    if (!this.context) {
      this.context = new AudioContext();
      this.output = this.context.createGain();
      this.output.connect(this.context.destination);
    }
    this.output.gain.value = 1;
    this.isOn = true;
    await this.context.resume();
  },

  mute() {
    this.output.gain.value = 0;
    this.isOn = false;
    this.sentences = [];
    this.spoken = null;
    window.speechSynthesis?.cancel();
  },

  /** Starts or stops the ring tone: two seconds in six, as in North America. */
  ring(rings) {
    if (!rings || !this.isOn) {
      this.tone?.stop();
      this.tone = null;
      return;
    }
    if (this.tone) return;
    const buffer = this.context.createBuffer(1, 6 * RATE, RATE);
    const samples = buffer.getChannelData(0);
    for (let n = 0; n < 2 * RATE; n += 1) {
      const swell = Math.min(1, n / 400, (2 * RATE - n) / 400);
      const wave = Math.sin((2 * Math.PI * 440 * n) / RATE) + Math.sin((2 * Math.PI * 480 * n) / RATE);
      samples[n] = 0.08 * swell * wave;
    }
    this.tone = this.context.createBufferSource();
    this.tone.buffer = buffer;
    this.tone.loop = true;
    this.tone.connect(this.output);
    this.tone.start();
  },

  /** Plays the tone of a key. */
  key(key) {
    if (!this.isOn) return;
    const gain = this.context.createGain();
    gain.gain.value = 0.06;
    gain.connect(this.output);
    for (const frequency of KEY_TONES[key]) {
      const tone = this.context.createOscillator();
      tone.frequency.value = frequency;
      tone.connect(gain);
      tone.start();
      tone.stop(this.context.currentTime + 0.12);
    }
  },

  /**
   * Speaks a sentence of a loudspeaker after those that wait, if this computer has a voice for its language. A voice of a
   * web service is not used.
   */
  speak(loudspeaker, language, text) {
    if (!this.isOn || !window.speechSynthesis || this.sentences.length >= MAX_SENTENCES) return;
    const wanted = language.toLowerCase();
    const voices = speechSynthesis.getVoices().filter((voice) => voice.localService);
    const tag = (voice) => voice.lang.toLowerCase().replace('_', '-');
    const voice = voices.find((one) => tag(one) === wanted)
      ?? voices.find((one) => tag(one).split('-')[0] === wanted.split('-')[0]);
    if (!voice) return;
    const utterance = new SpeechSynthesisUtterance(text);
    utterance.voice = voice;
    utterance.lang = voice.lang;
    const sentence = { loudspeaker, utterance };
    utterance.onend = () => this.speakAfter(sentence);
    utterance.onerror = utterance.onend;
    this.sentences.push(sentence);
    this.speakNext();
  },

  speakNext() {
    if (this.spoken || !this.sentences.length) return;
    this.spoken = this.sentences.shift();
    speechSynthesis.speak(this.spoken.utterance);
  },

  speakAfter(sentence) {
    // The end of a sentence that was stopped is reported late.
    if (this.spoken !== sentence) return;
    this.spoken = null;
    this.speakNext();
  },

  /** Stops the sentences of one loudspeaker. Those of others are spoken. */
  stopSpeech(loudspeaker) {
    this.sentences = this.sentences.filter((sentence) => sentence.loudspeaker !== loudspeaker);
    if (this.spoken?.loudspeaker !== loudspeaker) return;
    this.spoken = null;
    speechSynthesis.cancel();
    setTimeout(() => this.speakNext(), AFTER_CANCEL);
  },
};

/** The loudspeaker of one telephone. */
class Loudspeaker {
  #analyser = null;
  #next = 0;
  #pieces = new Set();

  /** Plays a piece of a call: PCMU in Base64. */
  play(pcmu) {
    if (!sound.isOn) return;
    const bytes = atob(pcmu);
    if (!bytes.length) return;
    const buffer = sound.context.createBuffer(1, bytes.length, RATE);
    const samples = buffer.getChannelData(0);
    for (let n = 0; n < bytes.length; n += 1) samples[n] = PCMU[bytes.charCodeAt(n)];
    if (!this.#analyser) {
      this.#analyser = sound.context.createAnalyser();
      this.#analyser.connect(sound.output);
    }
    const now = sound.context.currentTime;
    if (this.#next < now) this.#next = now + BEGIN_AFTER;
    if (this.#next > now + MAX_AHEAD) return;
    const piece = sound.context.createBufferSource();
    piece.buffer = buffer;
    piece.connect(this.#analyser);
    piece.onended = () => this.#pieces.delete(piece);
    this.#pieces.add(piece);
    piece.start(this.#next);
    this.#next += buffer.duration;
  }

  /** Speaks a sentence of a call. */
  speak(language, text) {
    sound.speak(this, language, text);
  }

  /** Stops at once: the call has ended. */
  stop() {
    sound.stopSpeech(this);
    for (const piece of this.#pieces) piece.stop();
    this.#pieces.clear();
    this.#next = 0;
  }

  /** How loud it is, from 0 to 1. */
  level() {
    if (!this.#analyser) return 0;
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.getFloatTimeDomainData(samples);
    return Math.min(1, 3 * Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length));
  }
}
