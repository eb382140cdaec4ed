//! The help texts of `phonegate prompts`.

pub(super) const HELP: &str = "\
A prompt is joined from recordings: intro (who calls, and why), the instructions, and not_you (how to report fraud).
The instructions depend on `approval.method`: press_code, the digits (digit_0 to digit_9) and then_pound with code,
press_pound with pound, enter_pin with pin, and enter_pin_then in place of press_code with pin_and_code. After a wrong
entry, wrong_key replaces intro. Your recordings replace PhoneGate's if `prompts.directory` in the configuration names a
folder with LANGUAGE/PROMPT.wav, such as de-DE/intro.wav. A language that PhoneGate does not have needs every recording
that its calls say, including verified, fraud_reported and goodbye: `check` names those that are missing. Leave no silence
at the ends of a recording, because PhoneGate adds pauses. A WAV file may be PCM of 8 to 32 bits, float of 32 bits, A-law
or µ-law, with 8,000 to 192,000 samples a second, mono or stereo, at most 60 seconds and 24 MB; it is converted to
telephone quality.

Examples:
  phonegate prompts say --language de                              the sentences, to record them yourself
  phonegate prompts check                                          checks your recordings
  phonegate prompts play heard.wav --code 471                      what a user hears, without a call
  phonegate prompts play pin.wav --language de --method pin        the same with the method pin
  phonegate prompts play intro.wav --language de --prompt intro    one recording";

pub(super) const LIST_HELP: &str = "\
Without a configuration, PhoneGate's own prompts are listed.

--json prints one object a line:
  prompt    language, prompt, source (embedded, or own: your recording), file of your recording, seconds
  prompts   language (the default), by_country

Exit codes:
  0  done
  2  wrong usage or configuration, or a recording cannot be used: `phonegate prompts check` reports all faults";

pub(super) const CHECK_HELP: &str = "\
Reads the recordings as the service does when it starts, and names each one that is missing. The service does not start
with such a fault.

--json prints one object a line:
  fault     text
  checked   ok (true or false), config (the file); without faults also languages and own (number of your recordings)

Exit codes:
  0  no faults
  1  there are faults
  2  wrong usage, or the configuration has another fault";

pub(super) const PLAY_HELP: &str = "\
Writes the audio of a call to a WAV file with 8,000 samples a second. An existing file is not overwritten. Without a
configuration, PhoneGate's own prompts are used.

  --method pound           the first prompt of this method: intro, press_pound, not_you
  --code 471               the first prompt with the code 471 (--method code): intro, press_code, the digits,
                           then_pound, the digits, not_you
  --method pin             intro, enter_pin, not_you
  --method pin_and_code --code 471
                           like --code alone, with enter_pin_then instead of press_code
  --prompt NAME            one recording
  none of these            all recordings, with a pause of one second between them

Calls use the method `approval.method` of the configuration.

--json prints one object: event (written), file, language, prompts (in their order), seconds, and method for the
prompt of a method.

Exit codes:
  0  written
  1  the file cannot be written
  2  wrong usage or configuration";

pub(super) const SAY_HELP: &str = "\
These are the sentences of PhoneGate's recordings, for your own recordings and translations. A text without a full stop
is a part of a sentence: read it as if the sentence continued, and a digit as one in a list.

--json prints one object a line: event (sentence), language, prompt, text.

Exit codes:
  0  done
  2  wrong usage, such as an unknown language";
