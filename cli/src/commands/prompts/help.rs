//! The help texts of `phonegate prompts`.

pub(super) const HELP: &str = "\
What a user hears is joined from recordings: intro (who calls, and why), what approves, and not_you (how to report fraud).
What approves depends on `approval.method`: press_code, the digits (digit_0 to digit_9) and then_pound with code,
press_pound with pound, enter_pin with pin, and enter_pin_then in place of press_code with pin_and_code. After a wrong
entry, wrong_key takes the place of intro. Own recordings are used instead of PhoneGate's if `prompts.directory` in the
configuration names a folder with LANGUAGE/PROMPT.wav, such as de-DE/intro.wav. A language that PhoneGate does not bring
needs every recording that its calls say, verified, fraud_reported and goodbye included: `check` names those that are
missing. Leave no silence at the ends of a recording: pauses are added between them. A WAV file may be PCM of 8 to 32 bits,
float of 32 bits, A-law or µ-law, of 8,000 to 192,000 samples a second, mono or stereo, 60 seconds long and 24 MB large at
most; it is converted to what a telephone carries.

Examples:
  phonegate prompts say --language de                              the sentences, to record one's own
  phonegate prompts check                                          are the own recordings good?
  phonegate prompts play heard.wav --code 471                      what a user hears, before anybody is called
  phonegate prompts play pin.wav --language de --method pin        the same with a PIN to enter
  phonegate prompts play intro.wav --language de --prompt intro    one recording";

pub(super) const LIST_HELP: &str = "\
Without a configuration, PhoneGate's prompts are shown.

--json prints one object a line:
  warning   text
  prompt    language, prompt, source (embedded or own), file where it is an own one, seconds
  prompts   language (the default), by_country
  error     text: see exit code 2

Exit codes:
  0  done
  2  usage or configuration, a recording that cannot be used among it: `phonegate prompts check` reports all of them";

pub(super) const CHECK_HELP: &str = "\
Reads everything as the service does when it starts, and names each recording that a language lacks. The service refuses
to start with any of these faults.

--json prints one object a line:
  fault     text
  checked   ok (true or false), config (the file), languages and own (how many there are, where all is well)
  error     text: see exit code 2

Exit codes:
  0  every language can be spoken
  1  there are faults
  2  usage, or the configuration has another error";

pub(super) const PLAY_HELP: &str = "\
Writes what is put onto the line, as a WAV file of 8,000 samples a second that every player plays. A file that is there
is not overwritten. Without a configuration, PhoneGate's prompts are taken.

  --method pound           what a user hears first: intro, press_pound, not_you
  --code 471               what a user hears who is to press 471 and pound (--method code): intro, press_code, the
                           digits, then_pound, the digits, not_you
  --method pin             what a user hears who is to enter a PIN: intro, enter_pin, not_you
  --method pin_and_code --code 471
                           as with --code alone, with enter_pin_then in place of press_code
  --prompt NAME            one recording
  none of them             all recordings, with a pause of a second between them

Which method calls ask by is `approval.method` of the configuration.

--json prints one object: event (written), file, language, prompts (in their order), seconds, and method if a prompt of
one was written.

Exit codes:
  0  written
  1  the file cannot be written
  2  usage or configuration";

pub(super) const SAY_HELP: &str = "\
The sentences are those of PhoneGate's recordings: what to read aloud for own ones, and what to translate. Those without
a full stop are parts of a sentence: read them so that the sentence goes on, and a digit as one in a list.

--json prints one object a line: event (sentence), language, prompt, text.

Exit codes:
  0  done
  2  usage, an unknown language among it";
